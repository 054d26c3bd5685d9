"""Random credentials in AWS's format."""

import secrets


def new_credentials(prefix: str = "AKIA") -> tuple[str, str]:
    """Return a new access key id and secret access key.

    Args:
        prefix: AKIA for the key of a user, ASIA for the key of a session.
    """
    key = prefix + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
    return key, secrets.token_urlsafe(30)
