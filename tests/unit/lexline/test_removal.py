from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from lexline import removal
from lexline.removal import NotDeleted
from lexline.target import Stack, Target

Stub = Callable[[Any], Stubber]
WHEN = datetime(2026, 11, 23, tzinfo=UTC)


def holds(s3: Stubber, versions: list[str], markers: list[str]) -> None:
    """The bucket's listing, and the deletion of all that it lists."""
    told = [{"Key": key, "VersionId": f"v-{key}"} for key in versions]
    deleted = [{"Key": key, "VersionId": f"m-{key}"} for key in markers]
    s3.add_response(
        "list_object_versions", {"Versions": told, "DeleteMarkers": deleted}, {"Bucket": "lexline-bucket"}
    )
    s3.add_response(
        "delete_objects",
        {},
        {"Bucket": "lexline-bucket", "Delete": {"Objects": [*told, *deleted], "Quiet": True}},
    )


def goes(cloudformation: Stubber) -> None:
    """A stack that is deleted."""
    cloudformation.add_response("delete_stack", {}, {"StackName": "lexline"})
    cloudformation.add_client_error("describe_stacks", "ValidationError", "does not exist", 400)


def stays(cloudformation: Stubber) -> None:
    """A stack whose bucket is not empty."""
    cloudformation.add_response("delete_stack", {}, {"StackName": "lexline"})
    failed = {"StackName": "lexline", "CreationTime": WHEN, "StackStatus": "DELETE_FAILED"}
    cloudformation.add_response("describe_stacks", {"Stacks": [failed]})
    event = {
        "StackId": "s",
        "EventId": "e",
        "StackName": "lexline",
        "Timestamp": WHEN,
        "LogicalResourceId": "Bucket",
        "ResourceStatus": "DELETE_FAILED",
        "ResourceStatusReason": "The bucket is not empty",
    }
    cloudformation.add_response("describe_stack_events", {"StackEvents": [event]})


def test_every_version_in_the_bucket_goes_and_then_the_stack(
    target: Target, stack: Stack, stub: Stub
) -> None:
    # Not before the bucket is empty: CloudFormation would leave it, and the stack with it.
    s3, cloudformation = stub(target.s3), stub(target.cloudformation)
    holds(s3, ["uploads/sotu/a", "runs/x/output/model.tar.gz"], ["uploads/sotu/b"])
    goes(cloudformation)
    said: list[str] = []
    removal.remove(target, stack, said.append)
    assert [line.split()[0] for line in said] == ["Emptying", "Deleting"]


def test_what_was_not_over_at_the_first_attempt_goes_at_the_second(
    target: Target, stack: Stack, stub: Stub
) -> None:
    s3, cloudformation = stub(target.s3), stub(target.cloudformation)
    holds(s3, ["uploads/sotu/a"], [])
    stays(cloudformation)
    holds(s3, ["runs/x/output/model.tar.gz"], [])
    goes(cloudformation)
    removal.remove(target, stack, lambda line: None)


def test_it_may_be_called_again_when_the_bucket_is_gone(target: Target, stack: Stack, stub: Stub) -> None:
    stub(target.s3).add_client_error("list_object_versions", "NoSuchBucket", "gone", 404)
    goes(stub(target.cloudformation))
    removal.remove(target, stack, lambda line: None)


def test_a_stack_that_cannot_be_deleted_says_which_resource_and_why(target: Target, stub: Stub) -> None:
    stays(stub(target.cloudformation))
    with pytest.raises(NotDeleted, match="Bucket: The bucket is not empty"):
        removal.delete_stack(target, lambda line: None)
