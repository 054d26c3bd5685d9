"""Whole executions of the pipeline's state machine, with one stand-in for all its functions.

The execution's input holds a script for the stand-in: what each attempt of each step does. An attempt returns
a result, raises an error, replies to its task token or keeps silent. As Report, the stand-in returns its own
input. ReadUpload's script is that of the item's number; the plan has two items.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import aws
from reporting import durations
from tests.integration.lab import allow, unique

MAP_ACTIONS = ["states:StartExecution", "states:DescribeExecution", "states:StopExecution"]
"""What a distributed Map needs of the state machine's role."""
DEFINITION = Path(__file__).parents[2] / "statemachine" / "pipeline.asl.json"
STAND_IN = """
    import pathlib, tempfile

    def handler(event, context):
        # This test adds the name of the state to each payload.
        step = event.pop("step")
        if step == "ReadUpload":
            step += str(event["item"]["number"])
        run = event.get("run") or {}
        script = event["request"]["script"] if step == "Plan" else run.get("script", {})
        execution = event["execution"]["id"] if step == "Plan" else run.get("execution")
        actions = script.get(step) or [{}]
        action = actions[min(attempt(f"{execution}-{step}"), len(actions)) - 1]
        if "raises" in action:
            raise type(action["raises"], (Exception,), {})(action.get("saying", "because"))
        if step == "Report":
            return {"given": event}
        result = {**RESULTS.get(step, {}), **action.get("returns", {})}
        if step == "Plan":
            result.update(event["request"], execution=execution)
        if "token" not in event:
            return result
        import boto3, json
        states = boto3.client("stepfunctions")
        if "fails" in action:
            states.send_task_failure(taskToken=event["token"], error=action["fails"], cause=action["saying"])
        elif not action.get("silent"):
            states.send_task_success(taskToken=event["token"], output=json.dumps(result))

    def attempt(key):
        # A file keeps the count, because Lambda may continue in another process after an error.
        count = pathlib.Path(tempfile.gettempdir(), key.replace(":", "-"))
        with count.open("a") as file:
            file.write(".")
        return len(count.read_text())

    RESULTS = {
        "Plan": {"name": "lexline--sotu-0123456789ab"},
        "Gather": {"seconds": 0, "joined": None},
        "Acquire": {"owner": "lexline--sotu-0123456789ab", "generation": 7},
        "AssembleDataset": {"outcome": "prepared"},
        "Source": {"sha256": "5a"},
        "Champion": {"model": "lexline--sotu-champion"},
        "Train": {"job": "lexline--sotu-0123456789ab"},
        "Evaluate": {"accepted": True},
        "Register": {"version": 3},
        "FindModel": {"version": 2},
        "CreateModel": {"name": "lexline--sotu-0123456789ab"},
        "Deploy": {"endpoint": "lexline"},
        "SmokeTest": {"text": "The state of the union is strong."},
        "Finish": {"scales": False},
        "Teardown": {"removed": ["endpoint/lexline"]},
        "Compensate": {"removed": ["model/lexline--sotu-0123456789ab"]},
    }
"""
BEGUN = ["Begin", "Plan", "Uploaded?"]
HELD = [*BEGUN, "Acquire", "Work?"]
READ = ["ListUploads", "ReadUploads", "Read?"]
PREPARED = [*READ, "AssembleDataset", "Prepared?"]
TRAINED = [*PREPARED, "Source", "Champion", "Train", "Evaluate", "Register", "Accepted?"]
SERVED = ["CreateModel", "Deploy", "SmokeTest", "Finish"]
DONE = ["Report", "Failed?", "Succeeded"]
FAILED = ["Report", "Failed?", "Failed"]
UNDONE = ["Compensate", "CleanedUp?", "Teardown?", *FAILED]
UPLOAD = {"key": "uploads/sotu/sotu.txt"}

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def listed(lab: Any) -> dict[str, Any]:
    """A plan of two items, as ListUploads returns it."""
    bucket, s3 = unique("bucket"), lab.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="items.json", Body=json.dumps([{"number": 0}, {"number": 1}]).encode())
    return {"bucket": bucket, "items_key": "items.json", "items": 2}


@pytest.fixture(scope="module")
def function(lab: Any, listed: dict[str, Any]) -> str:
    send = {"Effect": "Allow", "Action": "states:SendTask*", "Resource": "*"}
    source = STAND_IN.replace('"AssembleDataset":', f'"ListUploads": {listed}, "AssembleDataset":')
    return str(lab.function(source, role=lab.role("lambda.amazonaws.com", send)))


