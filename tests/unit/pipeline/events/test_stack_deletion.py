"""stack_deletion: CloudFormation always has its answer, and what the pipeline made is gone, uploads aside."""

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from cleanup import stack
from events import stack_deletion

MADE = "lexline--sotu-111111111111"
ALSO_MADE = "lexline--notes-222222222222"
# What another deployment of the account, with the endpoint lexline-2, has made.
STRANGER = "lexline-2--sotu-333333333333"
AT = datetime(2026, 3, 1, tzinfo=UTC)
SAGEMAKER = "arn:aws:sagemaker:eu-west-1:111122223333"
GONE = "ValidationException"
VERSIONS = {
    "Versions": [
        {"Key": "prices.json", "VersionId": "v1"},
        {"Key": "runs/a/output/model.tar.gz", "VersionId": "v2"},
        {"Key": "uploads/sotu/sotu.txt", "VersionId": "v3"},
        {"Key": "uploads.txt", "VersionId": "null"},
    ],
    "DeleteMarkers": [
        {"Key": "reports/a.html", "VersionId": "v4"},
        {"Key": "uploads/sotu/old.txt", "VersionId": "v5"},
    ],
}
DELETED = [
    {"Key": "prices.json", "VersionId": "v1"},
    {"Key": "runs/a/output/model.tar.gz", "VersionId": "v2"},
    {"Key": "uploads.txt", "VersionId": "null"},
    {"Key": "reports/a.html", "VersionId": "v4"},
]


