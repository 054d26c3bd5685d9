from typing import Any

import pytest
from botocore.exceptions import ClientError

from lexline.aws import stack as stacks
from lexline.aws.target import Target
from lexline.core.errors import UserError
from tests.unit.lexline.conftest import Stubs

OUTPUTS = {
    "BucketName": "lexline-bucket",
    "StateMachineArn": "arn:machine",
    "EndpointName": "lexline",
    "TableName": "lexline-waits",
    "TopicArn": "arn:topic",
    "ApiUrl": "https://abc.execute-api.us-east-1.amazonaws.com/v1",
    "ApiKeyId": "keyid",
}


def described(status: str = "CREATE_COMPLETE", outputs: dict[str, str] = OUTPUTS) -> dict[str, Any]:
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    return {"Stacks": [{"StackStatus": status, "Outputs": listed}]}


def test_a_stack_is_read_from_its_outputs(target: Target, stubs: Stubs) -> None:
    stubs.returns("cloudformation", "describe_stacks", {"StackName": "lexline"}, **described())
    stack = stacks.read(target)
    assert (stack.bucket, stack.table, stack.api_key_id) == ("lexline-bucket", "lexline-waits", "keyid")
    assert stack.api_url == OUTPUTS["ApiUrl"]


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        (None, stacks.NotDeployed, "no stack lexline"),
        (described("DELETE_COMPLETE"), stacks.NotDeployed, "no stack lexline"),
        (described("ROLLBACK_COMPLETE", {}), stacks.NotUsable, "ROLLBACK_COMPLETE"),
        (described(outputs={"StateMachineArn": "a"}), stacks.Outdated, "earlier version"),
    ],
)
def test_a_stack_that_cannot_be_used_says_why_and_what_to_do(
    target: Target, stubs: Stubs, response: dict[str, Any] | None, error: type[UserError], message: str
) -> None:
    if response:
        stubs.returns("cloudformation", "describe_stacks", **response)
    else:
        text = "Stack with id lexline does not exist"
        stubs.cloudformation.add_client_error("describe_stacks", "ValidationError", text, 400)
    with pytest.raises(error, match=message) as raised:
        stacks.read(target)
    assert "lexline up" in raised.value.hint


def test_another_error_of_cloudformation_does_not_mean_a_missing_stack(target: Target, stubs: Stubs) -> None:
    stubs.cloudformation.add_client_error("describe_stacks", "AccessDenied", "no", 403)
    with pytest.raises(ClientError):
        stacks.read(target)
