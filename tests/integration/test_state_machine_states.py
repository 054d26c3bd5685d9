"""Each state of the pipeline's state machine by itself, through TestState: every branch, retry and catch."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DEFINITION = (Path(__file__).parents[2] / "statemachine" / "pipeline.asl.json").read_text()
STATES = json.loads(DEFINITION)["States"]
TASKS = [name for name, state in STATES.items() if state["Type"] == "Task"]
# task: (what it answers is kept as, its seconds as, then comes, an error leads to)
WAYS = {
    "Plan": ("run", "plan", "Uploaded?", "Report"),
    "Gather": ("gathered", "gather", "Quiet?", "Report"),
    "Acquire": ("lease", "acquire", "Work?", "Report"),
    "Prepare": ("prepared", "prepare", "Prepared?", "Compensate"),
    "Source": ("source", "source", "Champion", "Compensate"),
    "Champion": ("champion", "champion", "Train", "Compensate"),
    "Train": ("trained", "train", "Evaluate", "Compensate"),
    "Evaluate": ("evaluated", "evaluate", "Register", "Compensate"),
    "Register": ("registered", "register", "Accepted?", "Compensate"),
    "FindModel": ("registered", "find_model", "CreateModel", "Report"),
    "CreateModel": ("model", "create_model", "Deploy", "Compensate"),
    "Deploy": ("deployed", "deploy", "SmokeTest", "Compensate"),
    "SmokeTest": ("smokeTest", "smoke_test", "Finish", "Compensate"),
    "Finish": ("finished", "finish", "TearDown?", "Compensate"),
    "Compensate": ("compensated", "compensate", "CleanedUp?", "TearDown?"),
    "TearDown": ("tornDown", "teardown", "Report", "Report"),
    "Report": (None, None, "Failed?", "Failed"),
}
WAITS = ("Acquire", "Train", "Deploy")
# Errors that pass, and where they are tried again; the rest of a pipeline's errors does not pass.
PASSES = {
    "Throttled": set(WAYS),
    "Lambda.TooManyRequestsException": set(WAYS),
    "ServiceUnavailable": set(WAYS),
    "Lambda.Unknown": set(WAYS) - {"Prepare"},
    "Runtime.ExitError": set(WAYS),
    "DatasetReplaced": {"Prepare"},
    "CapacityUnavailable": {"Train", "Deploy", "Compensate"},
    "EndpointBusy": {"Deploy", "Compensate", "TearDown"},
    "LeaseLost": set(),
    "KeyError": set(),
}
CAUSE = json.dumps({"errorMessage": 'a "quoted"\nsentence', "errorType": "X", "stackTrace": ["  File"]})
EARLIER = {"Error": "TrainingFailed", "Cause": "exit code 1", "Step": "Train"}

Tested = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def tested(client: Any, lab: Any) -> Tested:
    """tested(state, mock, variable=value, ...): TestState's answer, `variables` as the state leaves them."""
    role = lab.role("states.amazonaws.com")
    states = client("stepfunctions")
    begun = dict.fromkeys(STATES["Begin"]["Assign"]) | {"caught": [], "durations": {}, "began": 0, "since": 0}

    def run(
        name: str,
        mock: dict[str, Any] | None = None,
        attempt: int = 0,
        state: dict[str, Any] | None = None,
        **variables: Any,
    ) -> dict[str, Any]:
        more: dict[str, Any] = {"mock": mock} if mock else {}
        if attempt:
            more["stateConfiguration"] = {"retrierRetryCount": attempt}
        answer = states.test_state(
            **({"definition": json.dumps(state)} if state else {"definition": DEFINITION, "stateName": name}),
            roleArn=role,
            input="{}",
            variables=json.dumps(begun | variables),
            context=json.dumps({"Task": {"Token": "token"}}),
            inspectionLevel="DEBUG",
            **more,
        )
        inspected = answer["inspectionData"]
        return {**answer, **{key: json.loads(value) for key, value in inspected.items() if key != "result"}}

    return run


def error(name: str, cause: str = CAUSE) -> dict[str, Any]:
    return {"errorOutput": {"error": name, "cause": cause}}


def test_every_task_is_tested_here() -> None:
    assert sorted(WAYS) == sorted(TASKS)


def test_the_run_begins_with_the_plan(tested: Tested) -> None:
    assert tested("Begin")["nextState"] == "Plan"


@pytest.mark.parametrize("state", WAYS)
def test_an_answer_is_kept_and_leads_on(tested: Tested, state: str) -> None:
    variable, seconds, following, _ = WAYS[state]
    said = {"the": "answer", "removed": ["model/a"]}
    before = {"durations": {"other": 1.5}, "since": time.time() * 1000 - 60_000}
    answer = tested(state, {"result": json.dumps(said if state in WAITS else {"Payload": said})}, **before)
    assert (answer["status"], answer["nextState"]) == ("SUCCEEDED", following)
    assert json.loads(answer["output"]) == said
    if variable and seconds:
        assert answer["variables"][variable] == said
        assert answer["variables"]["durations"] == {"other": 1.5, seconds: pytest.approx(60, abs=5)}
        assert answer["variables"]["since"] >= before["since"] + 60_000


