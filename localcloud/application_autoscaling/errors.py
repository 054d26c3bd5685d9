"""Errors that only Application Auto Scaling returns."""

from localcloud.sagemaker.core.errors import ServiceError


class ObjectNotFoundError(ServiceError):
    """The scalable target or policy does not exist."""

    code = "ObjectNotFoundException"


class InvalidNextTokenError(ServiceError):
    """This service has not issued the token."""

    code = "InvalidNextTokenException"
