"""One boto3 client per service and execution environment, made when first asked for."""

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

# A few quick retries here; the long ones are the state machine's, which costs nothing while it waits.
_CONFIG = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=20)
# SageMaker lets a container think for 60 s before it gives up.
_INVOKE_CONFIG = Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=65)


@functools.cache
def sagemaker() -> SageMakerClient:
    return boto3.client("sagemaker", config=_CONFIG)


@functools.cache
def sagemaker_runtime() -> SageMakerRuntimeClient:
    return boto3.client("sagemaker-runtime", config=_INVOKE_CONFIG)


@functools.cache
def s3() -> S3Client:
    return boto3.client("s3", config=_CONFIG)


@functools.cache
def dynamodb() -> DynamoDBClient:
    return boto3.client("dynamodb", config=_CONFIG)


@functools.cache
def stepfunctions() -> SFNClient:
    return boto3.client("stepfunctions", config=_CONFIG)


@functools.cache
def sns() -> SNSClient:
    return boto3.client("sns", config=_CONFIG)


@functools.cache
def scheduler() -> EventBridgeSchedulerClient:
    return boto3.client("scheduler", config=_CONFIG)


@functools.cache
def cloudwatch() -> CloudWatchClient:
    return boto3.client("cloudwatch", config=_CONFIG)


@functools.cache
def secretsmanager() -> SecretsManagerClient:
    return boto3.client("secretsmanager", config=_CONFIG)


@functools.cache
def autoscaling() -> ApplicationAutoScalingClient:
    return boto3.client("application-autoscaling", config=_CONFIG)


# SageMaker has a code for it, ResourceNotFound, and yet says most of it as a ValidationException in one of
# these words.
_MISSING = ("could not find", "not found", "does not exist")


def is_missing(error: ClientError) -> bool:
    """Whether SageMaker says there is no such resource."""
    return code_of(error) == "ResourceNotFound" or (
        code_of(error) == "ValidationException"
        and any(words in message_of(error).lower() for words in _MISSING)
    )


def already_exists(error: ClientError) -> bool:
    """Whether SageMaker says the name is taken: ResourceInUse for jobs, else a ValidationException."""
    return code_of(error) == "ResourceInUse" or (
        code_of(error) == "ValidationException"
        and any(words in message_of(error) for words in ("already existing", "already exists"))
    )


def is_in_progress(error: ClientError) -> bool:
    """Whether SageMaker refuses because the endpoint is being created, updated or deleted."""
    return code_of(error) == "ValidationException" and "in-progress" in message_of(error)
