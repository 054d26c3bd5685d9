"""Calls that fail as planned, of any service."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.control import LocalCloud
from tests.faults.byhand import ByHand
from tests.faults.plan import Faults


def code_of(call: Callable[..., Any], **arguments: Any) -> str:
    """The code of the error that a call ends in; "" when it succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_a_throttled_operation_is_refused_as_often_as_planned(faults: Faults, byhand: ByHand) -> None:
    fault = faults.throttle("ListEndpoints", times=2)
    codes = [code_of(byhand.api.list_endpoints) for _ in range(3)]
    assert codes == ["ThrottlingException", "ThrottlingException", ""]
    assert faults.fired(fault) == 2
    assert faults.unused() == []


def test_each_service_throttles_by_its_own_name(faults: Faults, once: Callable[[str], Any]) -> None:
    for operation in ("PutItem", "PutObject", "Publish"):
        faults.throttle(operation)
    key = {"resource": {"S": "a"}}
    assert (
        code_of(once("dynamodb").put_item, TableName="waits", Item=key)
        == "ProvisionedThroughputExceededException"
    )
    assert code_of(once("s3").put_object, Bucket="bucket", Key="a", Body=b"") == "SlowDown"
    assert (
        code_of(once("sns").publish, TopicArn="arn:aws:sns:us-east-1:000000000000:t", Message="m")
        == "Throttled"
    )


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
    faults: Faults, byhand: ByHand, plan: Callable[[Faults], Any], code: str, status: int
) -> None:
    plan(faults)
    with pytest.raises(ClientError) as refused:
        byhand.api.list_models()
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    byhand.api.list_models()


def test_a_fault_strikes_one_resource_after_so_many_calls(faults: Faults, byhand: ByHand) -> None:
    for job in ("lexline-a1", "lexline-b1"):
        byhand.trained(job)
    faults.throttle("DescribeTrainingJob", name="lexline-a", after=1)

    def describe(job: str) -> str:
        return code_of(byhand.api.describe_training_job, TrainingJobName=job)

    assert [describe(job) for job in ("lexline-b1", "lexline-b1", "lexline-a1", "lexline-a1")] == [
        "", "", "", "ThrottlingException",
    ]  # fmt: skip


def test_an_answer_is_lost_after_the_call_took_effect(faults: Faults, byhand: ByHand) -> None:
    faults.lose_answer("CreateTrainingJob")
    assert code_of(byhand.api.create_training_job, **byhand.training("lost")) == "InternalFailure"
    assert byhand.ended("lost")["TrainingJobStatus"] == "Completed"


def test_a_slow_call_takes_so_much_longer(faults: Faults, byhand: ByHand) -> None:
    faults.slow("ListModels", 0.3)
    began = time.monotonic()
    assert byhand.api.list_models()["Models"] == []
    assert time.monotonic() - began >= 0.3


def test_what_did_not_happen_is_told(faults: Faults, byhand: ByHand) -> None:
    faults.limit("CreateTrainingJob", times=2)
    assert code_of(byhand.api.create_training_job, **byhand.training("a")) == "ResourceLimitExceeded"
    (said,) = faults.unused()
    assert "CreateTrainingJob" in said
    faults.clear()
    assert faults.planned() == []


def test_a_fault_of_an_unknown_form_is_refused(faults: Faults) -> None:
    with pytest.raises(AssertionError, match="A fault has after, "):
        faults._request("POST", "", {"kind": "weather"})


def test_only_the_administrator_comes_in_by_the_door(
    faults: Faults, byhand: ByHand, cloud: LocalCloud
) -> None:
    iam = cloud.client("iam")
    iam.create_user(UserName=byhand.bucket)
    key = iam.create_access_key(UserName=byhand.bucket)["AccessKey"]
    somebody = dataclasses.replace(
        cloud, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"]
    )
    with pytest.raises(AssertionError, match="not authorized to perform: faults:Plan"):
        Faults(somebody).throttle("ListModels")
    unsigned = dataclasses.replace(cloud, access_key_id="test", secret_access_key="test")
    with pytest.raises(AssertionError):
        Faults(unsigned).throttle("ListModels")
    assert faults.planned() == []
