"""Recognize boto3's errors, and explain them to the user."""

from __future__ import annotations

from boto3.exceptions import Boto3Error
from botocore import exceptions

from lexline.aws import target
from lexline.core import paths

ERRORS = (
    exceptions.BotoCoreError,
    exceptions.ClientError,
    exceptions.UndefinedModelAttributeError,
    Boto3Error,
)
"""The base classes of all errors that boto3 and botocore raise."""
_NOT_LOGGED_IN = (
    exceptions.SSOError,
    exceptions.NoAuthTokenError,
    exceptions.TokenRetrievalError,
    exceptions.UnknownTokenProviderError,
)
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.UnknownCredentialError,
    exceptions.MetadataRetrievalError,
    exceptions.RefreshWithMFAUnsupportedError,
)
_CONFIGURATION = (
    exceptions.ProfileNotFound,
    exceptions.ConfigParseError,
    exceptions.ConfigNotFound,
    exceptions.InvalidConfigError,
)
_REGION = (
    exceptions.BaseEndpointResolverError,
    exceptions.EndpointProviderError,
    exceptions.InvalidRegionError,
    exceptions.ServiceNotInRegionError,
    exceptions.UnknownRegionError,
)
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_INVALID_CREDENTIALS = {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"}
_SIGNATURE = {"InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
# HeadObject's response has no body, so its error code is the HTTP status.
_DENIED = {
    "403",
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "NotAuthorized",
    "UnauthorizedOperation",
}
_BUSY = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
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


def explain(error: Exception, profile: str | None = None) -> tuple[str, str]:
    """Return a sentence that explains an error of boto3, and the next step.

    Args:
        error: One of ERRORS.
        profile: The AWS profile that the command works with.
    """
    cause = error.__cause__ or error.__context__
    if isinstance(error, Boto3Error) and isinstance(cause, exceptions.BotoCoreError | exceptions.ClientError):
        return explain(cause, profile)
    if isinstance(error, exceptions.ClientError):
        return _explain_response(error, profile)
    named = f"--profile {profile or 'NAME'}"
    who = f"The profile {profile}" if profile else "This machine"
    if isinstance(error, _NOT_LOGGED_IN):
        return (
            f"{who} is not logged in to AWS, or its login has expired.",
            f"Log in with `aws sso login {named}`, then try again.",
        )
    if isinstance(error, exceptions.LoginError):
        return f"The AWS login cannot be used. {error}", f"Log in with `aws login {named}`, then try again."
    if isinstance(error, _NO_CREDENTIALS):
        return f"{who} has no AWS credentials that can be used. {_sentence(error)}", _log_in(profile)
    if isinstance(error, _CONFIGURATION):
        return (
            f"AWS's configuration on this machine cannot be used. {_sentence(error)}",
            f"Correct ~/.aws/config, or set the profile up again with `aws configure {named}`.",
        )
    if isinstance(error, _REGION):
        return (
            f"The region cannot be used. {_sentence(error)}",
            "Give a region of AWS with --region, for example --region us-east-1.",
        )
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        if "//127.0.0.1" in str(error):
            return target.not_reached(paths.home(), error)
        return f"AWS cannot be reached. {_sentence(error)}", "Check the network connection and the region."
    return (
        f"The request to AWS failed. {_sentence(error)}",
        "Try again. If it fails again, check ~/.aws/config and the environment variables whose names begin "
        "with AWS_.",
    )


def _explain_response(error: exceptions.ClientError, profile: str | None) -> tuple[str, str]:
    code, message = _code_and_message(error)
    if code in _EXPIRED | _INVALID_CREDENTIALS:
        return "AWS does not accept these credentials. They may have expired.", _log_in(profile)
    if code in _SIGNATURE:
        return (
            f"AWS does not accept the signature of the request. {_sentence(message)}",
            f"Check this machine's clock. If it is right: {_log_in(profile)}",
        )
    if code in _DENIED:
        return (
            f"AWS denied access to {error.operation_name}. {_sentence(message)}",
            "Use a profile that has this permission.",
        )
    if "KMS" in code:
        return (
            f"AWS cannot use the encryption key. {_sentence(message)}",
            "Check in AWS KMS that the key is enabled and that this profile may use it.",
        )
    if code in _BUSY:
        return f"AWS is too busy for {error.operation_name}. {_sentence(message)}", "Try again in a minute."
    return (
        f"AWS refused {error.operation_name} with the error {code or 'without a name'}. {_sentence(message)}",
        "Correct what the message names, then try again. `lexline status` shows the stack.",
    )


def _log_in(profile: str | None) -> str:
    named = f"--profile {profile or 'NAME'}"
    return f"Log in with `aws sso login {named}`, or store new keys with `aws configure {named}`."


def _code_and_message(error: exceptions.ClientError) -> tuple[str, str]:
    details = error.response.get("Error", {})
    return details.get("Code", ""), details.get("Message", "")


def _sentence(text: object) -> str:
    return f"{str(text).strip().rstrip('.')}." if str(text).strip() else ""
