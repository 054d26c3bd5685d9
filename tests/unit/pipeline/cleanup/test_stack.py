"""stack: everything that the pipeline created is deleted, and nothing else; the uploads stay."""

from typing import Any

import pytest

from cleanup import objects, stack
from core.errors import EndpointBusy, RequestRefused, ServiceUnavailable
from tests.unit.pipeline.documents import ENVIRONMENT, NAME, OTHER, OTHER_STACK_ID, SAGEMAKER
from tests.unit.pipeline.stubbed_aws import AT, Described, ExpectedCalls, Owners, StubbedAws

# A run of another deployment in the account, with the endpoint lexline-2.
STRANGER = "lexline-2--sotu-333333333333"
KEPT = ["uploads/sotu/sotu.txt", "uploads/sotu/old.txt"]
DELETED = ["prices.json", "runs/a/output/model.tar.gz", "uploads.txt", "reports/a.html"]


def versions(*keys: str) -> list[dict[str, str]]:
    return [{"Key": key, "VersionId": f"version-{key}"} for key in keys]


PAGE = {"Versions": versions(*DELETED[:3], KEPT[0]), "DeleteMarkers": versions(DELETED[3], KEPT[1])}


class Clock:
    """`time` for the module: `sleep` returns at once and moves the clock on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stack, "time", clock)
    monkeypatch.setattr(objects, "time", clock)
    return clock


class Account(ExpectedCalls):
    """Announces the calls of a deletion, in their order, for an account that has these resources."""

    def executions(self, *names: str) -> None:
        """Announce a listing in pages of one execution, and that each execution is stopped."""
        machine = ENVIRONMENT["STATE_MACHINE_ARN"]
        pages = [[name] for name in names] or [[]]
        for number, page in enumerate(pages):
            found = [
                {
                    "executionArn": name,
                    "stateMachineArn": machine,
                    "name": name,
                    "status": "RUNNING",
                    "startDate": AT,
                }
                for name in page
            ]
            more = {"nextToken": f"page-{number + 1}"} if number + 1 < len(pages) else {}
            token = {"nextToken": f"page-{number}"} if number else {}
            request = {"stateMachineArn": machine, "statusFilter": "RUNNING", **token}
            self.stubbed.answers("stepfunctions", "list_executions", {"executions": found, **more}, **request)
        for name in names:
            reason = {"error": "StackDeleted", "cause": "The stack is being deleted."}
            self.stubbed.answers(
                "stepfunctions", "stop_execution", {"stopDate": AT}, executionArn=name, **reason
            )

    def endpoint(self, *statuses: str, config: str = NAME) -> None:
        """Announce the endpoint at each look, until it is deleted."""
        for status in statuses:
            self.describe_endpoint(status, config)
            if status in ("InService", "Failed"):
                self.delete_endpoint()
        self.no_endpoint()

    def resources(self, *runs: str) -> None:
        """Announce that each run has a config and a model, which are deleted."""
        self.list_training_jobs()
        self.list_endpoint_configs(*runs, STRANGER)
        self.list_models(*runs, STRANGER)
        for name in runs:
            self.stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=name)
        for name in runs:
            self.stubbed.answers("sagemaker", "delete_model", {}, ModelName=name)

    def registry(self, count: int = 0) -> None:
        """Announce the model package group with this many versions; with none, it does not exist."""
        if not count:
            message = "ModelPackageGroup lexline does not exist."
            for operation in ("list_model_packages", "delete_model_package_group"):
                self.stubbed.refuses("sagemaker", operation, "ValidationException", message)
            return
        arns = [f"{SAGEMAKER}:model-package/lexline/{number}" for number in range(count)]
        group = {"ModelPackageGroupName": "lexline"}
        more = {**group, "CreationTime": AT, "ModelPackageStatus": "Completed"}
        found = [{"ModelPackageArn": arn, **more} for arn in arns]
        response = {"ModelPackageSummaryList": found}
        newest_first = {"SortBy": "CreationTime", "SortOrder": "Descending"}
        self.stubbed.answers("sagemaker", "list_model_packages", response, **group, **newest_first)
        for arn in arns:
            self.stubbed.answers("sagemaker", "delete_model_package", {}, ModelPackageName=arn)
        self.stubbed.answers("sagemaker", "delete_model_package_group", {}, **group)

    def bucket(self, *pages: dict[str, Any], errors: Any = ()) -> None:
        for number, page in enumerate(pages or ({},)):
            more = number + 1 < len(pages)
            following = {"NextKeyMarker": f"key-{number}", "NextVersionIdMarker": "v"} if more else {}
            markers = {"KeyMarker": f"key-{number - 1}", "VersionIdMarker": "v"} if number else {}
            response = {**page, "IsTruncated": more, **following}
            self.stubbed.answers("s3", "list_object_versions", response, Bucket="texts", Prefix="", **markers)
            if page:
                delete = {"Objects": versions(*DELETED), "Quiet": True}
                response = {"Errors": list(errors)}
                self.stubbed.answers("s3", "delete_objects", response, Bucket="texts", Delete=delete)

    def until_the_bucket(self, *endpoint: str, config: str = NAME) -> None:
        """Announce an account that has at most an endpoint, and objects in the bucket."""
        self.executions()
        self.list_training_jobs()
        self.endpoint(*endpoint, config=config)
        self.resources()
        self.registry()
        self.list_training_jobs(status="Stopping")


@pytest.fixture
def account(stubbed: StubbedAws, described: Described) -> Account:
    return Account(stubbed, described)


def test_everything_is_deleted_in_an_order_in_which_nothing_comes_back(
    account: Account, clock: Clock
) -> None:
    account.executions("arn:1", "arn:2")
    account.list_training_jobs(NAME, STRANGER)
    account.stop_training_job()
    account.endpoint("Updating", "RollingBack", "InService", "Deleting")
    account.resources(NAME, OTHER)
    account.registry(3)
    account.list_training_jobs(NAME, status="Stopping")
    account.list_training_jobs(status="Stopping")
    account.bucket(PAGE, PAGE)
    stack.delete_everything(840)
    order = ["StopExecution", "StopTrainingJob", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    order += ["DeleteModelPackage", "DeleteModelPackageGroup", "DeleteObjects"]
    first_calls = [account.stubbed.calls.index(call) for call in order]
    assert first_calls == sorted(first_calls)
    # A function of a stopped execution may run for so long, and create something.
    assert clock.slept[0] == 30


def test_the_deletion_of_an_empty_account_waits_for_nothing(account: Account, clock: Clock) -> None:
    account.until_the_bucket()
    account.bucket()
    stack.delete_everything(840)
    assert clock.slept == []


def test_a_registry_that_does_not_exist_is_not_deleted(account: Account, owners: Owners) -> None:
    """It has no tag, so the role would not allow the call."""
    owners.lack("model-package-group/lexline")
    account.executions()
    account.list_training_jobs()
    account.endpoint()
    account.resources()
    account.list_training_jobs(status="Stopping")
    account.bucket()
    assert stack.delete_everything(840) == []


def test_a_failed_endpoint_is_deleted(account: Account) -> None:
    account.until_the_bucket("Failed")
    account.bucket()
    stack.delete_everything(840)


@pytest.mark.parametrize("owner", [OTHER_STACK_ID, None])
def test_what_is_not_the_stacks_stays_and_is_named(account: Account, owners: Owners, owner: str) -> None:
    """The other stack has the same EndpointName, or an earlier version created the resources."""
    foreign = ["training-job", "endpoint-config", "model"]
    for resource in [
        *(f"{kind}/{NAME}" for kind in foreign),
        "endpoint/lexline",
        "model-package-group/lexline",
    ]:
        owners.belongs_to(resource, owner)
    account.executions()
    account.list_training_jobs(NAME)
    account.list_training_jobs(NAME)
    account.list_endpoint_configs(NAME, OTHER)
    account.list_models(NAME)
    account.stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=OTHER)
    account.list_training_jobs(status="Stopping")
    account.bucket()
    named = [sentence.split()[0] for sentence in stack.delete_everything(840)]
    assert named == [
        f"training-job/{NAME}",
        "endpoint/lexline",
        f"endpoint-config/{NAME}",
        f"model/{NAME}",
        "model-package-group/lexline",
    ]


def test_a_page_with_nothing_but_uploads_needs_no_deletion(account: Account) -> None:
    """S3 refuses an empty list."""
    account.until_the_bucket()
    page = {"Versions": versions(*KEPT), "IsTruncated": False}
    account.stubbed.answers("s3", "list_object_versions", page)
    stack.delete_everything(840)
    assert "DeleteObjects" not in account.stubbed.calls


def test_an_object_that_s3_does_not_delete_is_an_error(account: Account) -> None:
    """DeleteObjects returns the status 200 even then."""
    account.until_the_bucket()
    account.bucket(PAGE, errors=[{"Key": "prices.json", "Code": "AccessDenied", "Message": "Access Denied"}])
    with pytest.raises(RequestRefused, match=r"s3://texts/prices\.json: Access Denied \(AccessDenied\)"):
        stack.delete_everything(840)


# --- the deadline


def test_an_endpoint_that_does_not_settle_is_waited_for_until_the_deadline(
    account: Account, clock: Clock
) -> None:
    account.executions()
    account.list_training_jobs()
    for _ in range(22):
        account.describe_endpoint("Updating")
    with pytest.raises(EndpointBusy, match=r"is still Updating\. Delete the stack again"):
        stack.delete_everything(100)
    assert 100 < clock.now < 110


def test_jobs_that_do_not_stop_are_waited_for_until_the_deadline(account: Account, clock: Clock) -> None:
    """Such a job could write into the bucket again, so the bucket is not emptied."""
    account.executions()
    account.list_training_jobs()
    account.endpoint()
    account.resources()
    account.registry()
    for _ in range(22):
        account.list_training_jobs(NAME, status="Stopping")
    with pytest.raises(ServiceUnavailable, match=rf"still stopping: {NAME}\. Delete the stack again"):
        stack.delete_everything(100)
    assert 100 < clock.now < 110


def test_a_large_bucket_is_emptied_by_several_deletions_of_the_stack(account: Account) -> None:
    account.until_the_bucket()
    account.stubbed.answers("s3", "list_object_versions", {**PAGE, "IsTruncated": False})
    with pytest.raises(ServiceUnavailable, match=r"Bucket texts is not empty yet\. Delete the stack again"):
        stack.delete_everything(-1)
