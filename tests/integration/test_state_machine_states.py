"""Each state of the pipeline's state machine by itself, through TestState: every branch, retry and catch."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DEFINITION = (Path(__file__).parents[2] / "statemachine" / "pipeline.asl.json").read_text(encoding="utf-8")
STATES = json.loads(DEFINITION)["States"]
# By task: the variable that keeps its result, the next state, and the next state after an error.
TASKS = {
    "Plan": ("run", "Uploaded?", "Report"),
    "Gather": ("gathered", "Quiet?", "Report"),
    "Acquire": ("lease", "Work?", "Report"),
    "ListUploads": ("listed", "ReadUploads", "Compensate"),
    "AssembleDataset": ("prepared", "Prepared?", "Compensate"),
    "Source": ("source", "Champion", "Compensate"),
    "Champion": ("champion", "Train", "Compensate"),
    "Train": ("trained", "Evaluate", "Compensate"),
    "Evaluate": ("evaluated", "Register", "Compensate"),
    "Register": ("registered", "Accepted?", "Compensate"),
    "FindModel": ("registered", "CreateModel", "Report"),
    "CreateModel": ("model", "Deploy", "Compensate"),
    "Deploy": ("deployed", "SmokeTest", "Compensate"),
    "SmokeTest": ("smoke_test", "Finish", "Compensate"),
    "Finish": ("finished", "Teardown?", "Compensate"),
    "Compensate": ("compensated", "CleanedUp?", "Teardown?"),
    "Teardown": ("teardown", "Report", "Report"),
    "Report": (None, "Failed?", "Failed"),
}
WAITING = ("Acquire", "Train", "Deploy")
# By error: the tasks that retry it. A task retries no other error of the pipeline.
RETRIED = {
    "Throttled": set(TASKS),
    "Lambda.TooManyRequestsException": set(TASKS),
    "ServiceUnavailable": set(TASKS),
    # Lambda reports a timeout under either name.
    "Sandbox.Timedout": set(TASKS),
    "Lambda.Unknown": set(TASKS),
    "Runtime.ExitError": set(TASKS),
    # After this error of an item, the uploads are listed again (test_state_machine.py).
    "DatasetReplaced": {"ListUploads"},
    "CapacityUnavailable": {"Train", "Deploy", "Compensate"},
    "EndpointBusy": {"Deploy", "Compensate", "Teardown"},
    "LeaseLost": set(),
    "KeyError": set(),
}
CAUSE = json.dumps({"errorMessage": 'a "quoted"\nsentence', "errorType": "X", "stackTrace": ["  File"]})
EARLIER = {"Error": "TrainingFailed", "Cause": "exit code 1", "Step": "Train"}

RunState = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run_state(client: Any, lab: Any) -> RunState:
    """run_state(name, mock, variable=value, ...): TestState's response and the variables it leaves."""
    role = lab.role("states.amazonaws.com")
    states = client("stepfunctions")
    initial = dict.fromkeys(STATES["Begin"]["Assign"]) | {"caught": [], "listings": 0}

    def run(
        name: str,
        mock: dict[str, Any] | None = None,
        attempt: int = 0,
        age: int = 0,
        definition: str | None = None,
        **variables: Any,
    ) -> dict[str, Any]:
        started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
        execution = {"Id": "arn", "StartTime": started.isoformat(timespec="milliseconds")[:-6] + "Z"}
        optional: dict[str, Any] = {"mock": mock} if mock else {}
        if attempt:
            optional["stateConfiguration"] = {"retrierRetryCount": attempt}
        response = states.test_state(
            **({"definition": definition} if definition else {"definition": DEFINITION, "stateName": name}),
            roleArn=role,
            input="{}",
            variables=json.dumps(initial | variables),
            context=json.dumps({"Task": {"Token": "token"}, "Execution": execution}),
            inspectionLevel="DEBUG",
            **optional,
        )
        inspected = response["inspectionData"]
        return {**response, **{key: json.loads(value) for key, value in inspected.items() if key != "result"}}

    return run


def error(name: str, cause: str = CAUSE) -> dict[str, Any]:
    return {"errorOutput": {"error": name, "cause": cause}}


def test_every_task_is_tested_here() -> None:
    assert set(TASKS) == {name for name, state in STATES.items() if state["Type"] == "Task"}


@pytest.mark.parametrize("state", TASKS)
def test_a_task_keeps_its_result_and_leads_on(run_state: RunState, state: str) -> None:
    variable, following, _ = TASKS[state]
    result = {"the": "result", "removed": ["model/a"]}
    mock = {"result": json.dumps(result if state in WAITING else {"Payload": result})}
    response = run_state(state, mock)
    assert (response["status"], response["nextState"]) == ("SUCCEEDED", following)
    assert json.loads(response["output"]) == result
    assert variable is None or response["variables"][variable] == result


