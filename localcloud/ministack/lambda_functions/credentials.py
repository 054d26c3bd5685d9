"""The credentials of functions.

AWS: a function's credentials are secret.
https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
MiniStack: it derives them from the ARNs of the function and its role. Everybody who knows these ARNs could
act as the role.
Here: they are derived from a random salt as well, which only this process knows.
"""

import functools
import hashlib
import hmac
import secrets
from typing import Any


def patch() -> None:
    """Salt the derived credentials."""
    from ministack.core import lambda_runtime as runtime
    from ministack.services import lambda_svc as service
    from ministack.services import sts

    derive = runtime.execution_credentials
    salt = secrets.token_bytes(32)

    @functools.wraps(derive)
    def secret_credentials(config: dict[str, Any]) -> dict[str, str]:
        derived: dict[str, str] = derive(config)
        session = sts._sessions.pop(derived["AWS_ACCESS_KEY_ID"])

        def salted(name: str) -> str:
            return hmac.new(salt, f"{name}{derived[name]}".encode(), hashlib.sha256).hexdigest()

        key = f"ASIA{salted('AWS_ACCESS_KEY_ID')[:16].upper()}"
        secret, token = salted("AWS_SECRET_ACCESS_KEY"), salted("AWS_SESSION_TOKEN")
        sts.register_session(key, {**session, "SecretAccessKey": secret, "SessionToken": token})
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}

    runtime.execution_credentials = secret_credentials
    service.execution_credentials = secret_credentials
