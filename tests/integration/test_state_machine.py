"""Whole executions of the pipeline's state machine, its functions played by a stand-in.

The stand-in does what the execution's input tells it to, step by step and attempt by attempt: answer, raise
an error, answer or fail its task token, or stay silent. As Report it answers with what it was given, so the
output shows it.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DEFINITION = Path(__file__).parents[2] / "statemachine" / "pipeline.asl.json"
STAND_IN = """
    import pathlib, tempfile

    def handler(event, context):
        # Which state calls is the one thing that only this test adds to what the state machine gives.
        step = event.pop("step")
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
            answer.update(event["request"], execution=execution)
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
        "Gather": {"seconds": 0},
        "Acquire": {"owner": "lexline-sotu-0123456789ab", "generation": 7},
        "Prepare": {"outcome": "prepared"},
        "Source": {"sha256": "5a"},
        "Champion": {"model": "lexline-sotu-champion"},
        "Train": {"job": "lexline-sotu-0123456789ab"},
        "Evaluate": {"accepted": True},
        "Register": {"version": 3},
        "FindModel": {"version": 2},
        "CreateModel": {"name": "lexline-sotu-0123456789ab"},
        "Deploy": {"endpoint": "lexline"},
        "SmokeTest": {"text": "The state of the union is strong."},
        "Finish": {"scales": False},
        "TearDown": {"removed": ["endpoint/lexline"]},
        "Compensate": {"removed": ["model/lexline-sotu-0123456789ab"]},
    }