def machine(lab: Any, function: str, change: Callable[[Any], None] | None = None) -> str:
    text = DEFINITION.read_text(encoding="utf-8").replace("${PrepareConcurrency}", "2")
    definition = json.loads(re.sub(r"\$\{\w+FunctionArn\}", function, text))
    states = definition["States"]
    for name, state in {**states, **states["ReadUploads"]["ItemProcessor"]["States"]}.items():
        if state["Type"] == "Task":
            state["Arguments"]["Payload"]["step"] = name
    if change:
        change(states)
    role = lab.role("states.amazonaws.com", allow(["lambda:InvokeFunction", "s3:GetObject", *MAP_ACTIONS]))
    return str(lab.machine(definition, role=role))


@pytest.fixture(scope="module")
def pipeline(lab: Any, function: str) -> str:
    return machine(lab, function)


@pytest.fixture
def run(lab: Any, pipeline: str) -> Run:
    """run(work, teardown, Step=[action, ...]): the ended execution. `given` is the input of its Report."""

    def execute(
        work: str = "train",
        teardown: Any = "never",
        upload: dict[str, str] | None = None,
        on: str = pipeline,
        **script: list[dict[str, Any]],
    ) -> dict[str, Any]:
        request = {"work": work, "teardown": teardown, "upload": upload, "script": script}
        ended = lab.run(on, request)
        pages = lab.states.get_paginator("get_execution_history").paginate(executionArn=ended["executionArn"])
        events = [event for page in pages for event in page["events"]]
        entered = [event.get("stateEnteredEventDetails", {}).get("name") for event in events]
        given = (ended.get("output") or {}).get("given")
        return {**ended, "states": [name for name in entered if name], "given": given}

    return execute


def raises(error: str, saying: str = "because") -> dict[str, str]:
    """An attempt that raises an error."""
    return {"raises": error, "saying": saying}


# --- ways through the machine


def test_a_model_is_trained_and_served(run: Run) -> None:
    ended = run()
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*HELD, *TRAINED, *SERVED, "Teardown?", *DONE]
    given = ended["given"]
    assert given.pop("run")["name"] == "lexline--sotu-0123456789ab"
    assert given.pop("execution")["id"] == ended["executionArn"]
    assert given == {
        "gathered": None,
        "lease": {"owner": "lexline--sotu-0123456789ab", "generation": 7},
        "prepared": {"outcome": "prepared"},
        "source": {"sha256": "5a"},
        "trained": {"job": "lexline--sotu-0123456789ab"},
        "evaluated": {"accepted": True},
        "registered": {"version": 3},
        "model": {"name": "lexline--sotu-0123456789ab"},
        "deployed": {"endpoint": "lexline"},
        "smoke_test": {"text": "The state of the union is strong."},
        "finished": {"scales": False},
        "teardown": None,
        "compensated": None,
        "caught": [],
        "skipped": None,
    }


def test_an_upload_waits_for_quiet_and_its_turn_and_retries_what_passes(run: Run) -> None:
    ended = run(
        upload=UPLOAD,
        Gather=[{"returns": {"seconds": 20}}, {"returns": {"seconds": 10}}, {}],
        Acquire=[{"fails": "YourTurn", "saying": "It is your turn."}, {}],
        ReadUpload0=[raises("ServiceUnavailable"), {}],
        ReadUpload1=[raises("Throttled"), {}],
        Train=[raises("Throttled"), {}],
        Deploy=[raises("EndpointBusy"), raises("EndpointBusy"), {}],
        Report=[raises("ServiceUnavailable"), {}],
    )
    assert ended["status"] == "SUCCEEDED"
    gathered = [*BEGUN, *["Gather", "Quiet?", "QuietPeriod"] * 2, "Gather", "Quiet?"]
    expected = [*gathered, "Acquire", "Acquire", "Work?", *TRAINED, *SERVED, "Teardown?", *DONE]
    assert ended["states"] == expected
    assert ended["given"]["caught"] == []


def test_the_history_has_the_seconds_of_each_step(
    run: Run, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "stepfunctions", lambda: lab.states)
    ended = run(upload=UPLOAD, Gather=[{"returns": {"seconds": 20}}, {}])
    seconds = durations.of_execution(ended["executionArn"])
    total = seconds.pop("total")
    assert list(seconds) == [
        *("plan", "gather", "acquire", "list_uploads", "read_uploads", "assemble_dataset", "source"),
        *("champion", "train", "evaluate", "register", "create_model", "deploy", "smoke_test", "finish"),
        "report",
    ]
    # The local cloud waits 1/50 of the twenty seconds, and they count as Gather's.
    assert seconds["gather"] >= 0.4
    assert total >= sum(seconds.values()) - 0.01


