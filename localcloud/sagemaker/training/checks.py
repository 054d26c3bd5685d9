"""Checks of a CreateTrainingJob request that botocore's service model does not express."""

from typing import Any

from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.processes.job_clock import DEFAULT_MAX_RUNTIME


def check(request: dict[str, Any]) -> None:
    """Raise ValidationError if AWS would refuse the request or the local cloud does not support it."""
    for name in ("AlgorithmSpecification", "ResourceConfig"):
        if name not in request:
            raise ValidationError(
                f"{name} is required: the local cloud does not support ServerlessJobConfig."
            )
    if "ServerlessJobConfig" in request:
        raise ValidationError("Serverless training jobs are not available in the local cloud.")
    algorithm = request["AlgorithmSpecification"]
    if "AlgorithmName" in algorithm:
        raise ValidationError("AlgorithmName is not available in the local cloud: give a TrainingImage.")
    if "TrainingImage" not in algorithm:
        raise ValidationError("You must specify either TrainingImage or AlgorithmName.")
    resources = request["ResourceConfig"]
    if "InstanceType" not in resources or "InstanceCount" not in resources:
        raise ValidationError("ResourceConfig needs InstanceType and InstanceCount.")
    channels = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if len(set(channels)) < len(channels):
        raise ValidationError(
            "Duplicate channel names found in InputDataConfig. Channel names must be unique."
        )
    _check_waiting(request)


def _check_waiting(request: dict[str, Any]) -> None:
    condition = request.get("StoppingCondition", {})
    wait = condition.get("MaxWaitTimeInSeconds")
    spot = request.get("EnableManagedSpotTraining", False)
    if not spot and wait is not None:
        raise ValidationError(
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )
    if spot and (wait is None or wait < condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)):
        raise ValidationError(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds"
        )


def with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    """Return the request with the defaults that AWS adds to its description."""
    condition = {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME} | request.get("StoppingCondition", {})
    return {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **request,
        "StoppingCondition": condition,
        "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP"} | request["OutputDataConfig"],
    }