@pytest.mark.parametrize("state", WAYS)
def test_an_error_without_a_way_of_its_own_is_kept_after_those_before(tested: Tested, state: str) -> None:
    _, seconds, _, following = WAYS[state]
    before = {"durations": {seconds: 1.5}, "since": time.time() * 1000 - 60_000} if seconds else {}
    answer = tested(state, error("AccessDenied"), caught=[EARLIER], **before)
    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", following)
    assert answer["variables"]["caught"] == [
        EARLIER,
        {"Error": "AccessDenied", "Cause": CAUSE, "Step": state},
    ]
    if seconds:
        # What the same state took before, in an earlier round, is counted too.
        assert answer["variables"]["durations"] == {seconds: pytest.approx(61.5, abs=5)}


@pytest.mark.parametrize("name", PASSES)
def test_what_passes_is_tried_again_where_it_does(tested: Tested, name: str) -> None:
    assert {state for state in WAYS if tested(state, error(name))["status"] == "RETRIABLE"} == PASSES[name]


def test_trying_again_comes_to_an_end(tested: Tested) -> None:
    for state in WAYS:
        answer = tested(state, error("Throttled"), attempt=12)
        assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", WAYS[state][3])


# --- waiting


@pytest.mark.parametrize(
    ("state", "name"),
    [*((state, "States.Timeout") for state in WAITS), ("Acquire", "YourTurn")],
)
def test_a_waiting_step_hands_out_its_token_and_looks_again(tested: Tested, state: str, name: str) -> None:
    answer = tested(state, error(name, ""), durations={"plan": 1}, since=1)
    assert answer["afterArguments"]["Payload"]["token"] == "token"
    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", state)
    assert answer["variables"]["caught"] == []
    # The whole wait is the step's, however often it looked.
    assert (answer["variables"]["durations"], answer["variables"]["since"]) == ({"plan": 1}, 1)


@pytest.mark.parametrize("state", [name for name in WAYS if name not in WAITS])
def test_a_time_out_is_an_error_where_nothing_is_waited_for(tested: Tested, state: str) -> None:
    assert tested(state, error("States.Timeout"))["nextState"] == WAYS[state][3]


@pytest.mark.parametrize("state", WAITS)
def test_a_lost_event_costs_minutes_of_a_short_wait_and_never_more_than_a_quarter_of_an_hour(
    tested: Tested, state: str
) -> None:
    seconds = {"Type": "Pass", "QueryLanguage": "JSONata", "End": True} | {
        "Output": STATES[state]["TimeoutSeconds"]
    }
    for waited, limit in {0: 300, 3000: 600, 6000: 900, 864_000: 900}.items():
        answer = tested("", state=seconds, since=time.time() * 1000 - waited * 1000)
        assert limit <= json.loads(answer["output"]) <= limit + 1


# --- nothing to do


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("Plan", "NothingToDo"),
        ("Gather", "NothingToDo"),
        ("TearDown", "NothingToDo"),
        ("Champion", "Unchanged"),
    ],
)
def test_nothing_to_do_is_not_an_error(tested: Tested, state: str, name: str) -> None:
    answer = tested(state, error(name))
    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", "Report")
    assert answer["variables"]["caught"] == []
    assert answer["variables"]["skipped"] == {"Error": name, "Cause": CAUSE, "Step": state}
    assert answer["variables"]["durations"][WAYS[state][1]] > 0


# --- choices


@pytest.mark.parametrize(
    ("upload", "following"), [({"key": "uploads/sotu/sotu.txt"}, "Gather"), (None, "Acquire")]
)
def test_only_an_upload_waits_for_others(tested: Tested, upload: Any, following: str) -> None:
    assert tested("Uploaded?", run={"upload": upload})["nextState"] == following


@pytest.mark.parametrize(("seconds", "following"), [(1, "QuietPeriod"), (0, "Acquire")])
def test_a_run_begins_when_its_dataset_is_quiet(tested: Tested, seconds: int, following: str) -> None:
    assert tested("Quiet?", gathered={"seconds": seconds})["nextState"] == following


def test_the_dataset_is_looked_at_again_after_a_quiet_period(tested: Tested) -> None:
    assert tested("QuietPeriod", gathered={"seconds": 1})["nextState"] == "Gather"


@pytest.mark.parametrize(
    ("work", "following"),
    [("train", "Prepare"), ("deploy", "FindModel"), ("take_down", "TearDown"), ("clean_up", "Compensate")],
)
def test_each_kind_of_work_has_its_way(tested: Tested, work: str, following: str) -> None:
    assert tested("Work?", run={"work": work})["nextState"] == following


