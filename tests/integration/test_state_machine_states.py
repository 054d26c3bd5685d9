"""Each state of the pipeline's state machine by itself, through TestState: every branch, retry and catch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DEFINITION = (Path(__file__).parents[2] / "statemachine" / "pipeline.asl.json").read_text()
STATES = json.loads(DEFINITION)["States"]
TASKS = [name for name, state in STATES.items() if state["Type"] == "Task"]
# task: (what it answers is kept as, its seconds as, then comes, an error leads to)
WAYS = {
    "Plan": ("run", "plan", "Prepare", "Report"),
    "Prepare": ("prepared", "prepare", "Prepared?", "Compensate"),
    "Train": ("trained", "train", "Evaluate", "Compensate"),
    "Evaluate": ("evaluated", "evaluate", "Accepted?", "Compensate"),
    "CreateModel": ("model", "create_model", "Deploy", "Compensate"),
    "Deploy": ("deployed", "deploy", "SmokeTest", "Compensate"),
    "SmokeTest": ("smokeTest", "smoke_test", "TearDown?", "Compensate"),
    "Compensate": ("compensated", "compensate", "TearDown?", "TearDown?"),
    "TearDown": ("tornDown", "teardown", "Report", "Report"),
    "Report": (None, "report", "Failed?", "Failed"),
}
WAITS = ("Train", "Deploy")
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
        name: str, mock: dict[str, Any] | None = None, attempt: int = 0, **variables: Any
    ) -> dict[str, Any]:
        more: dict[str, Any] = {"mock": mock} if mock else {}
        if attempt:
            more["stateConfiguration"] = {"retrierRetryCount": attempt}
        answer = states.test_state(
            definition=DEFINITION,
            stateName=name,
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
    said = {"the": "answer"}
    answer = tested(state, {"result": json.dumps(said if state in WAITS else {"Payload": said})})
    assert (answer["status"], answer["nextState"]) == ("SUCCEEDED", following)
    assert json.loads(answer["output"]) == said
    assert variable is None or answer["variables"][variable] == said
    assert answer["variables"]["durations"][seconds] > 0
    assert answer["variables"]["since"] > 0


@pytest.mark.parametrize("state", WAYS)
@pytest.mark.parametrize("name", ["AccessDenied", "KeyError", "States.TaskFailed"])
def test_an_error_is_caught_whatever_its_name_and_kept(tested: Tested, state: str, name: str) -> None:
    _, seconds, _, following = WAYS[state]
    answer = tested(state, error(name))
    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", following)
    assert answer["variables"]["caught"] == [{"Error": name, "Cause": CAUSE, "Step": state}]
    assert answer["variables"]["durations"][seconds] > 0


@pytest.mark.parametrize("state", ["Compensate", "TearDown", "Report"])
def test_a_later_error_is_kept_after_the_first(tested: Tested, state: str) -> None:
    answer = tested(state, error("AccessDenied"), caught=[EARLIER])
    assert answer["variables"]["caught"] == [
        EARLIER,
        {"Error": "AccessDenied", "Cause": CAUSE, "Step": state},
    ]


@pytest.mark.parametrize("state", WAYS)
@pytest.mark.parametrize("name", ["Throttled", "Lambda.TooManyRequestsException", "ServiceUnavailable"])
def test_every_step_tries_again_what_passes(tested: Tested, state: str, name: str) -> None:
    assert tested(state, error(name))["status"] == "RETRIABLE"


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("CapacityUnavailable", {"Train", "CreateModel", "Deploy", "Compensate"}),
        ("EndpointBusy", {"Deploy", "Compensate", "TearDown"}),
        ("DatasetReplaced", {"Prepare"}),
        ("Sandbox.Timedout", set(WAYS) - {"Prepare"}),
        ("AccessDenied", set()),
        ("InvalidDataset", set()),
        ("TrainingFailed", set()),
        ("SmokeTestFailed", set()),
        ("States.Timeout", set()),
    ],
)
def test_what_does_not_pass_everywhere_is_tried_again_where_it_does(
    tested: Tested, name: str, states: set[str]
) -> None:
    assert {state for state in WAYS if tested(state, error(name))["status"] == "RETRIABLE"} == states


@pytest.mark.parametrize("state", WAYS)
def test_trying_again_comes_to_an_end(tested: Tested, state: str) -> None:
    answer = tested(state, error("Throttled"), attempt=12)
    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", WAYS[state][3])


@pytest.mark.parametrize("state", WAITS)
def test_a_waiting_step_hands_out_its_token_and_looks_again_without_an_answer(
    tested: Tested, state: str
) -> None:
    answer = tested(state, error("States.Timeout", ""))
    assert answer["afterArguments"]["Payload"]["token"] == "token"
    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", state)
    assert answer["variables"]["caught"] == []


@pytest.mark.parametrize(("state", "following"), [("Plan", "Report"), ("Deploy", "Compensate")])
def test_nothing_to_do_is_not_an_error(tested: Tested, state: str, following: str) -> None:
    answer = tested(state, error("NothingToDo"))
    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", following)
    assert answer["variables"]["caught"] == []
    assert answer["variables"]["skipped"] == {"Error": "NothingToDo", "Cause": CAUSE, "Step": state}


@pytest.mark.parametrize(
    ("outcome", "following"),
    [("prepared", "Train"), ("waiting", "Report"), ("superseded", "Report"), ("ignored", "Report")],
)
def test_only_prepared_data_is_trained_on(tested: Tested, outcome: str, following: str) -> None:
    assert tested("Prepared?", prepared={"outcome": outcome})["nextState"] == following


@pytest.mark.parametrize(("accepted", "following"), [(True, "CreateModel"), (False, "Report")])
def test_only_an_accepted_model_is_deployed(tested: Tested, accepted: bool, following: str) -> None:
    assert tested("Accepted?", evaluated={"accepted": accepted})["nextState"] == following


@pytest.mark.parametrize(
    ("teardown", "errors", "following"),
    [
        ("never", 0, "Report"),
        ("never", 1, "Report"),
        ("on_failure", 0, "Report"),
        ("on_failure", 2, "TearDown"),
        ("always", 0, "TearDown"),
        ("always", 1, "TearDown"),
    ],
)
def test_the_tear_down_is_as_asked(tested: Tested, teardown: str, errors: int, following: str) -> None:
    caught = [EARLIER] * errors
    assert tested("TearDown?", run={"teardown": teardown}, caught=caught)["nextState"] == following


@pytest.mark.parametrize(("errors", "following"), [(0, "Succeeded"), (1, "Failed"), (2, "Failed")])
def test_any_error_makes_a_failed_run(tested: Tested, errors: int, following: str) -> None:
    caught = [EARLIER] * errors
    assert tested("Failed?", caught=caught)["nextState"] == following


def test_success_is_the_end(tested: Tested) -> None:
    assert tested("Succeeded")["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (CAUSE, 'a "quoted"\nsentence'),
        ("AlgorithmError: exit code 1", "AlgorithmError: exit code 1"),
        ("", ""),
        ("{", "{"),
        ('{"errorMessage": null}', '{"errorMessage": null}'),
        ('{"errorMessage": "cut off by AW', '{"errorMessage": "cut off by AW'),
        (json.dumps({"errorType": "X", "errorMessage": "back\\slash \u2713"}), "back\\slash \u2713"),
    ],
)
def test_the_failure_is_told_in_a_sentence_whatever_the_cause(
    tested: Tested, cause: str, sentence: str
) -> None:
    answer = tested("Failed", caught=[{"Error": "TrainingFailed", "Cause": cause, "Step": "Train"}])
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
