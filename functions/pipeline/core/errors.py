"""The errors with which a step may end. The state machine's Retry and Catch match them by class name.

Every message says what happened, to which field or resource, and what to do next. Errors from AWS are
translated here and keep AWS's message, which names the denied action, the quota or the field.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError


class PipelineError(Exception):
    """The base class of all errors here."""


class InvalidInput(PipelineError):
    """The execution's input, or a document between steps, is invalid. The message names the field."""


class NothingToDo(PipelineError):
    """The run has no work, which is not a failure. It ends as Skipped, with the message as its reason."""


class Unchanged(NothingToDo):
    """The model that serves was trained from the same data, scripts and hyperparameters."""


class LeaseLost(PipelineError):
    """Another run holds the lease on the endpoint now, so this run must not change the endpoint."""


# --- the uploaded dataset ------------------------------------------------------------------------


class InvalidDataset(PipelineError):
    """The uploaded corpus cannot be used for training. Each subclass is one reason."""


class DatasetNotFound(InvalidDataset):
    """The object does not exist."""


class DatasetEmpty(InvalidDataset):
    """The object, or the corpus in it, contains no text."""


class DatasetNotText(InvalidDataset):
    """The object is binary, or has a format that is not supported."""


class DatasetNotUtf8(InvalidDataset):
    """The text is not UTF-8. The message gives the byte offset."""


class DatasetTooSmall(InvalidDataset):
    """The corpus has too few words or lines for training, validation and test."""


class DatasetTooLarge(InvalidDataset):
    """A file has more text than one invocation of ReadUpload can process."""


class DatasetReplaced(InvalidDataset):
    """An object was replaced or deleted since it was listed. The state machine lists the uploads again."""


class SplitIncomplete(InvalidDataset):
    """One or two of train, valid and test are there, and the rest is missing."""


class SplitAmbiguous(InvalidDataset):
    """Two files are the same split, or there are several complete sets of train, valid and test."""


class ArchiveCorrupt(InvalidDataset):
    """The archive ends early or cannot be unpacked."""


class ArchiveHasNoCorpus(InvalidDataset):
    """The archive has no text file, or several and no rule to choose one."""


class ArchiveEncrypted(InvalidDataset):
    """The archive needs a password."""


class ArchiveNested(InvalidDataset):
    """The archive contains another archive."""


class ArchiveUnsafe(InvalidDataset):
    """A member's path leads out of the archive, or the member is a link or a device."""


class ArchiveTooLarge(InvalidDataset):
    """The unpacked archive exceeds the limit: an archive bomb, or too much text."""


# --- the Git repository of the scripts ------------------------------------------------------------


class InvalidSource(PipelineError):
    """The scripts cannot be read from the Git repository. Each subclass is one reason."""


class SourceNotFound(InvalidSource):
    """The repository, branch, tag or commit does not exist."""


class SourceUnauthorized(InvalidSource):
    """The Git server requires credentials, and received none or invalid ones."""


class SourceIncomplete(InvalidSource):
    """The repository lacks a script that SageMaker starts."""


class SourceTooLarge(InvalidSource):
    """The repository or its scripts are larger than one invocation can process."""


# --- AWS ------------------------------------------------------------------------------------------


class Throttled(PipelineError):
    """AWS or the Git server throttled the request. Retried."""


class ServiceUnavailable(PipelineError):
    """AWS or the Git server failed or could not be reached. Retried."""


class CapacityUnavailable(PipelineError):
    """The quota or the capacity for an instance type is exhausted. Retried after minutes."""


class QuotaTooSmall(PipelineError):
    """The account's quota is too small for the request, however long the run waits. The message names it."""


class EndpointBusy(PipelineError):
    """The endpoint is being created, updated or deleted. Retried until it has settled."""


class AccessDenied(PipelineError):
    """A role lacks a permission. The message names the action."""


class RequestRefused(PipelineError):
    """AWS refused the request for another reason. The message is AWS's."""


class Misconfigured(PipelineError):
    """The function lacks an environment variable, or no run created the endpoint's config."""


class NotOwned(PipelineError):
    """A resource belongs to another stack or to none. The message names the owner and says what to do."""


# --- training and hosting -------------------------------------------------------------------------


class TrainingFailed(PipelineError):
    """The training job failed. The message is its FailureReason."""


class TrainingStopped(PipelineError):
    """A person or another program stopped the training job."""


class TrainingTimedOut(PipelineError):
    """The training job was stopped at its time limit."""


class ModelNotFound(PipelineError):
    """No registered model has this name or version, or the artifact does not exist."""


class ModelRejected(PipelineError):
    """The model was rejected, so it is deployed only with `force`."""


class EndpointFailed(PipelineError):
    """The endpoint could not be brought into service. The message is its FailureReason."""


class UpdateReverted(PipelineError):
    """The endpoint is in service with its former config: SageMaker rolled the update back."""


class SmokeTestFailed(PipelineError):
    """The endpoint's response is not what a language model should return."""


_THROTTLING = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "SlowDown",
    "ModelNotReadyException",
}
_CAPACITY = {"ResourceLimitExceeded", "InsufficientCapacity", "LimitExceededException"}
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "UnauthorizedOperation",
    "NotAuthorized",
    "KMSAccessDeniedException",
}


# SageMaker's sentence; every quota has it, with its own unit:
# https://docs.aws.amazon.com/sagemaker/latest/dg/distributed-data-parallel-support.html
_QUOTA = re.compile(
    r".*service limit '(?P<name>[^']+)' is (?P<limit>\d+) .* and a request delta of (?P<delta>\d+) "
)
_QUOTAS_CONSOLE = "https://console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


def code_of(error: ClientError) -> str:
    """Return AWS's error code, for example ValidationException."""
    return str(error.response.get("Error", {}).get("Code", ""))


def message_of(error: ClientError) -> str:
    """Return AWS's error message."""
    return str(error.response.get("Error", {}).get("Message", "")) or str(error)


def translate(error: ClientError | BotoCoreError, kept: int = 0) -> PipelineError:
    """Return the pipeline's error for an error of boto3, so that the state machine knows what to retry.

    Args:
        error: the error.
        kept: how much of a quota the caller itself uses, and keeps until the request has succeeded.
    """
    if isinstance(error, BotoCoreError):
        return ServiceUnavailable(f"{type(error).__name__}: {error}")
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # AWS's message names the operation only if the call was denied.
    sentence = f"{error.operation_name}: {message_of(error)} ({code})"
    if code in _DENIED:
        return AccessDenied(sentence)
    if code in _THROTTLING or status == 429:
        return Throttled(sentence)
    if code in _CAPACITY:
        quota = _QUOTA.match(message_of(error))
        if quota and kept + int(quota["delta"]) > int(quota["limit"]):
            return QuotaTooSmall(
                f"{sentence} Waiting does not help: the quota '{quota['name']}' must be at least "
                f"{kept + int(quota['delta'])}. Request an increase at {_QUOTAS_CONSOLE}, or choose another "
                "instance type or size, and start the run again."
            )
        return CapacityUnavailable(sentence)
    if status >= 500:
        return ServiceUnavailable(sentence)
    return RequestRefused(sentence)


@contextmanager
def translated() -> Iterator[None]:
    """Translate errors of boto3 that are raised inside the block."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(error) from error
