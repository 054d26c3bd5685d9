"""Delete a stack and the content of its bucket.

When the stack is deleted, one of its functions first removes what the runs made in SageMaker. It keeps the
uploads, and CloudFormation cannot delete a bucket that has objects. So `lexline down`, which asks the user
first, empties the bucket here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from lexline.aws.stack import Stack
from lexline.aws.target import Target
from lexline.core.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef


_SAMS_OWN = "aws-sam-cli-managed-default"
"""The stack with the bucket to which `sam deploy` uploads."""


class NotDeleted(UserError):
    """CloudFormation could not delete the stack."""


def delete_all(stack: Stack, show: Callable[[str], None]) -> None:
    """Delete the bucket's content and the stack. Call it again if it was interrupted.

    Args:
        stack: The stack.
        show: Called with a line before each stage.
    """
    _empty(stack, show)
    try:
        delete_stack(stack.target, show)
    except NotDeleted:
        # The deletion fails if an endpoint or a job takes longer to stop than a function may wait. The job
        # may have written to the bucket meanwhile. The second attempt finds both stopped.
        _empty(stack, show)
        delete_stack(stack.target, show)
    with contextlib.suppress(ClientError):
        stack.target.sagemaker.describe_endpoint(EndpointName=stack.endpoint)
        show(
            f"The endpoint {stack.endpoint} still exists, because it does not have this stack's tag: another "
            "stack or an earlier version created it. It costs money. If nobody needs it, run `aws sagemaker "
            f"delete-endpoint --endpoint-name {stack.endpoint}`."
        )


def stack_names(target: Target) -> list[str]:
    """Return the names of all stacks on the local cloud, without the one that SAM keeps for itself.

    Raises:
        BotoCoreError: The local cloud does not respond.
    """
    # A local cloud that hangs must not hold up the command that ends it.
    patience = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1})
    client = target.session.client("cloudformation", endpoint_url=target.endpoint_url, config=patience)
    pages = client.get_paginator("describe_stacks").paginate()
    names = {
        stack["StackName"]
        for page in pages
        for stack in page["Stacks"]
        if stack["StackStatus"] != "DELETE_COMPLETE"
    }
    return sorted(names - {_SAMS_OWN})


def delete_stack(target: Target, show: Callable[[str], None]) -> None:
    """Delete the stack and wait until it is deleted.

    Raises:
        NotDeleted: CloudFormation could not delete it; the message has the reasons.
    """
    name = target.stack_name
    show(f"Deleting the stack {name} with its endpoint and models")
    target.cloudformation.delete_stack(StackName=name)
    waiter = target.cloudformation.get_waiter("stack_delete_complete")
    try:
        waiter.wait(StackName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 360})
    except WaiterError as error:
        events = target.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [
            f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event.get("ResourceStatus") == "DELETE_FAILED"
        ]
        raise NotDeleted(
            f"The stack {name} could not be deleted:\n" + "\n".join(reasons), "Run `lexline down` again."
        ) from error


def _empty(stack: Stack, show: Callable[[str], None]) -> None:
    """Delete all versions and delete markers in the bucket, if the bucket still exists."""
    show(f"Emptying the bucket {stack.bucket}")
    s3 = stack.target.s3
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=stack.bucket):
            versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if versions:
                objects: list[ObjectIdentifierTypeDef] = [
                    {"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions
                ]
                s3.delete_objects(Bucket=stack.bucket, Delete={"Objects": objects, "Quiet": True})
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
