import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY

from lexline.aws import arrivals, runs
from lexline.aws.runs import id_in, run_id
from lexline.aws.stack import Stack
from lexline.aws.uploads import Uploaded
from lexline.core.errors import UsageError, UserError
from tests.unit.lexline.conftest import Patch, Stubs
from tests.unit.lexline.pipeline import run_name
from tests.unit.lexline.samples import EXECUTION, JOB, RUN, WHEN, visited

ARRIVED = datetime.now(UTC)
UPLOADED = Uploaded("uploads/sotu/a.txt", "0f343b09", "v2")


@pytest.fixture(autouse=True)
def _no_gatherer(patch: Patch) -> None:
    patch("aws.arrivals.gatherer", None)


def listed(stubs: Stubs, *names: str, status: str = "RUNNING") -> None:
    executions = [{"executionArn": EXECUTION + name, "name": name, "status": status} for name in names]
    stubs.returns("stepfunctions", "list_executions", executions=executions)


def described(stubs: Stubs, name: str, request: Any, **more: str) -> None:
    arn = {"executionArn": EXECUTION + name}
    given = {"name": name, "input": json.dumps(request), **more}
    stubs.returns("stepfunctions", "describe_execution", arn, **arn, **given)


def upload(**changes: str) -> dict[str, Any]:
    return {"upload": {"bucket": "b", "key": UPLOADED.key, "etag": "0f343b09", "version_id": "v2", **changes}}


def history(stubs: Stubs, **outputs: Any) -> None:
    """The history of an execution: the states that were entered, with their output or None."""
    stubs.stepfunctions.add_response("get_execution_history", visited(*outputs.items()))


def joined(execution: str) -> dict[str, Any]:
    """The output of Gather for an upload that joined the run of another execution."""
    return {"seconds": 0, "joined": f"lexline--sotu-{run_id(EXECUTION + execution)}"}


def started_by(stack: Stack, patience: float = 3600) -> runs.Run:
    return runs.started_by(stack, UPLOADED, patience=patience, sleep=lambda seconds: None)


def test_a_runs_id_is_at_the_end_of_the_name_that_the_pipeline_gives_it() -> None:
    arn = EXECUTION + "8f92eb39"
    name = run_name("lexline", "sotu", arn)
    assert name.endswith(f"-{run_id(arn)}")
    assert id_in(name) == run_id(arn)
    assert id_in("by-hand") == "by-hand"


def test_the_run_of_an_upload_is_the_oldest_with_its_key_etag_and_version(stack: Stack, stubs: Stubs) -> None:
    listed(stubs, "older")
    described(stubs, "older", upload(version_id="v1"))
    listed(stubs, "again", "mine", "older")
    described(stubs, "mine", upload())
    history(stubs, Gather={})
    assert started_by(stack).name == "mine"


@pytest.mark.parametrize(
    "request_",
    [
        [1],
        "text",
        None,
        {"upload": "text"},
        {"upload": {"key": 7}},
        {"upload": {"key": UPLOADED.key, "etag": 7}},
    ],
)
def test_an_execution_with_unknown_input_is_not_the_run_of_an_upload(
    stack: Stack, stubs: Stubs, request_: Any
) -> None:
    listed(stubs, "mine", "unknown")
    described(stubs, "unknown", request_)
    described(stubs, "mine", upload())
    history(stubs, Gather={})
    assert started_by(stack).name == "mine"


@pytest.mark.parametrize("text", ["{bad", "", "NaN", "\ufeff{}"])
def test_an_execution_whose_input_is_no_json_is_not_the_run_of_an_upload(
    stack: Stack, stubs: Stubs, text: str
) -> None:
    listed(stubs, "mine", "foreign")
    arn = {"executionArn": EXECUTION + "foreign"}
    stubs.returns("stepfunctions", "describe_execution", arn, **arn, name="foreign", input=text)
    described(stubs, "mine", upload())
    history(stubs, Gather={})
    assert started_by(stack).name == "mine"


def test_an_upload_that_joined_another_run_has_that_run(stack: Stack, stubs: Stubs) -> None:
    listed(stubs, "mine", "gatherer")
    described(stubs, "gatherer", upload(key="uploads/sotu/b.txt"))
    described(stubs, "mine", upload())
    # At the first look it is undecided.
    history(stubs, Plan={}, Gather=None)
    history(stubs, Plan={}, Gather=joined("gatherer"))
    listed(stubs, "mine", "gatherer")
    assert started_by(stack).name == "gatherer"


