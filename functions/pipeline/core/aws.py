"""boto3 clients, one per service, each created at its first use; and what SageMaker's errors mean."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from core.errors import code_of, message_of

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient

# Only a few quick retries here: the state machine does the long ones, and costs nothing while it waits.
_CONFIG = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=20)
# SageMaker waits 60 s for a container's response.
_INVOKE_CONFIG = Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=65)


@functools.cache
def sagemaker() -> SageMakerClient:
    """Return the client for SageMaker."""
    return boto3.client("sagemaker", config=_CONFIG)


@functools.cache
def sagemaker_runtime() -> SageMakerRuntimeClient:
    """Return the client for the SageMaker runtime."""
    return boto3.client("sagemaker-runtime", config=_INVOKE_CONFIG)


@functools.cache
def s3() -> S3Client:
    """Return the client for S3."""
    return boto3.client("s3", config=_CONFIG)


@functools.cache
def dynamodb() -> DynamoDBClient:
    """Return the client for DynamoDB."""
    return boto3.client("dynamodb", config=_CONFIG)


@functools.cache
def stepfunctions() -> SFNClient:
    """Return the client for Step Functions."""
    return boto3.client("stepfunctions", config=_CONFIG)


@functools.cache
def sns() -> SNSClient:
    """Return the client for SNS."""
    return boto3.client("sns", config=_CONFIG)


@functools.cache
def scheduler() -> EventBridgeSchedulerClient:
    """Return the client for EventBridge Scheduler."""
    return boto3.client("scheduler", config=_CONFIG)


@functools.cache
def cloudwatch() -> CloudWatchClient:
    """Return the client for CloudWatch."""
    return boto3.client("cloudwatch", config=_CONFIG)


@functools.cache
def secretsmanager() -> SecretsManagerClient:
    """Return the client for Secrets Manager."""
    return boto3.client("secretsmanager", config=_CONFIG)


@functools.cache
def autoscaling() -> ApplicationAutoScalingClient:
    """Return the client for Application Auto Scaling."""
    return boto3.client("application-autoscaling", config=_CONFIG)


# SageMaker has the code ResourceNotFound, but mostly returns a ValidationException with one of these phrases.
_MISSING = ("could not find", "not found", "does not exist")


def is_missing(error: ClientError) -> bool:
    """Return whether the error says that the resource does not exist."""
    return code_of(error) == "ResourceNotFound" or (
        code_of(error) == "ValidationException"
        and any(words in message_of(error).lower() for words in _MISSING)
    )


def already_exists(error: ClientError) -> bool:
    """Return whether the error says that the name is in use.

    SageMaker returns ResourceInUse for jobs and a ValidationException for other resources.
    """
    return code_of(error) == "ResourceInUse" or (
        code_of(error) == "ValidationException"
        and any(words in message_of(error) for words in ("already existing", "already exists"))
    )


def is_in_progress(error: ClientError) -> bool:
    """Return whether SageMaker refused because the endpoint is being created, updated or deleted."""
    return code_of(error) == "ValidationException" and "in-progress" in message_of(error)
