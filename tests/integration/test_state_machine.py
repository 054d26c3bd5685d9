"""Whole executions of the pipeline's state machine, its functions played by stand-ins.

A stand-in does what the execution's input tells it to, attempt by attempt: answer, raise an error, answer or
fail its task token, or stay silent. Report's stand-in answers with what it was given, so the output shows it.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

DEFINITION = Path(__file__).parents[2] / "statemachine" / "pipeline.asl.json"
FUNCTIONS = {
    "Plan": "Plan",
    "Prepare": "Prepare",
    "Train": "Training",
    "Evaluate": "Evaluate",
    "CreateModel": "Model",
    "Deploy": "Deploy",
    "SmokeTest": "SmokeTest",
    "TearDown": "Teardown",
    "Compensate": "Compensate",
    "Report": "Report",
}
STAND_IN = """
    import os, pathlib, tempfile

    def handler(event, context):
        step = os.environ["STEP"]
        run = event.get("run") or {}
        script = event["request"]["script"] if step == "Plan" else run.get("script", {})
        execution = event["execution"]["id"] if step == "Plan" else run.get("execution")
        actions = script.get(step) or [{}]
        action = actions[min(attempt(f"{execution}-{step}"), len(actions)) - 1]
        if "raises" in action:
            raise type(action["raises"], (Exception,), {})(action.get("saying", "because"))
        if step == "Report":
            return {"given": event}
        answer = {**ANSWERS.get(step, {}), **action.get("answers", {})}
        if step == "Plan":
            answer.update(execution=execution, script=script, teardown=event["request"]["teardown"])
        if "token" not in event:
            return answer
        import boto3, json
        states = boto3.client("stepfunctions")
        if "fails" in action:
            states.send_task_failure(taskToken=event["token"], error=action["fails"], cause=action["saying"])
        elif not action.get("silent"):
            states.send_task_success(taskToken=event["token"], output=json.dumps(answer))

    def attempt(key):
        # Counted in a file, because a function that has raised may go on in another process.
        count = pathlib.Path(tempfile.gettempdir(), key.replace(":", "-"))
        with count.open("a") as file:
            file.write(".")
        return len(count.read_text())

    ANSWERS = {
        "Plan": {"name": "lexline-sotu-0123456789ab"},
        "Prepare": {"outcome": "prepared"},
        "Train": {"job": "lexline-sotu-0123456789ab"},
        "Evaluate": {"accepted": True},
        "CreateModel": {"name": "lexline-sotu-0123456789ab"},
        "Deploy": {"endpoint": "lexline"},
        "SmokeTest": {"text": "The state of the union is strong."},
        "TearDown": {"removed": ["endpoint/lexline"]},
        "Compensate": {"removed": ["model/lexline-sotu-0123456789ab"]},
    }