class Clock:
    """time for the step: sleeping costs nothing and moves it on."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stack_deletion, "time", clock)
    monkeypatch.setattr(stack, "time", clock)
    return clock


@pytest.fixture
def cloudformation() -> Iterator[SimpleNamespace]:
    """The address that CloudFormation gives with its request: `url`, and the `answers` put there."""
    heard = SimpleNamespace(url="", answers=[], headers=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            heard.answers.append(json.loads(raw))
            heard.headers.append(dict(self.headers))
            assert len(raw) <= 4096
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://127.0.0.1:{server.server_port}/answer?signature=a"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield heard
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def asks(cloudformation: SimpleNamespace, context: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """asks(request): CloudFormation asks for it; its answer."""

    def asked(request: str = "Delete", *, seconds_left: int = 900, **more: Any) -> dict[str, Any]:
        monkeypatch.setattr(type(context), "get_remaining_time_in_millis", lambda _: seconds_left * 1000)
        event = {
            "RequestType": request,
            "ResponseURL": cloudformation.url,
            "StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/lexline/1",
            "RequestId": "request-1",
            "LogicalResourceId": "Leftovers",
            **more,
        }
        stack_deletion.handler(event, context)
        (answer,) = cloudformation.answers
        return dict(answer)

    return asked


class Account:
    """Announces, in the order of the deletion, what there is."""

    def __init__(self, stubbed: Any, described: Any, variables: Any) -> None:
        self.stubbed, self.described, self.variables = stubbed, described, variables

    def executions(self, *pages: list[str]) -> None:
        for number, page in enumerate(pages or ([],)):
            last = number == max(len(pages), 1) - 1
            self.stubbed.answers(
                "stepfunctions",
                "list_executions",
                {
                    "executions": [
                        {
                            "executionArn": arn,
                            "stateMachineArn": self.variables["STATE_MACHINE_ARN"],
                            "name": arn,
                            "status": "RUNNING",
                            "startDate": AT,
                        }
                        for arn in page
                    ],
                    **({} if last else {"nextToken": f"page-{number}"}),
                },
                stateMachineArn=self.variables["STATE_MACHINE_ARN"],
                statusFilter="RUNNING",
                **({"nextToken": f"page-{number - 1}"} if number else {}),
            )
        for arn in [arn for page in pages for arn in page]:
            self.stubbed.answers(
                "stepfunctions",
                "stop_execution",
                {"stopDate": AT},
                executionArn=arn,
                error="StackDeleted",
                cause="The stack is being deleted.",
            )

    def jobs(self, *names: str, status: str = "InProgress") -> None:
        self.stubbed.answers(
            "sagemaker",
            "list_training_jobs",
            {
                "TrainingJobSummaries": [
                    {
                        "TrainingJobName": name,
                        "TrainingJobArn": f"{SAGEMAKER}:training-job/{name}",
                        "CreationTime": AT,
                        "TrainingJobStatus": status,
                    }
                    for name in names
                ]
            },
            NameContains="lexline--",
            StatusEquals=status,
        )

    def running_jobs(self, *names: str) -> None:
        self.jobs(*names, STRANGER)
        for name in names:
            self.stubbed.answers("sagemaker", "stop_training_job", {}, TrainingJobName=name)

    def endpoint(self, *statuses: str, config: str = MADE) -> None:
        """The endpoint at each look, until it is gone; it is deleted where it has settled."""
        for status in statuses:
            live = self.described.endpoint(status, config=config)
            self.stubbed.answers("sagemaker", "describe_endpoint", live, EndpointName="lexline")
            if status in ("InService", "Failed"):
                self.stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
        self.stubbed.refuses("sagemaker", "describe_endpoint", GONE, "Could not find endpoint")

    def configs_and_models(self, *names: str) -> None:
        self.jobs()
        self.stubbed.answers(
            "sagemaker",
            "list_endpoint_configs",
            {
                "EndpointConfigs": [
                    {
                        "EndpointConfigName": name,
                        "EndpointConfigArn": f"{SAGEMAKER}:endpoint-config/{name}",
                        "CreationTime": AT,
                    }
                    for name in (*names, STRANGER)
                ]
            },
            NameContains="lexline--",
        )
        # The second page is listed before anything of the first is deleted.
        for page, token in ((names[:1], "more"), ((*names[1:], STRANGER), None)):
            self.stubbed.answers(
                "sagemaker",
                "list_models",
                {
                    "Models": [
                        {"ModelName": name, "ModelArn": f"{SAGEMAKER}:model/{name}", "CreationTime": AT}
                        for name in page
                    ],
                    **({"NextToken": token} if token else {}),
                },
                NameContains="lexline--",
                **({} if token else {"NextToken": "more"}),
            )
        for name in names:
            self.stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=name)
        for name in names:
            self.stubbed.answers("sagemaker", "delete_model", {}, ModelName=name)

    def registry(self, versions: int | None) -> None:
        """The model package group with its versions; None: there is none."""
        if versions is None:
            message = "ModelPackageGroup lexline does not exist."
            self.stubbed.refuses("sagemaker", "list_model_packages", GONE, message)
            return
        arns = [f"{SAGEMAKER}:model-package/lexline/{number}" for number in range(1, versions + 1)]
        self.stubbed.answers(
            "sagemaker",
            "list_model_packages",
            {
                "ModelPackageSummaryList": [
                    {
                        "ModelPackageArn": arn,
                        "ModelPackageGroupName": "lexline",
                        "CreationTime": AT,
                        "ModelPackageStatus": "Completed",
                    }
                    for arn in arns
                ]
            },
            ModelPackageGroupName="lexline",
        )
        for arn in arns:
            self.stubbed.answers("sagemaker", "delete_model_package", {}, ModelPackageName=arn)
        self.stubbed.answers("sagemaker", "delete_model_package_group", {}, ModelPackageGroupName="lexline")

    def stopping_jobs(self, *looks: tuple[str, ...]) -> None:
        for names in looks or ((),):
            self.jobs(*names, status="Stopping")

    def bucket(self, *pages: dict[str, Any], errors: Any = None) -> None:
        for number, page in enumerate(pages or ({},)):
            more = number < len(pages) - 1
            markers = {"KeyMarker": f"key-{number - 1}", "VersionIdMarker": "v"} if number else {}
            self.stubbed.answers(
                "s3",
                "list_object_versions",
                {
                    **page,
                    "IsTruncated": more,
                    **({"NextKeyMarker": f"key-{number}", "NextVersionIdMarker": "v"} if more else {}),
                },
                Bucket="texts",
                **markers,
            )
            if page:
                self.stubbed.answers(
                    "s3",
                    "delete_objects",
                    {"Errors": errors} if errors else {},
                    Bucket="texts",
                    Delete={"Objects": DELETED, "Quiet": True},
                )

    def is_empty(self) -> None:
        self.executions()
        self.running_jobs()
        self.endpoint()
        self.configs_and_models()
        self.registry(None)
        self.stopping_jobs()
        self.bucket()


@pytest.fixture
def account(stubbed: Any, described: Any, variables: Any) -> Account:
    return Account(stubbed, described, variables)


# --- what is removed -----------------------------------------------------------------------------


def test_everything_goes_in_an_order_in_which_nothing_comes_back(
    account: Account, asks: Any, clock: Clock
) -> None:
    account.executions(["arn:1"], ["arn:2"])
    account.running_jobs(MADE)
    account.endpoint("InService", "Deleting")
    account.configs_and_models(MADE, ALSO_MADE)
    account.registry(3)
    account.stopping_jobs((MADE,), ())
    account.bucket(VERSIONS, VERSIONS)
    assert asks()["Status"] == "SUCCESS"
    order = ["StopExecution", "StopTrainingJob", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    order += ["DeleteModelPackage", "DeleteModelPackageGroup", "DeleteObjects"]
    firsts = [account.stubbed.calls.index(call) for call in order]
    assert firsts == sorted(firsts)
    # A function of an execution that was stopped may be at work for as long, and make something.
    assert clock.slept[0] == 30


def test_a_stack_that_never_ran_is_deleted_at_once(account: Account, asks: Any, clock: Clock) -> None:
    account.is_empty()
    assert asks()["Status"] == "SUCCESS"
    assert clock.slept == []


def test_an_update_under_way_ends_first(account: Account, asks: Any) -> None:
    account.executions()
    account.running_jobs()
    account.endpoint("Updating", "RollingBack", "InService", "Deleting", "Deleting")
    account.configs_and_models()
    account.registry(None)
    account.stopping_jobs()
    account.bucket()
    assert asks()["Status"] == "SUCCESS"


def test_an_endpoint_that_failed_goes_as_well(account: Account, asks: Any) -> None:
    account.executions()
    account.running_jobs()
    account.endpoint("Failed")
    account.configs_and_models()
    account.registry(None)
    account.stopping_jobs()
    account.bucket()
    assert asks()["Status"] == "SUCCESS"


def test_an_endpoint_that_no_run_has_made_stays(account: Account, asks: Any) -> None:
    account.executions()
    account.running_jobs()
    live = account.described.endpoint(config="by-hand")
    account.stubbed.answers("sagemaker", "describe_endpoint", live)
    account.configs_and_models()
    account.registry(None)
    account.stopping_jobs()
    account.bucket()
    assert asks()["Status"] == "SUCCESS"
    assert "DeleteEndpoint" not in account.stubbed.calls


def test_the_uploads_stay_in_all_their_versions(account: Account, asks: Any) -> None:
    """They are their owner's; CloudFormation then says that the bucket is not empty."""
    account.executions()
    account.running_jobs()
    account.endpoint()
    account.configs_and_models()
    account.registry(None)
    account.stopping_jobs()
    account.bucket(VERSIONS)
    asks()
    kept = {each["Key"] for each in account.stubbed.parameters["DeleteObjects"]["Delete"]["Objects"]}
    assert not any(key.startswith("uploads/") for key in kept)


