"""The errors only Application Auto Scaling answers with; the others are those of every service."""

from localcloud.sagemaker.api.errors import ServiceError


class ObjectNotFoundError(ServiceError):
    """There is no such scalable target or policy."""

    code = "ObjectNotFoundException"
    status = 400


class InvalidNextTokenError(ServiceError):
    """The token is none this service gave."""

    code = "InvalidNextTokenException"
    status = 400