"""
WAY = ["Begin", "Plan", "Prepare", "Prepared?", "Train", "Evaluate", "Accepted?", "CreateModel", "Deploy"]
UNDONE = ["Compensate", "TearDown?", "Report", "Failed?", "Failed"]

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def functions(lab: Any) -> dict[str, str]:
    send = {"Effect": "Allow", "Action": "states:SendTask*", "Resource": "*"}
    role = lab.role("lambda.amazonaws.com", send)
    return {
        f"{name}FunctionArn": lab.function(STAND_IN, role=role, Environment={"Variables": {"STEP": step}})
        for step, name in FUNCTIONS.items()
    }


def machine(lab: Any, functions: Mapping[str, str], change: Callable[[Any], None] | None = None) -> str:
    text = DEFINITION.read_text()
    for name, arn in functions.items():
        text = text.replace(f"${{{name}}}", arn)
    definition = json.loads(text)
    if change:
        change(definition)
    return str(lab.machine(definition))


@pytest.fixture(scope="module")
def pipeline(lab: Any, functions: dict[str, str]) -> str:
    return machine(lab, functions)


@pytest.fixture
def run(lab: Any, pipeline: str) -> Run:
    """run(teardown, Step=[action, ...]): the ended execution; `states` are the names of those entered."""

    def execute(
        teardown: str = "never", on: str = pipeline, **script: list[dict[str, Any]]
    ) -> dict[str, Any]:
        ended = lab.run(on, {"dataset": "sotu", "teardown": teardown, "script": script})
        pages = lab.states.get_paginator("get_execution_history").paginate(executionArn=ended["executionArn"])
        events = [event for page in pages for event in page["events"]]
        entered = [event.get("stateEnteredEventDetails", {}).get("name") for event in events]
        return {**ended, "states": [name for name in entered if name]}

    return execute


def raises(error: str, saying: str = "because") -> dict[str, str]:
    return {"raises": error, "saying": saying}


# --- the way through


def test_a_run_goes_from_upload_to_report(run: Run) -> None:
    ended = run()
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*WAY, "SmokeTest", "TearDown?", "Report", "Failed?", "Succeeded"]
    given = ended["output"]["given"]
    assert given["run"]["name"] == "lexline-sotu-0123456789ab"
    assert given["prepared"] == {"outcome": "prepared"}
    assert given["trained"] == {"job": "lexline-sotu-0123456789ab"}
    assert given["evaluated"] == {"accepted": True}
    assert given["model"] == {"name": "lexline-sotu-0123456789ab"}
    assert given["deployed"] == {"endpoint": "lexline"}
    assert given["smoke_test"] == {"text": "The state of the union is strong."}
    assert given["torn_down"] is given["compensated"] is given["skipped"] is None
    assert given["caught"] == []


def test_every_steps_seconds_are_told_and_add_up(run: Run) -> None:
    durations = run()["output"]["given"]["durations"]
    total = durations.pop("total")
    assert list(durations) == [
        "plan",
        "prepare",
        "train",
        "evaluate",
        "create_model",
        "deploy",
        "smoke_test",
    ]
    assert all(seconds >= 0 for seconds in durations.values())
    assert total == pytest.approx(sum(durations.values()), abs=1)


@pytest.mark.parametrize("outcome", ["waiting", "superseded"])
def test_an_incomplete_or_outdated_dataset_ends_politely(run: Run, outcome: str) -> None:
    ended = run("always", Prepare=[{"answers": {"outcome": outcome, "reason": "two files to come"}}])
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*WAY[:4], "Report", "Failed?", "Succeeded"]


def test_a_rejected_model_leaves_the_endpoint_alone(run: Run) -> None:
    ended = run("always", Evaluate=[{"answers": {"accepted": False}}])
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*WAY[:7], "Report", "Failed?", "Succeeded"]


def test_an_upload_announced_twice_is_skipped_with_its_reason(run: Run) -> None:
    ended = run(Plan=[raises("NothingToDo", "announced twice")])
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == ["Begin", "Plan", "Report", "Failed?", "Succeeded"]
    given = ended["output"]["given"]
    assert given["run"] is None
    assert given["skipped"]["Step"] == "Plan"
    assert "announced twice" in given["skipped"]["Cause"]
    assert given["caught"] == []


def test_a_run_overtaken_by_a_newer_one_removes_its_model_and_is_skipped(run: Run) -> None:
    ended = run(Deploy=[raises("NothingToDo", "a newer model is served")])
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*WAY, "Compensate", "TearDown?", "Report", "Failed?", "Succeeded"]
    assert ended["output"]["given"]["compensated"]["removed"] == ["model/lexline-sotu-0123456789ab"]


# --- tear-down


@pytest.mark.parametrize(
    ("teardown", "fails", "torn_down"),
    [
        ("never", False, False),
        ("never", True, False),
        ("on_failure", False, False),
        ("on_failure", True, True),
        ("always", False, True),
        ("always", True, True),
    ],
)
def test_the_endpoint_is_torn_down_when_that_was_asked(
    run: Run, teardown: str, fails: bool, torn_down: bool
) -> None:
    script = {"SmokeTest": [raises("SmokeTestFailed")]} if fails else {}
    ended = run(teardown, **script)
    assert ended["status"] == ("FAILED" if fails else "SUCCEEDED")
    assert ("TearDown" in ended["states"]) is torn_down


# --- failures


@pytest.mark.parametrize("step", ["Plan", "Prepare", "Train", "SmokeTest"])
def test_an_error_is_undone_reported_and_ends_the_run_by_its_name(run: Run, step: str) -> None:
    ended = run(**{step: [raises("AccessDenied", 'not authorized to perform "sagemaker:X"\nat all')]})
    assert ended["status"] == "FAILED"
    assert ended["error"] == "AccessDenied"
    assert ended["cause"] == f'{step} failed. not authorized to perform "sagemaker:X"\nat all'
    # A plan that failed has made nothing, and there is no run to undo.
    expected = ["Report", "Failed?", "Failed"] if step == "Plan" else UNDONE
    assert ended["states"][ended["states"].index(step) + 1 :] == expected


@pytest.mark.parametrize("step", ["Train", "Deploy"])
def test_an_error_that_a_token_brings_is_told_in_its_own_words(run: Run, step: str) -> None:
    ended = run(**{step: [{"fails": "TrainingFailed", "saying": "{AlgorithmError: exit code 1"}]})
    assert (ended["status"], ended["error"]) == ("FAILED", "TrainingFailed")
    assert ended["cause"] == f"{step} failed. {{AlgorithmError: exit code 1"
    assert ended["states"][-5:] == UNDONE


@pytest.mark.parametrize("after", ["Compensate", "TearDown", "Report"])
def test_the_first_error_stays_the_runs_error_when_cleaning_up_fails_too(run: Run, after: str) -> None:
    script = {
        "SmokeTest": [raises("SmokeTestFailed", "No text.")],
        after: [raises("AccessDenied", "Denied.")],
    }
    ended = run("always", **script)
    assert (ended["status"], ended["error"]) == ("FAILED", "SmokeTestFailed")
    assert ended["cause"] == (
        "SmokeTest failed. No text. Cleaning up failed too, so something may be left. "
        f"{after} failed with AccessDenied: Denied."
    )


def test_every_failure_of_the_clean_up_is_told(run: Run) -> None:
    script = {name: [raises(f"{name}Broke", f"{name}.")] for name in ("Compensate", "TearDown", "Report")}
    ended = run("always", SmokeTest=[raises("SmokeTestFailed", "No text.")], **script)
    assert ended["error"] == "SmokeTestFailed"
    for name in script:
        assert f"{name} failed with {name}Broke: {name}." in ended["cause"]


@pytest.mark.parametrize(("teardown", "step"), [("always", "TearDown"), ("never", "Report")])
def test_a_served_model_whose_end_went_wrong_is_a_failed_run(run: Run, teardown: str, step: str) -> None:
    ended = run(teardown, **{step: [raises("AccessDenied", "Denied.")]})
    assert (ended["status"], ended["error"]) == ("FAILED", "AccessDenied")
    assert ended["cause"] == f"{step} failed. Denied."


# --- trying again


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("Prepare", "DatasetReplaced"),
        ("Train", "CapacityUnavailable"),
        ("Deploy", "EndpointBusy"),
        ("Report", "ServiceUnavailable"),
    ],
)
def test_what_passes_is_tried_again(run: Run, step: str, error: str) -> None:
    ended = run(**{step: [raises(error), {}]})
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"].count(step) == 1


def test_undoing_waits_for_the_endpoint_to_settle(run: Run) -> None:
    busy = [raises("EndpointBusy")] * 2
    ended = run(SmokeTest=[raises("SmokeTestFailed")], Compensate=[*busy, {}])
    assert ended["error"] == "SmokeTestFailed"
    assert "Cleaning up failed" not in ended["cause"]


@pytest.mark.parametrize("step", ["Train", "Deploy"])
def test_a_lost_event_costs_a_wait_and_not_the_run(
    run: Run, lab: Any, functions: dict[str, str], step: str
) -> None:
    def hurry(definition: Any) -> None:
        definition["States"][step]["TimeoutSeconds"] = 1

    ended = run(on=machine(lab, functions, hurry), **{step: [{"silent": True}, {}]})
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"].count(step) == 2
