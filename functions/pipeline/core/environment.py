"""What the deployment tells a function through its environment, read when asked for.

Each function is given only the variables it reads (template.yaml), so nothing is read ahead of need.
"""

from __future__ import annotations

import os

from contracts.request import HostingResources
from core.errors import Misconfigured


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise Misconfigured(
            f"The environment variable {name} is not set on this function; deploy template.yaml again."
        )
    return value


def bucket() -> str:
    """The one bucket: uploads, prepared data, code, training output."""
    return _required("BUCKET")


def table() -> str:
    """The DynamoDB table of task tokens, gathered uploads and the lease."""
    return _required("TABLE")


def endpoint_name() -> str:
    """The endpoint every run of this deployment creates or updates."""
    return _required("ENDPOINT_NAME")


def execution_role_arn() -> str:
    """The role SageMaker assumes for training jobs and endpoints."""
    return _required("EXECUTION_ROLE_ARN")


def topic_arn() -> str:
    """The SNS topic that tells of each run."""
    return _required("TOPIC_ARN")


def state_machine_arn() -> str:
    """The state machine whose executions these are."""
    return _required("STATE_MACHINE_ARN")


def quiet_seconds() -> float:
    """How long a dataset has to be quiet before its uploads' run begins."""
    return float(_required("QUIET_SECONDS"))


def alarms() -> list[str]:
    """The CloudWatch alarms that take an update of the endpoint back."""
    return [name for name in _required("ALARMS").split(",") if name]


def sweep_deletes() -> bool:
    """Whether the sweep deletes what it finds, or only says so."""
    return _required("SWEEP") == "delete"


def schedule_group() -> str:
    """The EventBridge Scheduler group of the endpoint's tear-downs."""
    return _required("SCHEDULE_GROUP")


def schedule_role_arn() -> str:
    """The role EventBridge Scheduler assumes to start the state machine."""
    return _required("SCHEDULE_ROLE_ARN")


def region() -> str:
    """The region this function runs in; Lambda sets it."""
    return _required("AWS_REGION")


def defaults() -> str:
    """The deployment's defaults: JSON shaped like the execution input."""
    return os.environ.get("DEFAULTS") or "{}"


def training_image(instance_type: str) -> str:
    """The training container for an instance type."""
    return _required("TRAINING_IMAGE_GPU" if has_gpu(instance_type) else "TRAINING_IMAGE_CPU")


def hosting_image(hosting: HostingResources) -> str:
    """The inference container for a fleet; a serverless one has no GPU, whatever its instances would have."""
    gpu = hosting.endpoint_type == "real-time" and has_gpu(hosting.instance_type)
    return _required("HOSTING_IMAGE_GPU" if gpu else "HOSTING_IMAGE_CPU")


def has_gpu(instance_type: str) -> bool:
    """Whether instances of a type have GPUs."""
    # AWS's accelerated families are g (ml.g5.xlarge) and p (ml.p4d.24xlarge).
    return instance_type.removeprefix("ml.")[:1] in ("g", "p")
