"""State machine, functions and contracts agree, and no state lacks what every state must have."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import contracts
import errors
import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "statemachine" / "pipeline.asl.json").read_text()
MACHINE = json.loads(TEXT)
STATES: dict[str, dict[str, Any]] = MACHINE["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
CHOICES = {name: state for name, state in STATES.items() if state["Type"] == "Choice"}
WAITS = {"Train", "Deploy"}
# state: (module, what its handler is given)
STEPS = {
    "Plan": ("plan", contracts.PlanInput),
    "Prepare": ("prepare", contracts.PrepareInput),
    "Train": ("training", contracts.TrainingInput),
    "Evaluate": ("evaluate", contracts.EvaluateInput),
    "CreateModel": ("create_model", contracts.CreateModelInput),
    "Deploy": ("deploy", contracts.DeployInput),
    "SmokeTest": ("smoke_test", contracts.SmokeTestInput),
    "TearDown": ("teardown", contracts.TeardownInput),
    "Compensate": ("compensate", contracts.CompensateInput),
    "Report": ("report", contracts.ReportInput),
}
# Errors that Step Functions and Lambda raise on their own.
SERVICE_ERRORS = re.compile(r"^(States|Lambda|Sandbox)\.\w+$")


def test_it_is_jsonata_and_cannot_run_for_ever() -> None:
    assert MACHINE["QueryLanguage"] == "JSONata"
    assert MACHINE["TimeoutSeconds"] > 432_000, "longer than the longest training job"


@pytest.mark.parametrize("name", STATES)
def test_every_state_says_what_it_is_for(name: str) -> None:
    assert STATES[name]["Comment"].endswith((".", "?"))


def test_every_state_is_reached_and_leads_somewhere() -> None:
    targets = {MACHINE["StartAt"]}
    for state in STATES.values():
        followers = [state, *state.get("Choices", []), *state.get("Catch", [])]
        targets |= {follower["Next"] for follower in followers if "Next" in follower}
        targets |= {state["Default"]} if "Default" in state else set()
    assert targets == set(STATES)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_has_a_default(name: str) -> None:
    assert CHOICES[name]["Default"] in STATES


@pytest.mark.parametrize("name", TASKS)
def test_every_task_retries_with_jitter_and_a_ceiling(name: str) -> None:
    retries = TASKS[name]["Retry"]
    for retry in retries:
        assert retry["JitterStrategy"] == "FULL"
        assert retry["IntervalSeconds"] <= retry["MaxDelaySeconds"] <= 900
        assert retry["MaxAttempts"] >= 1
        assert "States.ALL" not in retry["ErrorEquals"], "retries name what passes"
    named = [error for retry in retries for error in retry["ErrorEquals"]]
    assert len(named) == len(set(named))
    assert {"Throttled", "Lambda.TooManyRequestsException"} in [
        set(retry["ErrorEquals"]) for retry in retries
    ]
    assert {"Lambda.ServiceException", "ServiceUnavailable"} <= set(named)


@pytest.mark.parametrize("name", TASKS)
def test_a_function_that_ran_out_of_time_is_tried_again_under_either_of_its_names(name: str) -> None:
    """As Sandbox.Timedout or, like a crash, as Lambda.Unknown. Prepare would only take as long again."""
    named = {error for retry in TASKS[name]["Retry"] for error in retry["ErrorEquals"]}
    wanted = set() if name == "Prepare" else {"Sandbox.Timedout", "Lambda.Unknown"}
    assert named & {"Sandbox.Timedout", "Lambda.Unknown"} == wanted


@pytest.mark.parametrize("name", TASKS)
def test_every_task_catches_everything_at_last(name: str) -> None:
    last = TASKS[name]["Catch"][-1]
    assert last["ErrorEquals"] == ["States.ALL"]
    assert "caught" in last["Assign"]


@pytest.mark.parametrize("name", ["Train", "Deploy"])
def test_a_lack_of_capacity_is_given_minutes(name: str) -> None:
    (retry,) = [retry for retry in TASKS[name]["Retry"] if retry["ErrorEquals"] == ["CapacityUnavailable"]]
    assert retry["IntervalSeconds"] >= 60
    assert retry["MaxDelaySeconds"] == 900


@pytest.mark.parametrize("name", ["Deploy", "TearDown", "Compensate"])
def test_a_busy_endpoint_is_given_hours(name: str) -> None:
    (retry,) = [retry for retry in TASKS[name]["Retry"] if retry["ErrorEquals"] == ["EndpointBusy"]]
    # With full jitter a pause is half of its ceiling on average.
    assert retry["MaxAttempts"] * retry["MaxDelaySeconds"] / 2 > 2 * 3600


def test_only_the_waiting_states_wait_and_they_look_again() -> None:
    waiting = {name for name, state in TASKS.items() if state["Resource"].endswith(".waitForTaskToken")}
    assert waiting == WAITS
    for name in WAITS:
        assert TASKS[name]["TimeoutSeconds"] == 300
        assert TASKS[name]["Catch"][0] == {"ErrorEquals": ["States.Timeout"], "Next": name}


def test_every_error_that_is_matched_exists() -> None:
    for state in TASKS.values():
        for matcher in [*state["Retry"], *state["Catch"]]:
            for error in matcher["ErrorEquals"]:
                known = issubclass(getattr(errors, error, object), errors.PipelineError)
                assert known or SERVICE_ERRORS.match(error), error


@pytest.mark.parametrize("name", STEPS)
def test_every_task_gives_its_function_exactly_what_the_contract_asks(name: str) -> None:
    _, contract = STEPS[name]
    assert set(TASKS[name]["Arguments"]["Payload"]) == set(contract.model_fields)


@pytest.mark.parametrize("name", STEPS)
def test_every_task_has_a_function_with_a_handler(name: str) -> None:
    module, _ = STEPS[name]
    assert callable(importlib.import_module(module).handler)


def test_every_task_is_listed_here_and_calls_a_function_of_its_own() -> None:
    assert set(STEPS) == set(TASKS)
    called = [state["Arguments"]["FunctionName"] for state in TASKS.values()]
    assert len(set(called)) == len(called)
    assert all(re.fullmatch(r"\$\{\w+FunctionArn\}", arn) for arn in called)


def test_every_variable_has_a_value_from_the_start_and_a_reader() -> None:
    functions = {"millis", "merge", "exists", "count", "match", "parse", "substring", "join"}
    local = {"cause", "said", "sentence", "after"}
    read = set(re.findall(r"\$(\w+)", TEXT)) - functions - local - {"states"}
    begun = set(STATES["Begin"]["Assign"])
    assert read == begun
    for state in STATES.values():
        for place in [state, *state.get("Catch", [])]:
            assert set(place.get("Assign", {})) <= begun


def test_every_reason_for_not_training_ends_politely() -> None:
    (choice,) = STATES["Prepared?"]["Choices"]
    assert choice == {"Condition": "{% $prepared.outcome = 'prepared' %}", "Next": "Train"}
    assert STATES["Prepared?"]["Default"] == "Report"
