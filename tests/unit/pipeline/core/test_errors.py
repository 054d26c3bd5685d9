"""errors: an error of boto3 becomes an error that the state machine knows, with AWS's message."""

import builtins
import inspect

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from core import errors


def client_error(code: str, message: str = "said AWS", status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "CreateTrainingJob")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ThrottlingException", 400, errors.Throttled),
        ("SomethingNew", 429, errors.Throttled),
        ("ResourceLimitExceeded", 400, errors.CapacityUnavailable),
        ("InternalFailure", 500, errors.ServiceUnavailable),
        ("AccessDeniedException", 400, errors.AccessDenied),
        ("AccessDenied", 403, errors.AccessDenied),
        ("ValidationException", 400, errors.RequestRefused),
        # Codes of the other services.
        ("ProvisionedThroughputExceededException", 400, errors.Throttled),
        ("SlowDown", 503, errors.Throttled),
        ("ModelNotReadyException", 429, errors.Throttled),
        ("InternalDependencyException", 530, errors.ServiceUnavailable),
        ("ConcurrentUpdateException", 500, errors.ServiceUnavailable),
        ("LimitExceededException", 400, errors.CapacityUnavailable),
        ("AuthorizationErrorException", 403, errors.AccessDenied),
        ("KMSAccessDeniedException", 400, errors.AccessDenied),
        ("ServiceQuotaExceededException", 402, errors.RequestRefused),
    ],
)
def test_an_aws_error_gets_the_name_that_says_whether_to_retry(
    code: str, status: int, expected: type[errors.PipelineError]
) -> None:
    with pytest.raises(expected, match=r"CreateTrainingJob: said AWS \(" + code), errors.translated():
        raise client_error(code, status=status)


SPOT = ("ml.g5.xlarge for spot training job usage", "Instances")
MEMORY = ("Memory size in MB per serverless endpoint", "MBs")
ALL = ("Number of instances across all processing jobs", "Instances")


@pytest.mark.parametrize(
    ("quota", "limit", "used", "delta", "too_small"),
    [
        (SPOT, 0, 0, 1, True),
        (SPOT, 1, 1, 1, False),
        (SPOT, 2, 3, 1, False),
        (ALL, 4, 0, 11, True),
        (MEMORY, 3072, 0, 4096, True),
    ],
)
@pytest.mark.parametrize(
    "advice",
    [
        "Please contact AWS support to request an increase for this limit.",
        "Please use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not "
        "available, contact AWS support to request an increase for this quota.",
    ],
)
def test_a_quota_that_never_has_room_is_told_from_one_that_is_used_up(
    quota: tuple[str, str], limit: int, used: int, delta: int, too_small: bool, advice: str
) -> None:
    name, unit = quota
    said = (
        f"The account-level service limit '{name}' is {limit} {unit}, with current utilization of "
        f"{used} {unit} and a request delta of {delta} {unit}."
    )
    error = errors.translate(client_error("ResourceLimitExceeded", f"{said} {advice}"))
    assert type(error) is (errors.QuotaTooSmall if too_small else errors.CapacityUnavailable)
    assert said in str(error)
    if too_small:
        assert f"'{name}' must be at least {delta}." in str(error)
        assert "/servicequotas/" in str(error)


def test_a_service_that_cannot_be_reached_is_unavailable() -> None:
    with pytest.raises(errors.ServiceUnavailable, match="EndpointConnectionError"), errors.translated():
        raise EndpointConnectionError(endpoint_url="https://api.sagemaker.eu-west-1.amazonaws.com")


def test_the_pipelines_own_errors_are_not_translated() -> None:
    with pytest.raises(errors.EndpointBusy), errors.translated():
        raise errors.EndpointBusy("Endpoint lexline is Updating.")


def test_an_error_without_code_or_message_still_names_the_operation() -> None:
    with pytest.raises(errors.RequestRefused, match="CreateTrainingJob: "), errors.translated():
        raise ClientError({}, "CreateTrainingJob")


def test_every_error_has_a_docstring_and_no_name_of_a_builtin() -> None:
    """The state machine shows the name, and the reader looks it up."""
    for name, each in inspect.getmembers(errors, inspect.isclass):
        assert name not in dir(builtins)
        assert not issubclass(each, errors.PipelineError) or each.__doc__, name
