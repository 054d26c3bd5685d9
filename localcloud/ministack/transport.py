"""The loopback counts as secure transport.

A bucket policy that denies what does not come over TLS is right on AWS, where requests cross networks. Here
they never leave the machine, and MiniStack would deny every one of them.
"""


def mend() -> None:
    """Give every request aws:SecureTransport."""
    from ministack import app

    original = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, secure_transport: original(source_ip, True)