@pytest.mark.parametrize("policy", ["never", "always"])
def test_a_registered_model_is_deployed_without_training(run: Run, policy: str) -> None:
    ended = run("deploy", policy)
    assert ended["status"] == "SUCCEEDED"
    teardown = ["Teardown"] if policy == "always" else []
    assert ended["states"] == [*HELD, "FindModel", *SERVED, "Teardown?", *teardown, *DONE]
    assert ended["given"]["registered"] == {"version": 2}
    assert ended["given"]["prepared"] is ended["given"]["trained"] is None
    assert ended["given"]["teardown"] == ({"removed": ["endpoint/lexline"]} if teardown else None)


def test_a_teardown_waits_for_the_endpoint_and_deletes_it(run: Run) -> None:
    ended = run("teardown", "always", Teardown=[raises("EndpointBusy"), {}])
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*HELD, "Teardown", *DONE]
    assert ended["given"]["teardown"] == {"removed": ["endpoint/lexline"]}


def test_a_cleanup_compensates_twice_and_tears_down_as_the_aborted_run_asked(run: Run) -> None:
    second = {"removed": ["model/a"]}
    attempts: list[Any] = [{"returns": {"removed": []}}, raises("EndpointBusy"), {"returns": second}]
    ended = run("cleanup", "on_failure", Compensate=attempts)
    assert ended["status"] == "SUCCEEDED"
    twice = ["Compensate", "CleanedUp?", "StillAtWork", "Compensate", "CleanedUp?"]
    assert ended["states"] == [*HELD, *twice, "Teardown?", "Teardown", *DONE]
    assert ended["given"]["compensated"] == second


def test_a_lost_event_costs_a_wait_and_not_the_run(run: Run, lab: Any, function: str) -> None:
    def shorten(states: Any) -> None:
        # One second at first. On a busy machine the waits grow until a function is in time.
        for name in ("Acquire", "Train", "Deploy"):
            seconds = states[name]["TimeoutSeconds"].replace("300", "1").replace("10000", "1000")
            states[name]["TimeoutSeconds"] = seconds

    silent: list[dict[str, Any]] = [{"silent": True}, {}]
    ended = run(on=machine(lab, function, shorten), Acquire=silent, Train=silent, Deploy=silent)
    assert ended["status"] == "SUCCEEDED"
    for name in ("Acquire", "Train", "Deploy"):
        assert ended["states"].count(name) >= 2
    assert ended["given"]["caught"] == []


# --- runs that end early and well


def test_an_upload_that_joined_another_run_is_only_reported(run: Run) -> None:
    joined = {"seconds": 0, "joined": "lexline--sotu-ba9876543210"}
    ended = run(upload=UPLOAD, Gather=[{"returns": joined}])
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*BEGUN, "Gather", "Quiet?", *DONE]
    assert ended["given"]["gathered"] == joined


@pytest.mark.parametrize(
    ("work", "step", "error", "way"),
    [
        ("train", "Plan", "NothingToDo", ["Begin", "Plan"]),
        ("train", "ListUploads", "NothingToDo", [*HELD, "ListUploads"]),
        ("train", "Champion", "Unchanged", [*HELD, *PREPARED, "Source", "Champion"]),
        ("teardown", "Teardown", "NothingToDo", [*HELD, "Teardown"]),
    ],
)
def test_a_run_without_work_is_skipped_with_its_reason(
    run: Run, work: str, step: str, error: str, way: list[str]
) -> None:
    ended = run(work, "always", **{step: [raises(error, "Nothing new.")]})
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*way, *DONE]
    skipped = ended["given"]["skipped"]
    assert (skipped["Error"], skipped["Step"]) == (error, step)
    assert "Nothing new." in skipped["Cause"]
    assert ended["given"]["caught"] == []


@pytest.mark.parametrize(
    ("step", "result", "way"),
    [("AssembleDataset", {"outcome": "waiting"}, PREPARED), ("Evaluate", {"accepted": False}, TRAINED)],
)
def test_an_incomplete_dataset_or_a_rejected_model_leaves_the_endpoint_alone(
    run: Run, step: str, result: dict[str, Any], way: list[str]
) -> None:
    ended = run(teardown="always", **{step: [{"returns": result}]})
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*HELD, *way, *DONE]


# --- failures


