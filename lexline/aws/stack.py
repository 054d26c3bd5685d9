"""The deployed stack, as its CloudFormation outputs describe it."""

from __future__ import annotations

from dataclasses import dataclass

from botocore.exceptions import ClientError

from lexline.aws.target import Target
from lexline.core.errors import UserError


class NotDeployed(UserError):
    """The stack does not exist."""


class NotUsable(UserError):
    """The stack exists, but its deployment did not complete."""


class Outdated(UserError):
    """An earlier version deployed the stack. That version does not delete what its runs made."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack.

    Attributes:
        target: The account that the stack is in.
        status: CloudFormation's status.
        bucket: Name of the S3 bucket.
        state_machine_arn: ARN of the pipeline's state machine.
        endpoint: Name of the SageMaker endpoint, which need not exist.
        table: Name of the DynamoDB table that holds the lease.
        topic_arn: ARN of the SNS topic for messages.
        api_url: URL of the HTTP API.
        api_key_id: Id of the API key, or "" if callers sign their requests (AWS_IAM).
        notebook_role_arn: ARN of the role for notebooks, or "" if the stack has none.
    """

    target: Target
    status: str
    bucket: str
    state_machine_arn: str
    endpoint: str
    table: str
    topic_arn: str
    api_url: str
    api_key_id: str
    notebook_role_arn: str


def read(target: Target) -> Stack:
    """Return the stack of a target.

    Raises:
        NotDeployed: There is no stack of this name.
        NotUsable: The stack's deployment did not complete.
        Outdated: An earlier version deployed the stack.
    """
    name = target.stack_name
    try:
        stacks = target.cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        stacks = []
    if not stacks or stacks[0]["StackStatus"] == "DELETE_COMPLETE":
        raise NotDeployed(f"There is no stack {name} on {target.place}.", "Deploy it with `lexline up`.")
    status = stacks[0]["StackStatus"]
    outputs = {output["OutputKey"]: output.get("OutputValue", "") for output in stacks[0].get("Outputs", [])}
    if "StateMachineArn" not in outputs:
        reason = stacks[0].get("StackStatusReason", "")
        wait = "Wait until CloudFormation has finished. " if status.endswith("_IN_PROGRESS") else ""
        raise NotUsable(
            f"The deployment of the stack {name} is not complete. Its status is {status}. {reason}".strip(),
            f"{wait}Run `lexline up` again. If that fails, run `lexline down` and then `lexline up`.",
        )
    if "TableName" not in outputs:
        raise Outdated(
            f"An earlier version of Lexline deployed the stack {name}.", "Update the stack with `lexline up`."
        )
    return Stack(
        target=target,
        status=status,
        bucket=outputs["BucketName"],
        state_machine_arn=outputs["StateMachineArn"],
        endpoint=outputs["EndpointName"],
        table=outputs["TableName"],
        topic_arn=outputs["TopicArn"],
        api_url=outputs["ApiUrl"].rstrip("/"),
        api_key_id=outputs.get("ApiKeyId", ""),
        notebook_role_arn=outputs.get("NotebookRoleArn", ""),
    )


def quiet_seconds(stack: Stack) -> float:
    """Return how long a dataset must be without uploads before its run begins."""
    described = stack.target.cloudformation.describe_stacks(StackName=stack.target.stack_name)["Stacks"][0]
    values = {each["ParameterKey"]: each["ParameterValue"] for each in described.get("Parameters", [])}
    return float(values["QuietSeconds"])
