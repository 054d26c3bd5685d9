"""boto3 clients, one per service, and what SageMaker's errors mean.

Call `aws.s3()` and the like: the client is created at the first call and reused in later invocations.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from core.errors import code_of, message_of

Response = TypeVar("Response")

# Only a few quick retries here: the state machine does the long ones, and costs nothing while it waits.
_CONFIG = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=20)
# SageMaker waits up to 60 s for a container's response, so this client waits longer.
_INVOKE_CONFIG = Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=65)

sagemaker = functools.cache(lambda: boto3.client("sagemaker", config=_CONFIG))
sagemaker_runtime = functools.cache(lambda: boto3.client("sagemaker-runtime", config=_INVOKE_CONFIG))
s3 = functools.cache(lambda: boto3.client("s3", config=_CONFIG))
dynamodb = functools.cache(lambda: boto3.client("dynamodb", config=_CONFIG))
stepfunctions = functools.cache(lambda: boto3.client("stepfunctions", config=_CONFIG))
sns = functools.cache(lambda: boto3.client("sns", config=_CONFIG))
scheduler = functools.cache(lambda: boto3.client("scheduler", config=_CONFIG))
cloudwatch = functools.cache(lambda: boto3.client("cloudwatch", config=_CONFIG))
secretsmanager = functools.cache(lambda: boto3.client("secretsmanager", config=_CONFIG))
autoscaling = functools.cache(lambda: boto3.client("application-autoscaling", config=_CONFIG))

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


@contextmanager
def allowing(*expected: Callable[[ClientError], bool]) -> Iterator[None]:
    """Suppress an error of the block that one of the functions recognises, such as `already_exists`."""
    try:
        yield
    except ClientError as error:
        if not any(recognises(error) for recognises in expected):
            raise


def is_missing_object(error: ClientError) -> bool:
    """Return whether S3's error says that the object does not exist.

    S3 returns 403 for an object that does not exist if the caller may not list the bucket.
    """
    return code_of(error) in ("NoSuchKey", "NotFound", "404", "AccessDenied", "Forbidden", "403")


def or_none(
    call: Callable[[], Response], recognises: Callable[[ClientError], bool] = is_missing
) -> Response | None:
    """Return the call's response, or None for an error that the second function recognises."""
    with allowing(recognises):
        return call()
    return None


def tags_of(arn: str) -> dict[str, str] | None:
    """Return the tags of a SageMaker resource by key, or None if it does not exist.

    One request returns them all: a resource has at most 50 tags, and a page holds that many.
    """
    # The ARN is valid. So a ValidationException, whose text AWS does not document for ListTags and which may
    # be empty (aws/amazon-sagemaker-feedback#108), says that the resource does not exist.
    response = or_none(
        lambda: sagemaker().list_tags(ResourceArn=arn),
        lambda error: is_missing(error) or code_of(error) == "ValidationException",
    )
    return {tag["Key"]: tag["Value"] for tag in response["Tags"]} if response else None