@pytest.mark.parametrize("state", TASKS)
def test_a_task_keeps_an_error_behind_those_before_it(run_state: RunState, state: str) -> None:
    response = run_state(state, error("AccessDenied"), caught=[EARLIER])
    assert (response["status"], response["nextState"]) == ("CAUGHT_ERROR", TASKS[state][2])
    kept = {"Error": "AccessDenied", "Cause": CAUSE, "Step": state}
    assert response["variables"]["caught"] == [EARLIER, kept]


@pytest.mark.parametrize("name", RETRIED)
def test_an_error_is_retried_where_it_may_pass(run_state: RunState, name: str) -> None:
    retried = {state for state in TASKS if run_state(state, error(name))["status"] == "RETRIABLE"}
    assert retried == RETRIED[name]


def test_retries_come_to_an_end(run_state: RunState) -> None:
    for state in TASKS:
        response = run_state(state, error("Throttled"), attempt=12)
        assert (response["status"], response["nextState"]) == ("CAUGHT_ERROR", TASKS[state][2])


# --- waiting


@pytest.mark.parametrize(
    ("state", "name"), [*((state, "States.Timeout") for state in WAITING), ("Acquire", "YourTurn")]
)
def test_a_waiting_task_hands_out_its_token_and_is_entered_again(
    run_state: RunState, state: str, name: str
) -> None:
    response = run_state(state, error(name, ""))
    assert response["afterArguments"]["Payload"]["token"] == "token"
    assert (response["status"], response["nextState"]) == ("CAUGHT_ERROR", state)
    assert response["variables"]["caught"] == []


@pytest.mark.parametrize("state", [name for name in TASKS if name not in WAITING])
def test_a_timeout_is_an_error_of_a_task_that_does_not_wait(run_state: RunState, state: str) -> None:
    assert run_state(state, error("States.Timeout"))["nextState"] == TASKS[state][2]


@pytest.mark.parametrize("state", WAITING)
@pytest.mark.parametrize(("age", "least"), [(0, 300), (3000, 600), (6000, 900), (864_000, 900)])
def test_a_lost_event_costs_minutes_and_at_most_a_quarter_of_an_hour(
    run_state: RunState, state: str, age: int, least: int
) -> None:
    """Five minutes in a young run, and a tenth of the run's age more."""
    evaluate = {"Type": "Pass", "QueryLanguage": "JSONata", "End": True}
    evaluate["Output"] = STATES[state]["TimeoutSeconds"]
    response = run_state("", definition=json.dumps(evaluate), age=age)
    # The clock goes on while a busy machine evaluates this.
    assert least <= json.loads(response["output"]) <= min(900, least + 60)


# --- nothing to do


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("Plan", "NothingToDo"),
        ("ListUploads", "NothingToDo"),
        ("Teardown", "NothingToDo"),
        ("Champion", "Unchanged"),
    ],
)
def test_nothing_to_do_is_not_an_error(run_state: RunState, state: str, name: str) -> None:
    response = run_state(state, error(name))
    assert (response["status"], response["nextState"]) == ("CAUGHT_ERROR", "Report")
    assert response["variables"]["caught"] == []
    assert response["variables"]["skipped"] == {"Error": name, "Cause": CAUSE, "Step": state}


# --- states that do no work


