"""MiniStack's options: its address, the services that it serves, and the folders that it writes to.

MiniStack reads its options from the environment while it is imported. Put `options()` into os.environ before
you create a `MiniStack`. For the same reason no module of this package imports MiniStack at its top.
"""

import os
from pathlib import Path

from localcloud.ministack.core.credentials import new_credentials

REGION = "us-east-1"
"""The region of requests that are not signed, and of the command."""
ACCOUNT = "000000000000"

SERVICES = (
    "apigateway", "cloudformation", "dynamodb", "events", "iam", "kms", "lambda", "logs", "monitoring", "s3",
    "scheduler", "secretsmanager", "sns", "sqs", "ssm", "states", "sts", "tagging",
)  # fmt: skip
"""The services that MiniStack serves. None of them opens a port of its own."""

ADJUSTABLE = {
    # Invocations at the same time, of all functions. AWS's default is 1,000, or 10 in a new account. Here
    # each needs a process of 25 MB. `lambda_functions.concurrency` says what happens beyond the limit.
    "LAMBDA_ACCOUNT_CONCURRENCY": "40",
    # A process without work ends after so many seconds, except the first one of each function.
    "LAMBDA_WARM_TTL_SECONDS": "60",
}
"""Options with their defaults, which an environment variable of the same name replaces."""


def options(state: Path, port: int) -> dict[str, str]:
    """Return the environment variables that MiniStack and its Lambda functions need.

    The root's credentials are random, and nobody else knows them: MiniStack does not verify the signatures of
    a root key. Clients use the user that `MiniStack.add_administrator` creates.

    Args:
        state: The folder below which MiniStack stores everything.
        port: The port on 127.0.0.1 at which MiniStack is served.
    """
    return {
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "SERVICES": ",".join(SERVICES),
        "LAMBDA_EXECUTOR": "local",
        **{name: os.environ.get(name, default) for name, default in ADJUSTABLE.items()},
        # These two servers would otherwise start by themselves and listen on every interface.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # When MiniStack starts, it removes the containers of other MiniStacks from any Docker it can reach.
        "DOCKER_HOST": f"unix://{state / 'no-docker.sock'}",
        "PERSIST_STATE": "0",
        "STATE_DIR": str(state / "ministack"),
        # Objects are kept on disk instead of in memory, because a corpus may have many GB.
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        # MiniStack unpacks and runs Lambda functions below the temporary folder.
        "TMPDIR": str(state / "tmp"),
        **client_environment(f"http://127.0.0.1:{port}", *new_credentials()),
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        # No X-Ray daemon runs here. These variables keep Powertools' tracer from logging an error about it.
        "POWERTOOLS_TRACE_DISABLED": "true",
        "AWS_XRAY_SDK_ENABLED": "false",
        "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR",
    }


def client_environment(
    endpoint_url: str, access_key_id: str, secret_access_key: str, region: str = REGION
) -> dict[str, str]:
    """Return the environment variables with which AWS's SDKs use the local cloud."""
    return {
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