"""
BEGUN = ["Begin", "Plan", "Uploaded?"]
HELD = [*BEGUN, "Acquire", "Work?"]
PREPARED = ["Prepare", "Prepared?"]
TRAINED = [*PREPARED, "Source", "Champion", "Train", "Evaluate", "Register", "Accepted?"]
SERVED = ["CreateModel", "Deploy", "SmokeTest", "Finish"]
DONE = ["Report", "Failed?", "Succeeded"]
FAILED = ["Report", "Failed?", "Failed"]
UNDONE = ["Compensate", "CleanedUp?", "TearDown?", *FAILED]

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def function(lab: Any) -> str:
    send = {"Effect": "Allow", "Action": "states:SendTask*", "Resource": "*"}
    return str(lab.function(STAND_IN, role=lab.role("lambda.amazonaws.com", send)))


def machine(lab: Any, function: str, change: Callable[[Any], None] | None = None) -> str:
    definition = json.loads(re.sub(r"\$\{\w+FunctionArn\}", function, DEFINITION.read_text()))
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            state["Arguments"]["Payload"]["step"] = name
    if change:
        change(definition["States"])
    return str(lab.machine(definition))


@pytest.fixture(scope="module")
def pipeline(lab: Any, function: str) -> str:
    return machine(lab, function)


@pytest.fixture
def run(lab: Any, pipeline: str) -> Run:
    """run(work, teardown, Step=[action, ...]): the ended execution; `states` are the names of those entered,
    `given` what Report was given."""

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
    return {"raises": error, "saying": saying}


# --- the ways through


def test_a_dataset_is_trained_on_and_its_model_served(run: Run) -> None:
    ended = run()
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*HELD, *TRAINED, *SERVED, "TearDown?", *DONE]
    given = ended["given"]
    durations = given.pop("durations")
    run_, execution = given.pop("run"), given.pop("execution")
    assert run_["name"] == "lexline-sotu-0123456789ab"
    assert execution["id"] == ended["executionArn"]
    assert given == {
        "lease": {"owner": "lexline-sotu-0123456789ab", "generation": 7},
        "prepared": {"outcome": "prepared"},
        "source": {"sha256": "5a"},
        "champion": {"model": "lexline-sotu-champion"},
        "trained": {"job": "lexline-sotu-0123456789ab"},
        "evaluated": {"accepted": True},
        "registered": {"version": 3},
        "model": {"name": "lexline-sotu-0123456789ab"},
        "deployed": {"endpoint": "lexline"},
        "smoke_test": {"text": "The state of the union is strong."},
        "finished": {"scales": False},
        "torn_down": None,
        "compensated": None,
        "caught": [],
        "skipped": None,
    }
    total = durations.pop("total")
    assert list(durations) == [
        *("plan", "acquire", "prepare", "source", "champion", "train", "evaluate", "register"),
        *("create_model", "deploy", "smoke_test", "finish"),
    ]
    assert all(seconds >= 0 for seconds in durations.values())
    assert total == pytest.approx(sum(durations.values()), abs=1)


def test_an_upload_waits_for_quiet_and_for_its_turn_and_troubles_that_pass_are_waited_out(run: Run) -> None:
    ended = run(
        upload={"key": "uploads/sotu/sotu.txt"},
        Gather=[{"answers": {"seconds": 20}}, {"answers": {"seconds": 10}}, {}],
        Acquire=[{"fails": "YourTurn", "saying": "It is your turn."}, {}],
        Prepare=[raises("DatasetReplaced"), {}],
        Train=[raises("Throttled"), {}],
        Deploy=[raises("EndpointBusy"), raises("EndpointBusy"), {}],
        Report=[raises("ServiceUnavailable"), {}],
    )
    assert ended["status"] == "SUCCEEDED"
    gathered = [*BEGUN, *["Gather", "Quiet?", "QuietPeriod"] * 2, "Gather", "Quiet?"]
    expected = [*gathered, "Acquire", "Acquire", "Work?", *TRAINED, *SERVED, "TearDown?", *DONE]
    assert ended["states"] == expected
    assert ended["given"]["caught"] == []
    durations = ended["given"]["durations"]
    # Thirty seconds of waiting, at the local cloud's fiftieth, are the step's as much as its own three looks.
    assert durations["gather"] >= 0.6
    total = durations.pop("total")
    assert total == pytest.approx(sum(durations.values()), abs=1)


def test_a_registered_model_is_deployed_without_training(run: Run) -> None:
    ended = run("deploy")
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*HELD, "FindModel", *SERVED, "TearDown?", *DONE]
    assert ended["given"]["registered"] == {"version": 2}
    assert ended["given"]["prepared"] is ended["given"]["trained"] is None


def test_a_take_down_ends_what_serves(run: Run) -> None:
    ended = run("take_down", "always", TearDown=[raises("EndpointBusy"), {}])
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*HELD, "TearDown", *DONE]
    assert ended["given"]["torn_down"] == {"removed": ["endpoint/lexline"]}


def test_a_clean_up_looks_twice_and_takes_down_what_the_dead_run_was_to_take_down(run: Run) -> None:
    first, second = {"removed": []}, {"removed": ["model/a"]}
    looks = [{"answers": first}, raises("EndpointBusy"), {"answers": second}]
    ended = run("clean_up", "on_failure", Compensate=looks)
    assert ended["status"] == "SUCCEEDED"
    twice = ["Compensate", "CleanedUp?", "StillAtWork", "Compensate", "CleanedUp?"]
    assert ended["states"] == [*HELD, *twice, "TearDown?", "TearDown", *DONE]
    assert ended["given"]["compensated"] == second


def test_a_lost_event_costs_a_wait_and_not_the_run(run: Run, lab: Any, function: str) -> None:
    def hurry(states: Any) -> None:
        for name in ("Acquire", "Train", "Deploy"):
            states[name]["TimeoutSeconds"] = states[name]["TimeoutSeconds"].replace("300", "1")

    silent: list[dict[str, Any]] = [{"silent": True}, {}]
    ended = run(on=machine(lab, function, hurry), Acquire=silent, Train=silent, Deploy=silent)
    assert ended["status"] == "SUCCEEDED"
    for name in ("Acquire", "Train", "Deploy"):
        assert ended["states"].count(name) >= 2
    assert ended["given"]["caught"] == []
    assert ended["given"]["durations"]["train"] >= 1


# --- runs that end early, and well


@pytest.mark.parametrize(
    ("work", "step", "error", "way"),
    [
        ("train", "Plan", "NothingToDo", ["Begin", "Plan"]),
        ("train", "Gather", "NothingToDo", [*BEGUN, "Gather"]),
        ("train", "Champion", "Unchanged", [*BEGUN, "Gather", "Quiet?", *HELD[3:], *TRAINED[:4]]),
        ("take_down", "TearDown", "NothingToDo", [*HELD, "TearDown"]),
    ],
)
def test_a_run_without_work_is_skipped_with_its_reason(
    run: Run, work: str, step: str, error: str, way: list[str]
) -> None:
    upload = {"key": "uploads/sotu/sotu.txt"} if work == "train" else None
    ended = run(work, "always", upload, **{step: [raises(error, "Nothing new.")]})
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*way, *DONE]
    skipped = ended["given"]["skipped"]
    assert (skipped["Error"], skipped["Step"]) == (error, step)
    assert "Nothing new." in skipped["Cause"]
    assert ended["given"]["caught"] == []


@pytest.mark.parametrize(
    ("step", "answer", "way"),
    [
        ("Prepare", {"outcome": "waiting"}, PREPARED),
        ("Evaluate", {"accepted": False}, TRAINED),
    ],
)
def test_an_incomplete_dataset_or_a_rejected_model_leaves_the_endpoint_alone(
    run: Run, step: str, answer: dict[str, Any], way: list[str]
) -> None:
    ended = run(teardown="always", **{step: [{"answers": answer}]})
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [*HELD, *way, *DONE]


def test_an_endpoint_that_was_to_go_with_its_run_does(run: Run) -> None:
    ended = run("deploy", "always")
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"][-6:] == ["Finish", "TearDown?", "TearDown", *DONE]
    assert ended["given"]["torn_down"] == {"removed": ["endpoint/lexline"]}


# --- failures


@pytest.mark.parametrize(
    ("step", "action", "sentence", "way"),
    [
        ("Plan", raises("AccessDenied", 'may not "X"\nat all'), 'may not "X"\nat all', FAILED),
        ("Acquire", {"fails": "AccessDenied", "saying": "Denied."}, "Denied.", FAILED),
        ("Prepare", raises("AccessDenied", "Denied."), "Denied.", UNDONE),
        ("Train", {"fails": "AccessDenied", "saying": "{Alas: exit code 1"}, "{Alas: exit code 1", UNDONE),
    ],
)
def test_an_error_is_undone_reported_and_ends_the_run_by_its_name(
    run: Run, step: str, action: dict[str, Any], sentence: str, way: list[str]
) -> None:
    ended = run(**{step: [action]})
    assert (ended["status"], ended["error"]) == ("FAILED", "AccessDenied")
    assert ended["cause"] == f"{step} failed. {sentence}"
    assert ended["states"][ended["states"].index(step) + 1 :] == way


def test_a_model_that_is_not_found_leaves_nothing_to_undo(run: Run) -> None:
    ended = run("deploy", "always", FindModel=[raises("ModelNotFound", "No model lexline-sotu.")])
    assert ended["cause"] == "FindModel failed. No model lexline-sotu."
    assert ended["states"] == [*HELD, "FindModel", *FAILED]


def test_undoing_waits_for_the_endpoint_to_settle(run: Run) -> None:
    busy = [raises("EndpointBusy"), raises("EndpointBusy"), {}]
    ended = run("deploy", "on_failure", SmokeTest=[raises("SmokeTestFailed", "No.")], Compensate=busy)
    assert ended["cause"] == "SmokeTest failed. No."
    assert ended["states"][-8:] == ["SmokeTest", *UNDONE[:3], "TearDown", *FAILED]


def test_every_failure_of_the_clean_up_is_told_after_the_runs_error(run: Run) -> None:
    after = ("Compensate", "TearDown", "Report")
    script = {name: [raises(f"{name}Broke", f"{name}.")] for name in after}
    ended = run("deploy", "always", Deploy=[{"fails": "EndpointFailed", "saying": "No image."}], **script)
    assert (ended["status"], ended["error"]) == ("FAILED", "EndpointFailed")
    assert ended["cause"] == (
        "Deploy failed. No image. Cleaning up failed too, so something may be left. "
        "Compensate failed with CompensateBroke: Compensate. "
        "TearDown failed with TearDownBroke: TearDown. "
        "Report failed with ReportBroke: Report."
    )


@pytest.mark.parametrize(("teardown", "step"), [("always", "TearDown"), ("never", "Report")])
def test_a_served_model_whose_end_went_wrong_is_a_failed_run(run: Run, teardown: str, step: str) -> None:
    ended = run("deploy", teardown, **{step: [raises("AccessDenied", "Denied.")]})
    assert (ended["status"], ended["error"]) == ("FAILED", "AccessDenied")
    assert ended["cause"] == f"{step} failed. Denied."
