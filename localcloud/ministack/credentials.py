"""Random credentials of the shape of AWS's."""

import secrets


def access_key(prefix: str) -> str:
    """An access key id: AKIA for a user's own, ASIA for a session's."""
    return prefix + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))


def new_credentials() -> tuple[str, str]:
    """The access key id and secret of an IAM user."""
    return access_key("AKIA"), secrets.token_urlsafe(30)
