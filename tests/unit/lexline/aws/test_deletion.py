import pytest

from lexline.aws import deletion
from lexline.aws.stack import Stack
from lexline.aws.target import Target
from tests.unit.lexline.conftest import Stubs

BUCKET = {"Bucket": "lexline-bucket"}


def bucket_has(stubs: Stubs, versions: list[str], markers: list[str]) -> None:
    """Expect the listing of the bucket, and the deletion of everything in it."""
    listed = [{"Key": key, "VersionId": f"v-{key}"} for key in versions]
    deleted = [{"Key": key, "VersionId": f"m-{key}"} for key in markers]
    stubs.s3.add_response("list_object_versions", {"Versions": listed, "DeleteMarkers": deleted}, BUCKET)
    objects = {"Objects": [*listed, *deleted], "Quiet": True}
    stubs.s3.add_response("delete_objects", {}, {**BUCKET, "Delete": objects})


def deletion_succeeds(stubs: Stubs) -> None:
    stubs.cloudformation.add_response("delete_stack", {}, {"StackName": "lexline"})
    stubs.cloudformation.add_client_error("describe_stacks", "ValidationError", "does not exist", 400)


def no_endpoint_is_left(stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error("describe_endpoint", "ValidationException", "Could not find", 400)


def deletion_fails(stubs: Stubs) -> None:
    stubs.cloudformation.add_response("delete_stack", {}, {"StackName": "lexline"})
    stubs.returns("cloudformation", "describe_stacks", Stacks=[{"StackStatus": "DELETE_FAILED"}])
    reason = "The bucket is not empty"
    event = {"LogicalResourceId": "Bucket", "ResourceStatus": "DELETE_FAILED", "ResourceStatusReason": reason}
    stubs.returns("cloudformation", "describe_stack_events", StackEvents=[event])


def test_the_bucket_is_emptied_before_the_stack_is_deleted(stack: Stack, stubs: Stubs) -> None:
    # CloudFormation cannot delete a bucket that has objects.
    bucket_has(stubs, ["uploads/sotu/a", "runs/x/output/model.tar.gz"], ["uploads/sotu/b"])
    deletion_succeeds(stubs)
    no_endpoint_is_left(stubs)
    shown: list[str] = []
    deletion.delete_all(stack, shown.append)
    assert [line.split()[0] for line in shown] == ["Emptying", "Deleting"]


def test_the_second_attempt_deletes_what_the_first_one_could_not(stack: Stack, stubs: Stubs) -> None:
    bucket_has(stubs, ["uploads/sotu/a"], [])
    deletion_fails(stubs)
    bucket_has(stubs, ["runs/x/output/model.tar.gz"], [])
    deletion_succeeds(stubs)
    no_endpoint_is_left(stubs)
    deletion.delete_all(stack, lambda line: None)


def test_the_deletion_can_be_repeated_when_the_bucket_is_already_gone(stack: Stack, stubs: Stubs) -> None:
    stubs.s3.add_client_error("list_object_versions", "NoSuchBucket", "gone", 404)
    deletion_succeeds(stubs)
    no_endpoint_is_left(stubs)
    deletion.delete_all(stack, lambda line: None)


def test_an_endpoint_that_is_not_the_stacks_stays_and_is_named(stack: Stack, stubs: Stubs) -> None:
    """An earlier version may have created it, so somebody may pay for it without knowing."""
    bucket_has(stubs, ["uploads/sotu/a"], [])
    deletion_succeeds(stubs)
    stubs.returns("sagemaker", "describe_endpoint", {"EndpointName": "lexline"}, EndpointStatus="InService")
    shown: list[str] = []
    deletion.delete_all(stack, shown.append)
    assert "delete-endpoint --endpoint-name lexline" in shown[-1]


def test_a_stack_that_cannot_be_deleted_says_which_resource_and_why(target: Target, stubs: Stubs) -> None:
    deletion_fails(stubs)
    with pytest.raises(deletion.NotDeleted, match="Bucket: The bucket is not empty"):
        deletion.delete_stack(target, lambda line: None)
