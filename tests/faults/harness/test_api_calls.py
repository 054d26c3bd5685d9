"""Planned faults of API calls."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.control import LocalCloud
from tests.faults.harness.client import Faults
from tests.faults.harness.sagemaker_user import SageMakerUser


def error_code(call: Callable[..., Any], **arguments: Any) -> str:
    """Return the code of the error that a call raises; "" if it succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_an_operation_is_throttled_as_often_as_planned(faults: Faults, user: SageMakerUser) -> None:
    fault = faults.throttle("ListEndpoints", times=2)
    codes = [error_code(user.api.list_endpoints) for _ in range(3)]
    assert codes == ["ThrottlingException", "ThrottlingException", ""]
    assert faults.fired(fault) == 2
    assert faults.unused() == []


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "code"),
    [
        (
            "dynamodb",
            "PutItem",
            {"TableName": "waits", "Item": {"resource": {"S": "a"}}},
            "ProvisionedThroughputExceededException",
        ),
        ("s3", "PutObject", {"Bucket": "bucket", "Key": "a", "Body": b""}, "SlowDown"),
        ("sns", "Publish", {"TopicArn": "arn:aws:sns:us-east-1:000000000000:t", "Message": "m"}, "Throttled"),
    ],
)
def test_each_service_has_its_own_code_for_throttling(
    faults: Faults,
    single_attempt: Callable[[str], Any],
    service: str,
    operation: str,
    arguments: dict[str, Any],
    code: str,
) -> None:
    faults.throttle(operation)
    client = single_attempt(service)
    method = next(name for name, api in client.meta.method_to_api_mapping.items() if api == operation)
    assert error_code(getattr(client, method), **arguments) == code


@pytest.mark.parametrize(
    ("plan", "code", "status"),
    [
        (lambda faults: faults.limit("ListModels"), "ResourceLimitExceeded", 400),
        (lambda faults: faults.internal_error("ListModels"), "InternalFailure", 500),
        (lambda faults: faults.deny("ListModels"), "AccessDeniedException", 400),
        (lambda faults: faults.refuse("sagemaker:ListModels", "Odd", status=418), "Odd", 418),
    ],
)
def test_a_call_is_refused_with_the_planned_error(
    faults: Faults, user: SageMakerUser, plan: Callable[[Faults], Any], code: str, status: int
) -> None:
    plan(faults)
    with pytest.raises(ClientError) as refused:
        user.api.list_models()
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    user.api.list_models()


def test_a_fault_strikes_one_resource_after_so_many_calls(faults: Faults, user: SageMakerUser) -> None:
    for job in ("lexline-a1", "lexline-b1"):
        user.run_job(job)
    faults.throttle("DescribeTrainingJob", name="lexline-a", after=1)
    codes = [
        error_code(user.api.describe_training_job, TrainingJobName=job)
        for job in ("lexline-b1", "lexline-b1", "lexline-a1", "lexline-a1")
    ]
    assert codes == ["", "", "", "ThrottlingException"]


def test_a_call_with_a_lost_response_takes_effect(faults: Faults, user: SageMakerUser) -> None:
    faults.lose_response("CreateTrainingJob")
    assert error_code(user.start_job, name="job") == "InternalFailure"
    assert user.wait_for_job("job")["TrainingJobStatus"] == "Completed"


def test_faults_that_did_not_strike_are_listed(faults: Faults, user: SageMakerUser) -> None:
    faults.limit("CreateTrainingJob", times=2)
    assert error_code(user.start_job, name="job") == "ResourceLimitExceeded"
    (summary,) = faults.unused()
    assert "CreateTrainingJob" in summary
    faults.clear()
    assert faults.planned() == []


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda faults: faults._request("POST", "", {"kind": "weather"}), "A fault has after, "),
        (lambda faults: faults.throttle("ListModels", by="nobody"), "There is no function nobody"),
        (lambda faults: faults.unavailable("nobody", "Lambda.Unknown"), "There is no function nobody"),
    ],
)
def test_an_impossible_fault_is_refused(faults: Faults, plan: Callable[[Faults], Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        plan(faults)


def test_only_the_administrator_may_plan_faults(
    faults: Faults, user: SageMakerUser, cloud: LocalCloud
) -> None:
    iam = cloud.client("iam")
    iam.create_user(UserName=user.bucket)
    key = iam.create_access_key(UserName=user.bucket)["AccessKey"]
    for key_id, secret in ((key["AccessKeyId"], key["SecretAccessKey"]), ("test", "test")):
        caller = dataclasses.replace(cloud, access_key_id=key_id, secret_access_key=secret)
        with pytest.raises(AssertionError, match="403"):
            Faults(caller).throttle("ListModels")
    assert faults.planned() == []
