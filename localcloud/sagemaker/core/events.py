"""EventBridge events in AWS's shapes and in the order of the changes.

A thread of its own sends the events, so a change never waits for the targets of a rule. Records change before
their events are sent, so a target that calls Describe sees the change.

Shapes: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

import logging
import queue
import threading
from datetime import datetime
from typing import Any

from localcloud.sagemaker.core.host import Host

TRAINING_JOB = "SageMaker Training Job State Change"
ENDPOINT = "SageMaker Endpoint State Change"
MODEL_PACKAGE = "SageMaker Model Package State Change"
ENDPOINT_STATUSES = {
    "Creating": "CREATING",
    "Updating": "UPDATING",
    "RollingBack": "ROLLING_BACK",
    "InService": "IN_SERVICE",
    "Failed": "FAILED",
    "Deleting": "DELETING",
}
"""The event's spelling of each status of DescribeEndpoint."""
DEPLOYMENT = "SageMaker Endpoint Deployment State Change"

_TRAINING_MEMBERS = (
    "TrainingJobName",
    "TrainingJobArn",
    "TrainingJobStatus",
    "SecondaryStatus",
    "FailureReason",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ModelArtifacts",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "SecondaryStatusTransitions",
    "FinalMetricDataList",
)
_ENDPOINT_MEMBERS = (
    "EndpointName",
    "EndpointArn",
    "EndpointConfigName",
    "ProductionVariants",
    "FailureReason",
    "CreationTime",
    "LastModifiedTime",
)
_MODEL_PACKAGE_MEMBERS = (
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "InferenceSpecification",
    "ModelPackageStatus",
    "ModelPackageStatusDetails",
    "CertifyForMarketplace",
    "ModelApprovalStatus",
    "ApprovalDescription",
    "MetadataProperties",
    "ModelMetrics",
    "CustomerMetadataProperties",
    "LastModifiedTime",
)

_log = logging.getLogger(__name__)


class Announcer:
    """Sends events one after the other through the host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._events: queue.SimpleQueue[tuple[str, dict[str, Any], str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._emit, name="sagemaker-events", daemon=True)
        self._thread.start()

    def training_job(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        """Send an event about a training job; `description` is the response of DescribeTrainingJob."""
        detail = _detail(description, _TRAINING_MEMBERS) | {"Tags": tags}
        self._events.put((TRAINING_JOB, detail, description["TrainingJobArn"]))

    def deployment(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        """Send an event about a step of an endpoint's update; `description` as for `endpoint`."""
        status = ENDPOINT_STATUSES[description["EndpointStatus"]]
        members = (*_ENDPOINT_MEMBERS, "PendingDeploymentSummary")
        detail = _detail(description, members) | {"EndpointStatus": status, "Tags": tags}
        self._events.put((DEPLOYMENT, detail, description["EndpointArn"]))

    def endpoint(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        """Send an event about an endpoint; `description` is the response of DescribeEndpoint."""
        status = ENDPOINT_STATUSES[description["EndpointStatus"]]
        detail = _detail(description, _ENDPOINT_MEMBERS) | {"EndpointStatus": status, "Tags": tags}
        self._events.put((ENDPOINT, detail, description["EndpointArn"]))

    def model_package(self, description: dict[str, Any], changed: list[str] | None = None) -> None:
        """Send an event about a model package that was created, or whose `changed` members were changed.

        Args:
            description: The response of DescribeModelPackage.
            changed: The names of the changed members; None if the package is new.
        """
        detail = _detail(description, _MODEL_PACKAGE_MEMBERS)
        if changed is not None:
            detail["UpdatedModelPackageFields"] = changed
        self._events.put((MODEL_PACKAGE, detail, description["ModelPackageArn"]))

    def close(self, timeout: float = 5.0) -> None:
        """Send the remaining events, then stop."""
        self._events.put(None)
        self._thread.join(timeout)

    def _emit(self) -> None:
        while (event := self._events.get()) is not None:
            detail_type, detail, arn = event
            try:
                self._host.emit(detail_type, detail, [arn])
            except Exception:  # One failure must not stop all later events.
                _log.exception("Could not send the event %s about %s", detail_type, arn)


def _detail(description: dict[str, Any], members: tuple[str, ...]) -> dict[str, Any]:
    return {name: _milliseconds(description[name]) for name in members if description.get(name) is not None}


def _milliseconds(value: Any) -> Any:
    """Convert the times in a value to milliseconds since the epoch."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, dict):
        return {key: _milliseconds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_milliseconds(item) for item in value]
    return value