def test_a_page_of_nothing_but_uploads_asks_for_no_deletion(account: Account, asks: Any) -> None:
    """S3 takes no empty list."""
    account.executions()
    account.running_jobs()
    account.endpoint()
    account.configs_and_models()
    account.registry(None)
    account.stopping_jobs()
    uploads = {"Versions": [{"Key": "uploads/sotu/sotu.txt", "VersionId": "v3"}], "IsTruncated": False}
    account.stubbed.answers("s3", "list_object_versions", uploads)
    assert asks()["Status"] == "SUCCESS"


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_creation_and_an_update_remove_nothing(stubbed: Any, asks: Any, request_type: str) -> None:
    assert asks(request_type)["Status"] == "SUCCESS"
    assert stubbed.calls == []


# --- the answer ----------------------------------------------------------------------------------


def test_the_answer_says_for_what_it_is(asks: Any, cloudformation: SimpleNamespace) -> None:
    assert asks("Create") == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/lexline/1/Leftovers",
        "StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/lexline/1",
        "RequestId": "request-1",
        "LogicalResourceId": "Leftovers",
    }
    # The address is signed for a request without a content type.
    assert cloudformation.headers[0]["Content-Type"] == ""


def test_the_resource_keeps_its_name(asks: Any) -> None:
    """Another one would have CloudFormation delete the former: with everything that serves."""
    assert asks("Update", PhysicalResourceId="as-before")["PhysicalResourceId"] == "as-before"