@pytest.mark.parametrize(
    ("state", "variables", "following"),
    [
        ("Begin", {}, "Plan"),
        ("Uploaded?", {"run": {"upload": {"key": "uploads/sotu/sotu.txt"}}}, "Gather"),
        ("Uploaded?", {"run": {"upload": None}}, "Acquire"),
        ("Quiet?", {"gathered": {"seconds": 1, "joined": None}}, "QuietPeriod"),
        ("Quiet?", {"gathered": {"seconds": 0, "joined": None}}, "Acquire"),
        ("Quiet?", {"gathered": {"seconds": 0, "joined": "lexline--sotu-1"}}, "Report"),
        ("QuietPeriod", {"gathered": {"seconds": 1, "joined": None}}, "Gather"),
        ("Work?", {"run": {"work": "train"}}, "ListUploads"),
        ("Work?", {"run": {"work": "deploy"}}, "FindModel"),
        ("Work?", {"run": {"work": "teardown"}}, "Teardown"),
        ("Work?", {"run": {"work": "cleanup"}}, "Compensate"),
        ("CleanedUp?", {"at_work": True}, "StillAtWork"),
        ("CleanedUp?", {"at_work": False}, "Teardown?"),
        ("Read?", {"unread": None, "listings": 1}, "AssembleDataset"),
        ("Read?", {"unread": {"Error": "DatasetReplaced"}, "listings": 3}, "ListUploads"),
        ("Read?", {"unread": {"Error": "DatasetReplaced"}, "listings": 4}, "NotAllRead"),
        ("Read?", {"unread": {"Error": "LeaseLost"}, "listings": 1}, "NotAllRead"),
        ("NotAllRead", {"unread": {"Error": "LeaseLost", "Cause": ""}}, "Compensate"),
        ("Prepared?", {"prepared": {"outcome": "prepared"}}, "Source"),
        ("Prepared?", {"prepared": {"outcome": "waiting"}}, "Report"),
        ("Prepared?", {"prepared": {"outcome": "ignored"}}, "Report"),
        ("Accepted?", {"evaluated": {"accepted": True}}, "CreateModel"),
        ("Accepted?", {"evaluated": {"accepted": False}}, "Report"),
        ("Failed?", {"caught": []}, "Succeeded"),
        ("Failed?", {"caught": [EARLIER]}, "Failed"),
        ("Failed?", {"caught": [EARLIER, EARLIER]}, "Failed"),
    ],
)
def test_a_state_leads_on(run_state: RunState, state: str, variables: dict[str, Any], following: str) -> None:
    assert run_state(state, **variables)["nextState"] == following


@pytest.mark.parametrize(
    ("policy", "work", "errors", "following"),
    [
        ("never", "train", 0, "Report"),
        ("never", "deploy", 1, "Report"),
        ("never", "cleanup", 0, "Report"),
        ({"after": "PT8H"}, "train", 1, "Report"),
        ({"when_idle": "PT1H"}, "deploy", 0, "Report"),
        ("on_failure", "train", 0, "Report"),
        ("on_failure", "deploy", 2, "Teardown"),
        # The aborted run is the one that failed.
        ("on_failure", "cleanup", 0, "Teardown"),
        ("always", "train", 0, "Teardown"),
        ("always", "deploy", 1, "Teardown"),
        ("always", "cleanup", 0, "Teardown"),
    ],
)
def test_the_teardown_follows_the_requests_policy(
    run_state: RunState, policy: Any, work: str, errors: int, following: str
) -> None:
    variables = {"run": {"work": work, "teardown": policy}, "caught": [EARLIER] * errors}
    assert run_state("Teardown?", **variables)["nextState"] == following


# --- the end


def test_success_is_the_end(run_state: RunState) -> None:
    assert run_state("Succeeded")["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (CAUSE, 'a "quoted"\nsentence'),
        ("AlgorithmError: exit code 1", "AlgorithmError: exit code 1"),
        ("", ""),
        # A timeout comes without a cause.
        (None, ""),
        ("{", "{"),
        ('{"errorMessage": null}', '{"errorMessage": null}'),
        ('{"errorMessage": "cut off by AW', '{"errorMessage": "cut off by AW'),
        (json.dumps({"errorType": "X", "errorMessage": "back\\slash \u2713"}), "back\\slash \u2713"),
        # Step Functions takes at most 32,768 characters.
        (json.dumps({"errorMessage": "x" * 31_000}), "x" * (30_000 - len("Train failed. "))),
    ],
    ids=["JSON", "text", "empty", "none", "brace", "null", "cut", "escaped", "long"],
)
def test_a_failed_run_has_a_sentence_whatever_the_cause(
    run_state: RunState, cause: str | None, sentence: str
) -> None:
    caught = {"Error": "TrainingFailed", "Step": "Train"} | ({} if cause is None else {"Cause": cause})
    response = run_state("Failed", caught=[caught])
    assert (response["status"], response["error"]) == ("FAILED", "TrainingFailed")
    assert response["cause"] == f"Train failed. {sentence}"


def test_errors_of_the_cleanup_come_after_the_first(run_state: RunState) -> None:
    caught = [
        {"Error": "SmokeTestFailed", "Cause": json.dumps({"errorMessage": "No text."}), "Step": "SmokeTest"},
        {"Error": "AccessDenied", "Cause": json.dumps({"errorMessage": "Denied."}), "Step": "Compensate"},
        {"Error": "Throttled", "Cause": "Slow down.", "Step": "Teardown"},
    ]
    response = run_state("Failed", caught=caught)
    assert response["error"] == "SmokeTestFailed"
    assert response["cause"] == (
        "SmokeTest failed. No text. Cleaning up failed too, so something may be left. "
        "Compensate failed with AccessDenied: Denied. Teardown failed with Throttled: Slow down."
    )
