"""The errors a step may end with. The state machine's Retry and Catch match them by class name.

Every message is a sentence a person can act on. AWS's own errors are translated here, keeping AWS's message:
it names the denied action, the quota, or the field.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError


class PipelineError(Exception):
    """Any error of the pipeline's own."""


class InvalidInput(PipelineError):
    """The execution input, or a document between steps, is not what the contract says. Names the field."""


class NothingToDo(PipelineError):
    """Not a failure: this run has no work. The run ends as Skipped, with the message as its reason."""


class Unchanged(NothingToDo):
    """The model that serves is of the same data, scripts and hyperparameters."""


class LeaseLost(PipelineError):
    """Another run holds the lease on the endpoint by now; this one may not touch it any more."""


# --- the uploaded dataset ------------------------------------------------------------------------


class InvalidDataset(PipelineError):
    """The uploaded corpus cannot be trained on. Subclasses tell the cases apart."""


class DatasetNotFound(InvalidDataset):
    """No object under that name."""


class DatasetEmpty(InvalidDataset):
    """The object, or the corpus in it, has no text."""


class DatasetNotText(InvalidDataset):
    """The object is binary, or of a kind that is not read."""


class DatasetNotUtf8(InvalidDataset):
    """The text is not UTF-8. The message gives the byte offset."""


class DatasetTooSmall(InvalidDataset):
    """Too few words or lines to train, validate and test on."""


class DatasetTooLarge(InvalidDataset):
    """More text than one execution of the prepare function gets through."""


class DatasetReplaced(InvalidDataset):
    """Another upload took the object's place while it was read. Retried: the next attempt reads that."""


class SplitIncomplete(InvalidDataset):
    """Files named as splits are there, but not one each of train, valid and test."""


class ArchiveCorrupt(InvalidDataset):
    """The archive ends early or does not unpack."""


class ArchiveHasNoCorpus(InvalidDataset):
    """No text file, or no one text file to choose, in the archive."""


class ArchiveEncrypted(InvalidDataset):
    """The archive needs a password."""


class ArchiveNested(InvalidDataset):
    """There is an archive within the archive."""


class ArchiveUnsafe(InvalidDataset):
    """A member's path leaves the archive, or is a link or a device."""


class ArchiveTooLarge(InvalidDataset):
    """The archive unpacks to more than is accepted: an archive bomb, or simply too much text."""


# --- the Git repository of the scripts ------------------------------------------------------------


class InvalidSource(PipelineError):
    """The scripts cannot be taken from the Git repository as named. Subclasses tell the cases apart."""


class SourceNotFound(InvalidSource):
    """No such repository, branch, tag or commit."""


class SourceUnauthorized(InvalidSource):
    """The Git server wants credentials and has none, or none that it accepts."""


class SourceIncomplete(InvalidSource):
    """A script that SageMaker starts is not in the repository."""


class SourceTooLarge(InvalidSource):
    """More in the repository, or in its scripts, than one execution of a function takes in."""


# --- AWS ------------------------------------------------------------------------------------------


class Throttled(PipelineError):
    """AWS, or the Git server, asked to slow down. Retried."""


class ServiceUnavailable(PipelineError):
    """AWS, or the Git server, failed on its own side or could not be reached. Retried."""


class CapacityUnavailable(PipelineError):
    """A quota or the capacity for an instance type is used up. Retried after minutes."""


class EndpointBusy(PipelineError):
    """The endpoint is being created, updated or deleted. Retried until it has settled."""


class AccessDenied(PipelineError):
    """A role lacks a permission. The message names the action."""


class RequestRefused(PipelineError):
    """AWS refused the request for another reason. The message is AWS's."""


class Misconfigured(PipelineError):
    """The deployment lacks a setting this function needs, or names an endpoint that is not its own."""


# --- training and hosting -------------------------------------------------------------------------


class TrainingFailed(PipelineError):
    """The training job failed. The message is its FailureReason."""


class TrainingStopped(PipelineError):
    """Somebody stopped the training job."""


class TrainingTimedOut(PipelineError):
    """The training job reached max_runtime_seconds and was stopped."""


class ModelNotFound(PipelineError):
    """No registered model has that name or version, or its artifact is gone."""


class ModelRejected(PipelineError):
    """The model was refused, and is deployed only when that is asked for with force."""


class EndpointFailed(PipelineError):
    """The endpoint could not be brought into service. The message is its FailureReason."""


class UpdateReverted(PipelineError):
    """The endpoint is in service, but with its former config: SageMaker took the update back."""


class SmokeTestFailed(PipelineError):
    """The endpoint answered, but not as a language model should."""


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


def code_of(error: ClientError) -> str:
    """AWS's error code, for example ValidationException."""
    return str(error.response.get("Error", {}).get("Code", ""))


def message_of(error: ClientError) -> str:
    """AWS's own sentence."""
    return str(error.response.get("Error", {}).get("Message", "")) or str(error)


def translate(error: ClientError | BotoCoreError) -> PipelineError:
    """The pipeline's error for one of boto's, so that the state machine can tell what to retry."""
    if isinstance(error, BotoCoreError):
        return ServiceUnavailable(f"{type(error).__name__}: {error}")
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # AWS's message rarely names the operation, except that of a denied call.
    sentence = f"{error.operation_name}: {message_of(error)} ({code})"
    if code in _DENIED:
        return AccessDenied(sentence)
    if code in _THROTTLING or status == 429:
        return Throttled(sentence)
    if code in _CAPACITY:
        return CapacityUnavailable(sentence)
    if status >= 500:
        return ServiceUnavailable(sentence)
    return RequestRefused(sentence)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what boto raises inside the block into this module's errors."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(error) from error
