"""What boto raises becomes an error the state machine knows by name, with AWS's message kept."""

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
        ("ServiceUnavailable", 503, errors.ServiceUnavailable),
        ("AccessDeniedException", 400, errors.AccessDenied),
        ("AccessDenied", 403, errors.AccessDenied),
        ("ValidationException", 400, errors.RequestRefused),
        # Of the other services.
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
def test_a_refusal_by_aws_is_named_for_what_to_do_about_it(
    code: str, status: int, expected: type[errors.PipelineError]
) -> None:
    with pytest.raises(expected, match=r"CreateTrainingJob: said AWS \(" + code), errors.translated():
        raise client_error(code, status=status)


def test_a_denied_action_stays_readable() -> None:
    principal = "arn:aws:sts::111122223333:assumed-role/lexline-compensate/lexline-compensate"
    message = f"User: {principal} is not authorized to perform: sagemaker:StopTrainingJob"
    with pytest.raises(errors.AccessDenied, match="sagemaker:StopTrainingJob"), errors.translated():
        raise client_error("AccessDeniedException", message)


def test_a_service_that_cannot_be_reached_is_tried_again() -> None:
    with pytest.raises(errors.ServiceUnavailable, match="EndpointConnectionError"), errors.translated():
        raise EndpointConnectionError(endpoint_url="https://api.sagemaker.eu-west-1.amazonaws.com")


def test_errors_of_the_pipelines_own_pass_as_they_are() -> None:
    with pytest.raises(errors.EndpointBusy), errors.translated():
        raise errors.EndpointBusy("Endpoint lexline is Updating.")


def test_no_error_takes_the_name_of_one_of_pythons() -> None:
    names = {name for name, _ in inspect.getmembers(errors, inspect.isclass)}
    assert not names & set(dir(builtins))


def test_every_error_says_what_it_is_for() -> None:
    """The state machine shows its name, and the reader looks it up."""
    for name, each in inspect.getmembers(errors, inspect.isclass):
        if issubclass(each, errors.PipelineError):
            assert each.__doc__, name
            assert each.__doc__.strip().endswith("."), name


def test_an_answer_without_code_or_message_is_still_a_sentence() -> None:
    with pytest.raises(errors.RequestRefused, match="CreateTrainingJob: "), errors.translated():
        raise ClientError({}, "CreateTrainingJob")  # type: ignore[arg-type]
