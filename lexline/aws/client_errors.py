"""Recognize boto3's errors, and explain them to the user."""

from __future__ import annotations

from botocore import exceptions

from lexline.aws import target
from lexline.core import paths

_LOG_IN = "Log in with `aws sso login --profile NAME` or `aws configure`, then try again."
_INVALID_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
}
# SageMaker has the code ResourceNotFound, but reports most missing resources as a ValidationException with
# one of these phrases.
_MISSING = ("could not find", "not found", "does not exist")


def is_missing(error: exceptions.ClientError) -> bool:
    """Check whether SageMaker reports that a resource does not exist."""
    code, message = _code_and_message(error)
    return code == "ResourceNotFound" or (
        code == "ValidationException" and any(phrase in message.lower() for phrase in _MISSING)
    )


def explain(error: exceptions.BotoCoreError | exceptions.ClientError) -> tuple[str, str]:
    """Return a sentence that explains an error, and the next step or ""."""
    if isinstance(error, exceptions.NoCredentialsError | exceptions.CredentialRetrievalError):
        return "This profile has no AWS credentials.", _LOG_IN
    if isinstance(error, exceptions.TokenRetrievalError | exceptions.UnauthorizedSSOTokenError):
        return "The AWS login has expired.", _LOG_IN
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        if "//127.0.0.1" in str(error):
            return target.not_reached(paths.home(), error)
        return f"AWS cannot be reached: {error}", "Check the network connection and the region."
    if isinstance(error, exceptions.ClientError):
        code, message = _code_and_message(error)
        if code in _INVALID_CREDENTIALS:
            return "AWS does not accept these credentials. They may have expired.", _LOG_IN
        if code in ("AccessDenied", "AccessDeniedException"):
            return f"AWS denied access: {message}", "Use a profile that has this permission."
    return str(error), ""


def _code_and_message(error: exceptions.ClientError) -> tuple[str, str]:
    details = error.response["Error"]
    return details.get("Code", ""), details.get("Message", "")