def test_the_run_that_gathers_the_dataset_reads_the_upload_whatever_started_it(
    stack: Stack, stubs: Stubs, patch: Patch
) -> None:
    """A folder of files starts an execution for each, and the last one's may be far down the list."""
    asked: list[str] = []
    patch("aws.arrivals.gatherer", lambda stack, dataset: asked.append(dataset) or EXECUTION + "gatherer")
    described(stubs, "gatherer", upload(key="uploads/sotu/b.txt"), status="RUNNING")
    assert started_by(stack).name == "gatherer"
    assert asked == ["sotu"]


def test_a_gatherer_whose_execution_has_ended_reads_nothing(stack: Stack, stubs: Stubs, patch: Patch) -> None:
    gatherers = ["aborted", "deleted", None]
    patch("aws.arrivals.gatherer", lambda *_: gatherers[0] and EXECUTION + str(gatherers.pop(0)))
    described(stubs, "aborted", upload(), status="ABORTED")
    listed(stubs)
    stubs.stepfunctions.add_client_error("describe_execution", "ExecutionDoesNotExist")
    listed(stubs)
    listed(stubs, "mine")
    described(stubs, "mine", upload())
    history(stubs, Gather={})
    assert started_by(stack).name == "mine"


def test_the_gatherer_is_in_the_datasets_item(
    stack: Stack, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    key = {"resource": {"S": "dataset/sotu"}}
    request = {"TableName": "lexline-waits", "Key": key, "ConsistentRead": True}
    stubs.dynamodb.add_response(
        "get_item", {"Item": {"execution": {"S": RUN.arn}, "run": {"S": JOB}}}, request
    )
    assert arrivals.gatherer(stack, "sotu") == RUN.arn
    stubs.dynamodb.add_response("get_item", {"Item": {"handled": {"SS": ["a"]}}}, request)
    assert arrivals.gatherer(stack, "sotu") is None
    stubs.dynamodb.add_response("get_item", {}, request)
    assert arrivals.gatherer(stack, "sotu") is None


def test_the_newest_run_right_after_an_upload_is_that_of_the_upload(
    stack: Stack, stubs: Stubs, patch: Patch
) -> None:
    """S3 takes a second or two to start it. Until then the newest execution is that of an earlier upload."""
    # Now, however long the tests before this one took.
    patch("aws.uploads.newest", (Uploaded(UPLOADED.key, UPLOADED.etag, ""), datetime.now(UTC)))
    listed(stubs, "previous")
    described(stubs, "previous", upload(etag="another"))
    listed(stubs, "mine", "previous")
    described(stubs, "mine", upload())
    history(stubs, Gather={})
    listed(stubs, "mine", "previous")
    history(stubs, Plan={})
    assert runs.newest(stack, sleep=lambda seconds: None).name == "mine"


@pytest.mark.parametrize("last", [None, (UPLOADED, ARRIVED - timedelta(hours=1))])
def test_the_newest_run_waits_for_no_upload_if_the_last_one_is_old(
    stack: Stack, stubs: Stubs, patch: Patch, last: Any
) -> None:
    patch("aws.uploads.newest", last)
    listed(stubs, "previous")
    history(stubs, Plan={})
    assert runs.newest(stack).name == "previous"


def test_an_upload_that_starts_no_run_says_how_to_start_one(stack: Stack, stubs: Stubs) -> None:
    listed(stubs)
    with pytest.raises(UserError) as error:
        started_by(stack, patience=-1)
    assert "lexline run --dataset sotu" in error.value.hint


@pytest.mark.parametrize(
    "wanted", ["second", run_id(EXECUTION + "second"), f"lexline--sotu-{run_id(EXECUTION + 'second')}"]
)
def test_a_run_is_found_by_execution_id_and_job(stack: Stack, stubs: Stubs, wanted: str) -> None:
    listed(stubs, "first", "second")
    assert runs.find(stack, wanted).name == "second"


@pytest.mark.parametrize(
    ("executions", "outputs", "expected"),
    [
        (["first", "second"], {"Plan": {}}, "first"),
        (["joined", "gatherer"], {"Gather": joined("gatherer")}, "gatherer"),
    ],
)
def test_without_a_name_the_newest_run_is_found_or_the_one_that_it_joined(
    stack: Stack, stubs: Stubs, executions: Sequence[str], outputs: dict[str, Any], expected: str
) -> None:
    listed(stubs, *executions)
    history(stubs, **outputs)
    assert runs.find(stack, None).name == expected


def test_without_a_name_executions_with_an_invalid_request_or_nothing_to_do_are_passed_over(
    stack: Stack, stubs: Stubs
) -> None:
    listed(stubs, "invalid", "skipped", "failed", status="FAILED")
    history(stubs, Plan=None, Report={"status": "Failed"})
    history(stubs, Plan={"name": "lexline--sotu-0123456789ab"}, Report={"status": "Skipped"})
    history(stubs, Plan={"name": "lexline--sotu-0123456789ab"}, Train=None)
    assert runs.find(stack, None).name == "failed"


@pytest.mark.parametrize("output", [7, "text", [1], {"joined": 7}, {"joined": {"a": 1}}])
def test_a_gather_step_that_somebody_else_completed_is_survived(
    stack: Stack, stubs: Stubs, output: Any
) -> None:
    listed(stubs, "newest", "older")
    history(stubs, Gather=output)
    assert runs.find(stack, None).name == "newest"


REQUEST = {"dataset": "sotu", "hyperparameters": {"epochs": 3}}


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({"name": "lexline--sotu-0123456789ab"}, ""),
        (
            {"errorType": "InvalidInput", "errorMessage": "hyperparameters.epochs: no"},
            "hyperparameters.epochs: no",
        ),
        ({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"}, ""),
    ],
)
def test_plan_says_what_is_invalid_in_a_request(
    stack: Stack, stubs: Stubs, payload: dict[str, str], problem: str
) -> None:
    detail = {"PhysicalResourceId": "lexline-plan"}
    stubs.returns("cloudformation", "describe_stack_resource", StackResourceDetail=detail)
    body = StreamingBody(io.BytesIO(json.dumps(payload).encode()), None)
    request = {"FunctionName": "lexline-plan", "Payload": ANY}
    stubs.functions.add_response("invoke", {"Payload": body}, request)
    plan = payload if "name" in payload else {}
    assert runs.planned(stack, REQUEST) == (plan, problem)


def test_without_permission_to_invoke_functions_the_run_itself_names_a_problem(
    stack: Stack, stubs: Stubs
) -> None:
    for _ in range(2):
        stubs.cloudformation.add_client_error("describe_stack_resource", "AccessDenied")
    assert runs.problem_with(stack, REQUEST) == ""
    assert runs.planned(stack, REQUEST) == ({}, "")


def test_an_unknown_run_is_rejected(stack: Stack, stubs: Stubs) -> None:
    listed(stubs, "first")
    with pytest.raises(UsageError, match="nosuch"):
        runs.find(stack, "nosuch")


def test_an_execution_is_started_with_the_request_and_named_after_its_subject(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}

    def start_execution(**arguments: Any) -> dict[str, Any]:
        started.update(arguments)
        return {"executionArn": EXECUTION + arguments["name"], "startDate": WHEN}

    monkeypatch.setattr(stack.target.stepfunctions, "start_execution", start_execution)
    runs.start(stack, "a.very.long_dataset" * 3, {"dataset": "x", "teardown": "always"})
    assert json.loads(started["input"]) == {"dataset": "x", "teardown": "always"}
    assert started["name"].startswith("a-very-long-dataset")
    # Only these characters are both legal and usable in the name of a log stream.
    assert re.fullmatch(r"[0-9A-Za-z_-]{1,80}", started["name"])


def test_the_newest_run_is_the_one_that_started_last(stack: Stack, stubs: Stubs) -> None:
    """Step Functions lists an execution that has ended by its end."""
    hour = timedelta(hours=1)
    ended = {"name": "early", "status": "SUCCEEDED", "startDate": WHEN, "stopDate": WHEN + 2 * hour}
    running = {"name": "late", "status": "RUNNING", "startDate": WHEN + hour}
    executions = [{"executionArn": EXECUTION + each["name"], **each} for each in (ended, running)]
    stubs.returns("stepfunctions", "list_executions", executions=executions)
    assert [run.name for run in runs.recent(stack)] == ["late", "early"]
