"""The errors of the SageMaker API: the code that a client matches on, the HTTP status and a sentence."""

from typing import Any, ClassVar


class ServiceError(Exception):
    """An error that the caller receives. botocore raises it under its `code`."""

    code: ClassVar[str]
    status: ClassVar[int] = 400

    def members(self) -> dict[str, Any]:
        """Return further members of the response body."""
        return {}


class InternalError(ServiceError):
    """The local cloud has failed; its log says why."""

    code = "InternalFailure"
    status = 500

    def __init__(self) -> None:
        super().__init__("We encountered an internal error. Please try again.")


class ValidationError(ServiceError):
    """The request is invalid, or the state of a resource does not allow the operation."""

    code = "ValidationException"


class SerializationError(ServiceError):
    """The body is not JSON, or a value has another JSON type than the service model says."""

    code = "SerializationException"


class UnknownOperationError(ServiceError):
    """SageMaker or the local cloud does not have the operation."""

    code = "UnknownOperationException"


class AccessDeniedError(ServiceError):
    """No policy of the caller allows the action on the resource."""

    code = "AccessDeniedException"


class ResourceInUseError(ServiceError):
    """The name is taken."""

    code = "ResourceInUse"


class ConflictError(ServiceError):
    """Another resource prevents the change."""

    code = "ConflictException"


class ResourceLimitError(ServiceError):
    """The request would exceed a quota of the account."""

    code = "ResourceLimitExceeded"


class RuntimeValidationError(ServiceError):
    """InvokeEndpoint cannot serve the request."""

    code = "ValidationError"


class RuntimeAccessDeniedError(AccessDeniedError):
    """InvokeEndpoint's AccessDeniedError: the runtime API is REST and returns 403."""

    status = 403


class PayloadTooLargeError(ServiceError):
    """The body is too large for InvokeEndpoint. AWS's front end returns a status and no error code."""

    code = "413"
    status = 413


class ServiceUnavailableError(ServiceError):
    """InvokeEndpoint has no instance that passes its health check."""

    code = "ServiceUnavailable"
    status = 503


class ModelError(ServiceError):
    """The model returned 4xx or 5xx, or did not respond in time."""

    code = "ModelError"
    status = 424

    def __init__(self, message: str, *, original_status: int, original_message: str, log_stream: str) -> None:
        super().__init__(message)
        self.original_status = original_status
        self.original_message = original_message
        self.log_stream = log_stream

    def members(self) -> dict[str, Any]:
        """Return the model's status and response, and the ARN of the log."""
        return {
            "OriginalStatusCode": self.original_status,
            "OriginalMessage": self.original_message,
            "LogStreamArn": self.log_stream,
        }
