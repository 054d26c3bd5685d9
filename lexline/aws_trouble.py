"""What the errors of AWS's client library mean to the person who typed the command."""

from __future__ import annotations

from botocore import exceptions

from lexline import project, target

_LOGIN = "Log in (`aws sso login --profile NAME`, or `aws configure`) and try again."
_REFUSED_KEYS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
}


# SageMaker has a code for it, ResourceNotFound, and yet says most of it as a ValidationException in one of
# these words.
_MISSING = ("could not find", "not found", "does not exist")


def is_missing(error: exceptions.ClientError) -> bool:
    """Whether SageMaker says that there is no such resource."""
    told = error.response["Error"]
    return told.get("Code") == "ResourceNotFound" or (
        told.get("Code") == "ValidationException"
        and any(words in told.get("Message", "").lower() for words in _MISSING)
    )


def explain(error: exceptions.BotoCoreError | exceptions.ClientError) -> tuple[str, str]:
    """A sentence and a next step, which may be empty."""
    if isinstance(error, exceptions.NoCredentialsError | exceptions.CredentialRetrievalError):
        return "This profile has no AWS credentials.", _LOGIN
    if isinstance(error, exceptions.TokenRetrievalError | exceptions.UnauthorizedSSOTokenError):
        return "The AWS login has expired.", _LOGIN
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        if "//127.0.0.1" in str(error):
            return target.not_running(project.home())
        return f"No connection to AWS: {error}", ""
    if isinstance(error, exceptions.ClientError):
        code = error.response["Error"].get("Code", "")
        if code in _REFUSED_KEYS:
            return "AWS does not accept these credentials any more.", _LOGIN
        if code in ("AccessDenied", "AccessDeniedException"):
            return f"AWS does not allow it: {error.response['Error'].get('Message', '')}", ""
    return str(error), ""
