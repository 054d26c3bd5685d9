"""The condition key aws:SecureTransport.

AWS: the key is true for requests over TLS. Bucket policies deny requests for which it is false.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-securetransport
MiniStack: the key is false here, because requests over the loopback do not use TLS.
Here: the key is true for every request, because no request leaves the machine.
"""


def patch() -> None:
    """Set aws:SecureTransport to true for every request."""
    from ministack import app

    pin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, secure_transport: pin(source_ip, True)
