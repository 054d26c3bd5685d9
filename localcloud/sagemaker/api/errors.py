"""The errors the SageMaker API answers with: the code a client matches on, the HTTP status, a sentence."""

from typing import Any, ClassVar


class ServiceError(Exception):
    """Something the caller is told. `code` is what botocore raises it as."""

    code: ClassVar[str] = "InternalFailure"
    status: ClassVar[int] = 500

    def members(self) -> dict[str, Any]:
        """Further members of the error's body."""
        return {}


class ValidationError(ServiceError):
    """The request, or the state of what it names, does not allow the operation."""

    code = "ValidationException"
    status = 400


class SerializationError(ServiceError):
    """The body is not JSON, or a value is of another JSON type than the operation's model says."""

    code = "SerializationException"
    status = 400


class UnknownOperationError(ServiceError):
    """SageMaker, or the part of it this cloud has, knows no such operation."""

    code = "UnknownOperationException"
    status = 400


class AccessDeniedError(ServiceError):
    """No policy of the caller allows the action on the resource."""

    code = "AccessDeniedException"
    status = 400


class ResourceInUseError(ServiceError):
    """The name is taken."""

    code = "ResourceInUse"
    status = 400


class ConflictError(ServiceError):
    """What else there is does not allow the change."""

    code = "ConflictException"
    status = 400


class ResourceLimitError(ServiceError):
    """The account's quota is used up."""

    code = "ResourceLimitExceeded"
    status = 400


class RuntimeValidationError(ServiceError):
    """InvokeEndpoint's own name for a request it cannot serve."""

    code = "ValidationError"
    status = 400


class RuntimeAccessDeniedError(AccessDeniedError):
    """As AccessDeniedError; the runtime API is REST and answers with 403."""

    status = 403


class PayloadTooLargeError(ServiceError):
    """The runtime's front door refuses the body before anything reads it; it gives no error code but the
    status.
    """

    code = "413"
    status = 413


class ModelError(ServiceError):
    """The model answered an invocation with 4xx or 5xx, or did not answer."""

    code = "ModelError"
    status = 424

    def __init__(self, message: str, *, original_status: int, original_message: str, log_stream: str) -> None:
        super().__init__(message)
        self.original_status = original_status
        self.original_message = original_message
        self.log_stream = log_stream

    def members(self) -> dict[str, Any]:
        return {
            "OriginalStatusCode": self.original_status,
            "OriginalMessage": self.original_message,
            "LogStreamArn": self.log_stream,
        }
