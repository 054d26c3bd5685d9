"""Where MiniStack listens, what of it answers and where it keeps things.

MiniStack reads its settings from the environment while it is imported: put `settings()` into os.environ
before making a MiniStack. For the same reason no module of this package imports MiniStack at its top.
"""

import secrets
from pathlib import Path

from localcloud.ministack.credentials import access_key

REGION = "us-east-1"
ACCOUNT = "000000000000"

SERVICES = (
    "apigateway", "cloudformation", "dynamodb", "events", "iam", "kms", "lambda", "logs", "monitoring", "s3",
    "scheduler", "secretsmanager", "sns", "sqs", "ssm", "states", "sts", "tagging",
)  # fmt: skip
"""MiniStack's services that answer. None of these opens a port of its own."""


def settings(state: Path, port: int) -> dict[str, str]:
    """The environment MiniStack is to be imported in, and its Lambda functions run in.

    Everything it stores lies below `state`. The root credentials are made up and told to nobody: MiniStack
    does not verify the signatures of a root key, so nobody is to have one (see
    `MiniStack.add_administrator`).
    """
    endpoint = f"http://127.0.0.1:{port}"
    return {
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "SERVICES": ",".join(SERVICES),
        "LAMBDA_EXECUTOR": "local",
        # Listeners that would start by themselves, and on every interface.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # At its start MiniStack removes the containers of other MiniStacks from a Docker it can reach.
        "DOCKER_HOST": f"unix://{state / 'no-docker.sock'}",
        "PERSIST_STATE": "0",
        "STATE_DIR": str(state / "ministack"),
        # Objects go to disk instead of staying in memory; a corpus may be a GiB.
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        # Lambda functions are unpacked and run below the temporary directory.
        "TMPDIR": str(state / "tmp"),
        "AWS_ACCESS_KEY_ID": access_key("AKIA"),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        # There is no X-Ray daemon here; Powertools' tracer then does nothing instead of complaining.
        "POWERTOOLS_TRACE_DISABLED": "true",
        "AWS_XRAY_SDK_ENABLED": "false",
        "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR",
    }
