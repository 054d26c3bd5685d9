"""The environment variables that the deployment sets on a function.

Each function has only the variables that it reads (template.yaml), so each is read when it is needed and not
before.
"""

import os
from urllib.parse import urlsplit

from contracts.request import HostingResources
from core.errors import Misconfigured


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise Misconfigured(
            f"The environment variable {name} is not set on this function. Deploy template.yaml again."
        )
    return value


def bucket() -> str:
    """Return the name of the bucket for uploads, prepared data, code and training output."""
    return _required("BUCKET")


def table() -> str:
    """Return the name of the DynamoDB table for task tokens, gathered uploads and the lease."""
    return _required("TABLE")


def endpoint_name() -> str:
    """Return the name of the endpoint that the runs of this deployment create or update."""
    return _required("ENDPOINT_NAME")


def stack_id() -> str:
    """Return the id of this stack, an ARN: the owner of all that its runs create."""
    return _required("STACK_ID")


def execution_role_arn() -> str:
    """Return the ARN of the role that SageMaker assumes for training jobs and endpoints."""
    return _required("EXECUTION_ROLE_ARN")


def topic_arn() -> str:
    """Return the ARN of the SNS topic for messages about runs."""
    return _required("TOPIC_ARN")


def state_machine_arn() -> str:
    """Return the ARN of the state machine."""
    return _required("STATE_MACHINE_ARN")


def quiet_seconds() -> float:
    """Return how many seconds a dataset must be without uploads before its run begins."""
    return float(_required("QUIET_SECONDS"))


def alarms() -> list[str]:
    """Return the names of the CloudWatch alarms that roll back an update of the endpoint."""
    return [name for name in _required("ALARMS").split(",") if name]


def sweep_deletes() -> bool:
    """Return whether the sweep deletes what it finds. Otherwise it only reports it."""
    return _required("SWEEP") == "delete"


def schedule_group() -> str:
    """Return the name of the EventBridge Scheduler group for teardowns."""
    return _required("SCHEDULE_GROUP")


def schedule_role_arn() -> str:
    """Return the ARN of the role that EventBridge Scheduler assumes to start an execution."""
    return _required("SCHEDULE_ROLE_ARN")


def region() -> str:
    """Return the region in which this function runs. Lambda sets the variable."""
    return _required("AWS_REGION")


def defaults() -> str:
    """Return the deployment's defaults: JSON in the form of an execution's input."""
    return os.environ.get("DEFAULTS") or "{}"


def training_image(instance_type: str) -> str:
    """Return the URI of the training image for an instance type."""
    return _required("TRAINING_IMAGE_GPU" if has_gpu(instance_type) else "TRAINING_IMAGE_CPU")


def hosting_image(hosting: HostingResources) -> str:
    """Return the URI of the inference image: for processors, because the sampler does not use a GPU."""
    return _required("SERVERLESS_IMAGE" if hosting.endpoint_type == "serverless" else "HOSTING_IMAGE")


def on_local_cloud() -> bool:
    """Return whether the AWS services of this function are on the same machine, as on the local cloud."""
    # The local cloud sets this variable on its functions, as it has to.
    return urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname in ("127.0.0.1", "localhost", "::1")


def has_gpu(instance_type: str) -> bool:
    """Return whether instances of this type have GPUs."""
    # AWS's accelerated families are g (ml.g5.xlarge) and p (ml.p4d.24xlarge).
    return instance_type.removeprefix("ml.")[:1] in ("g", "p")