def test_a_refusal_is_answered_with_what_was_refused(account: Account, asks: Any) -> None:
    account.stubbed.refuses(
        "stepfunctions", "list_executions", "AccessDeniedException", "states:ListExecutions"
    )
    answer = asks()
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("AccessDenied: ListExecutions: states:ListExecutions (AccessDenied")
    assert answer["Reason"].endswith("See log stream 2026/03/01/[$LATEST]0f9a621d.")


def test_an_error_nobody_thought_of_is_answered_too(
    asks: Any, stubbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENDPOINT_NAME")
    assert asks()["Reason"].startswith("Misconfigured: The environment variable ENDPOINT_NAME")


def test_a_reason_without_end_and_of_any_script_fits_into_the_answer(account: Account, asks: Any) -> None:
    account.stubbed.refuses(
        "stepfunctions", "list_executions", "AccessDeniedException", "\u4e16\U0001f600" * 9000
    )
    assert len(asks()["Reason"]) == 1000


def test_objects_that_s3_does_not_delete_are_no_success(account: Account, asks: Any) -> None:
    """DeleteObjects answers 200 whatever became of each."""
    account.executions()
    account.running_jobs()
    account.endpoint()
    account.configs_and_models()
    account.registry(None)
    account.stopping_jobs()
    errors = [{"Key": "prices.json", "Code": "AccessDenied", "Message": "Access Denied"}]
    account.bucket(VERSIONS, errors=errors)
    answer = asks()
    assert answer["Status"] == "FAILED"
    assert "s3://texts/prices.json: Access Denied (AccessDenied)" in answer["Reason"]


# --- in time -------------------------------------------------------------------------------------


def test_an_endpoint_that_does_not_settle_is_answered_before_the_function_ends(
    account: Account, asks: Any, clock: Clock
) -> None:
    account.executions()
    account.running_jobs()
    for _ in range(170):
        live = account.described.endpoint("Updating", config=MADE)
        account.stubbed.answers("sagemaker", "describe_endpoint", live)
    began = clock.now
    answer = asks()
    assert answer["Status"] == "FAILED"
    assert "Endpoint lexline is still Updating. Delete the stack again" in answer["Reason"]
    assert clock.now - began < 900 - 30
    assert "DeleteEndpointConfig" not in account.stubbed.calls


def test_jobs_that_do_not_stop_are_answered_before_they_can_fill_the_bucket_again(
    account: Account, asks: Any, clock: Clock
) -> None:
    account.executions()
    account.running_jobs(MADE)
    account.endpoint()
    account.configs_and_models()
    account.registry(None)
    account.stopping_jobs(*[(MADE,)] * 170)
    answer = asks()
    assert f"Training jobs are still stopping: {MADE}. Delete the stack again" in answer["Reason"]
    assert clock.now - 5000 < 900 - 30
    assert "ListObjectVersions" not in account.stubbed.calls


def test_a_bucket_that_takes_longer_is_emptied_by_several_deletions_of_the_stack(
    account: Account, asks: Any
) -> None:
    account.executions()
    account.running_jobs()
    account.endpoint()
    account.configs_and_models()
    account.registry(None)
    account.stopping_jobs()
    account.stubbed.answers("s3", "list_object_versions", {**VERSIONS, "IsTruncated": False})
    answer = asks(seconds_left=59)
    assert "Bucket texts is not empty yet. Delete the stack again" in answer["Reason"]