@pytest.mark.parametrize(
    ("work", "policy", "step", "action", "sentence", "way"),
    [
        ("train", "never", "Plan", raises("Broken", 'may not "X"\nat all'), 'may not "X"\nat all', FAILED),
        ("train", "never", "Acquire", {"fails": "Broken", "saying": "Denied."}, "Denied.", FAILED),
        ("train", "never", "ListUploads", raises("Broken", "Denied."), "Denied.", UNDONE),
        ("train", "never", "AssembleDataset", raises("Broken", "Denied."), "Denied.", UNDONE),
        ("train", "never", "Train", {"fails": "Broken", "saying": "{Code 1"}, "{Code 1", UNDONE),
        # Before a model is created, there is nothing to undo.
        ("deploy", "always", "FindModel", raises("Broken", "No model."), "No model.", FAILED),
        ("deploy", "always", "Teardown", raises("Broken", "Denied."), "Denied.", FAILED),
        ("deploy", "never", "Report", raises("Broken", "Denied."), "Denied.", ["Failed"]),
    ],
)
def test_an_error_is_undone_and_reported_and_names_the_failure(
    run: Run, work: str, policy: str, step: str, action: dict[str, Any], sentence: str, way: list[str]
) -> None:
    ended = run(work, policy, **{step: [action]})
    assert (ended["status"], ended["error"]) == ("FAILED", "Broken")
    assert ended["cause"] == f"{step} failed. {sentence}"
    assert ended["states"][ended["states"].index(step) + 1 :] == way


REPLACED = raises("DatasetReplaced", "poem.txt was replaced while it was read.")


def test_the_uploads_are_listed_again_if_one_was_replaced(run: Run) -> None:
    ended = run(ReadUpload1=[REPLACED, REPLACED, REPLACED, {}])
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*HELD, *READ * 3, *TRAINED, *SERVED, "Teardown?", *DONE]
    assert ended["given"]["caught"] == []


def test_a_dataset_that_changes_all_the_time_fails_in_the_end(run: Run) -> None:
    ended = run(ReadUpload1=[REPLACED])
    assert (ended["status"], ended["error"]) == ("FAILED", "DatasetReplaced")
    assert ended["cause"] == "ReadUpload failed. poem.txt was replaced while it was read."
    assert ended["states"] == [*HELD, *READ * 4, "NotAllRead", *UNDONE]


def test_an_item_that_cannot_be_read_fails_the_run_by_name(run: Run) -> None:
    """A replaced object alone would lead back to ListUploads, which would not help against this error."""
    crash = raises("Runtime.ExitError", "The process ended.")
    ended = run(ReadUpload0=[REPLACED], ReadUpload1=[crash, crash, crash, {}])
    assert (ended["status"], ended["error"]) == ("FAILED", "Runtime.ExitError")
    assert ended["cause"] == "ReadUpload failed. The process ended."
    assert ended["states"] == [*HELD, *READ, "NotAllRead", *UNDONE]


def test_the_errors_of_many_items_stay_small(run: Run, listed: dict[str, Any]) -> None:
    """All results of a Map together may have 256 KiB: of a terabyte in 4,096 ranges, even if each failed."""
    many = {"returns": {**listed, "items": 4096}}
    error = "Lambda.ClientExecutionTimeoutException"
    ended = run(ListUploads=[many], ReadUpload0=[raises("Broken", "x" * 100)])
    message = ended["cause"].removeprefix("ReadUpload failed. ")
    result = json.dumps({"Error": error, "Cause": message}, separators=(",", ":"))
    assert 4096 * len(f"{result},") < 256 * 1024
    few = {"returns": {**listed, "items": 1000}}
    ended = run(ListUploads=[few], ReadUpload0=[raises("Broken", "x" * 200)])
    assert ended["cause"] == f"ReadUpload failed. {'x' * 188}"


def test_a_plan_that_is_missing_fails_the_run(run: Run, listed: dict[str, Any]) -> None:
    missing = {"returns": {**listed, "items_key": "other.json"}}
    ended = run(ListUploads=[missing])
    assert (ended["status"], ended["error"]) == ("FAILED", "States.ItemReaderFailed")
    assert ended["states"] == [*HELD, "ListUploads", "ReadUploads", *UNDONE]


def test_undoing_waits_for_the_endpoint(run: Run) -> None:
    busy = [raises("EndpointBusy"), raises("EndpointBusy"), {}]
    ended = run("deploy", "on_failure", SmokeTest=[raises("SmokeTestFailed", "No.")], Compensate=busy)
    assert ended["cause"] == "SmokeTest failed. No."
    assert ended["states"][-8:] == ["SmokeTest", *UNDONE[:3], "Teardown", *FAILED]


def test_the_cause_names_every_step_that_failed_after_the_runs_error(run: Run) -> None:
    after = ("Compensate", "Teardown", "Report")
    script = {name: [raises(f"{name}Broke", f"{name}.")] for name in after}
    ended = run("deploy", "always", Deploy=[{"fails": "EndpointFailed", "saying": "No image."}], **script)
    assert (ended["status"], ended["error"]) == ("FAILED", "EndpointFailed")
    assert ended["cause"] == (
        "Deploy failed. No image. Cleaning up failed too, so something may be left. "
        "Compensate failed with CompensateBroke: Compensate. "
        "Teardown failed with TeardownBroke: Teardown. "
        "Report failed with ReportBroke: Report."
    )