@pytest.mark.parametrize(("at_work", "following"), [(True, "StillAtWork"), (False, "TearDown?")])
def test_a_clean_up_looks_again_when_no_function_can_be_at_work(
    tested: Tested, at_work: bool, following: str
) -> None:
    assert tested("CleanedUp?", atWork=at_work)["nextState"] == following


@pytest.mark.parametrize(
    ("outcome", "following"), [("prepared", "Source"), ("waiting", "Report"), ("ignored", "Report")]
)
def test_only_prepared_data_is_trained_on(tested: Tested, outcome: str, following: str) -> None:
    assert tested("Prepared?", prepared={"outcome": outcome})["nextState"] == following


@pytest.mark.parametrize(("accepted", "following"), [(True, "CreateModel"), (False, "Report")])
def test_only_an_accepted_model_is_deployed(tested: Tested, accepted: bool, following: str) -> None:
    assert tested("Accepted?", evaluated={"accepted": accepted})["nextState"] == following


@pytest.mark.parametrize(
    ("teardown", "work", "errors", "following"),
    [
        ("never", "train", 0, "Report"),
        ("never", "deploy", 1, "Report"),
        ("never", "clean_up", 0, "Report"),
        ({"after": "PT8H"}, "train", 1, "Report"),
        ({"when_idle": "PT1H"}, "deploy", 0, "Report"),
        ("on_failure", "train", 0, "Report"),
        ("on_failure", "deploy", 2, "TearDown"),
        # The run that is cleaned up after did fail.
        ("on_failure", "clean_up", 0, "TearDown"),
        ("always", "train", 0, "TearDown"),
        ("always", "deploy", 1, "TearDown"),
        ("always", "clean_up", 0, "TearDown"),
    ],
)
def test_the_tear_down_is_as_asked(
    tested: Tested, teardown: Any, work: str, errors: int, following: str
) -> None:
    variables = {"run": {"work": work, "teardown": teardown}, "caught": [EARLIER] * errors}
    assert tested("TearDown?", **variables)["nextState"] == following


@pytest.mark.parametrize(("errors", "following"), [(0, "Succeeded"), (1, "Failed"), (2, "Failed")])
def test_any_error_makes_a_failed_run(tested: Tested, errors: int, following: str) -> None:
    caught = [EARLIER] * errors
    assert tested("Failed?", caught=caught)["nextState"] == following


# --- the end


def test_success_is_the_end(tested: Tested) -> None:
    assert tested("Succeeded")["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (CAUSE, 'a "quoted"\nsentence'),
        ("AlgorithmError: exit code 1", "AlgorithmError: exit code 1"),
        ("", ""),
        (None, ""),
        ("{", "{"),
        ('{"errorMessage": null}', '{"errorMessage": null}'),
        ('{"errorMessage": "cut off by AW', '{"errorMessage": "cut off by AW'),
        (json.dumps({"errorType": "X", "errorMessage": "back\\slash \u2713"}), "back\\slash \u2713"),
    ],
)
def test_the_failure_is_told_in_a_sentence_whatever_the_cause(
    tested: Tested, cause: str | None, sentence: str
) -> None:
    # An error that comes without a cause, as a time-out does, is kept without one.
    said = {} if cause is None else {"Cause": cause}
    answer = tested("Failed", caught=[{"Error": "TrainingFailed", **said, "Step": "Train"}])
    assert (answer["status"], answer["error"]) == ("FAILED", "TrainingFailed")
    assert answer["cause"] == f"Train failed. {sentence}"


def test_a_very_long_cause_is_cut_to_what_step_functions_takes(tested: Tested) -> None:
    cause = json.dumps({"errorMessage": "x" * 31_000})
    answer = tested("Failed", caught=[{"Error": "TrainingFailed", "Cause": cause, "Step": "Train"}])
    assert answer["error"] == "TrainingFailed"
    assert len(answer["cause"]) == 30_000


def test_errors_of_the_clean_up_are_told_after_the_first(tested: Tested) -> None:
    caught = [
        {"Error": "SmokeTestFailed", "Cause": json.dumps({"errorMessage": "No text."}), "Step": "SmokeTest"},
        {"Error": "AccessDenied", "Cause": json.dumps({"errorMessage": "Denied."}), "Step": "Compensate"},
        {"Error": "Throttled", "Cause": "Slow down.", "Step": "TearDown"},
    ]
    answer = tested("Failed", caught=caught)
    assert answer["error"] == "SmokeTestFailed"
    assert answer["cause"] == (
        "SmokeTest failed. No text. Cleaning up failed too, so something may be left. "
        "Compensate failed with AccessDenied: Denied. TearDown failed with Throttled: Slow down."
    )
