"""Takes a deployment on AWS away: what its bucket holds, and the stack.

The stack itself removes what its runs made in SageMaker, before CloudFormation deletes anything
(functions/pipeline/stack_deletion.py). What was uploaded it leaves, and CloudFormation does not delete a
bucket that holds anything: so the bucket is emptied here, where a person has said so.
"""

from __future__ import annotations

from collections.abc import Callable

from botocore.exceptions import ClientError, WaiterError

from lexline.errors import UserError
from lexline.target import Stack, Target

Say = Callable[[str], None]


class NotDeleted(UserError):
    """CloudFormation could not delete the stack."""


def remove(target: Target, stack: Stack, say: Say) -> None:
    """Deletes everything. May be called again when it was interrupted."""
    _empty(target, stack.bucket, say)
    try:
        delete_stack(target, say)
    except NotDeleted:
        # The stack gives up on an endpoint or a job that takes longer to stop than its function may wait, and
        # what such a job wrote last may still lie in the bucket. A second attempt finds them stopped.
        _empty(target, stack.bucket, say)
        delete_stack(target, say)


def delete_stack(target: Target, say: Say) -> None:
    """Deletes the stack and waits for it. Raises NotDeleted with CloudFormation's reasons when it cannot."""
    say(f"Deleting the stack {target.stack}, with its endpoint and models")
    target.cloudformation.delete_stack(StackName=target.stack)
    try:
        target.cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=target.stack, WaiterConfig={"Delay": 5, "MaxAttempts": 360}
        )
    except WaiterError as error:
        events = target.cloudformation.describe_stack_events(StackName=target.stack)["StackEvents"]
        reasons = [
            f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event.get("ResourceStatus") == "DELETE_FAILED"
        ]
        raise NotDeleted(
            "The stack could not be deleted:\n" + "\n".join(reasons), "Try `lexline down` again."
        ) from error


def _empty(target: Target, bucket: str, say: Say) -> None:
    """Deletes every version of every object, and the markers of those that were deleted."""
    say(f"Emptying the bucket {bucket}")
    pages = target.s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    try:
        for page in pages:
            versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if versions:
                target.s3.delete_objects(
                    Bucket=bucket,
                    Delete={
                        "Objects": [
                            {"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions
                        ],
                        "Quiet": True,
                    },
                )
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
