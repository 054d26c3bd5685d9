"""State machine, functions and contracts agree, and no state lacks what every state must have."""

import importlib
import inspect
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.request import TrainingResources
from coordination import lease, task_tokens
from core import errors

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "statemachine" / "pipeline.asl.json").read_text()
MACHINE = json.loads(TEXT)
STATES: dict[str, dict[str, Any]] = MACHINE["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
CHOICES = {name: state for name, state in STATES.items() if state["Type"] == "Choice"}
ENDS = {name for name, state in STATES.items() if state["Type"] in ("Succeed", "Fail")}
# Those that give out a task token.
WAITING = ["Acquire", "Train", "Deploy"]
# The module whose handler each task calls.


def module_of(state: str) -> str:
    """The module of a state's function has the state's name."""
    return f"steps.{re.sub('(?<!^)(?=[A-Z])', '_', state).lower()}"


# Errors that Step Functions and Lambda raise on their own.
SERVICE_ERRORS = re.compile(r"^(States|Lambda|Sandbox|Runtime)\.\w+$")
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
LONGEST_HISTORY = 25_000
# The longest that a waiting state waits for an answer, by its TimeoutSeconds.
LONGEST_WAIT = 900


def followers(name: str) -> Iterator[str]:
    """The states that may come after this one."""
    state = STATES[name]
    for place in [state, *state.get("Choices", []), *state.get("Catch", [])]:
        if "Next" in place:
            yield place["Next"]
    if "Default" in state:
        yield state["Default"]


def reachable(start: str, *, without: str = "") -> set[str]:
    """Every state that may come from `start` on, if `without` were not there."""
    found: set[str] = set()
    open_ends = [start]
    while open_ends:
        name = open_ends.pop()
        if name not in found and name != without:
            found.add(name)
            open_ends += followers(name)
    return found


def retry_of(name: str, error: str) -> dict[str, Any]:
    """What a task does about an error that it tries again for hours; no other error shares its attempts."""
    (retry,) = [retry for retry in TASKS[name]["Retry"] if error in retry["ErrorEquals"]]
    assert retry["ErrorEquals"] == [error]
    return dict(retry)


def hours(retry: dict[str, Any]) -> float:
    """How long it is tried. With full jitter a pause is half of its ceiling on average."""
    return float(retry["MaxAttempts"] * retry["MaxDelaySeconds"] / 2 / 3600)


def test_it_is_jsonata_and_outlasts_the_longest_training_without_running_for_ever() -> None:
    assert MACHINE["QueryLanguage"] == "JSONata"
    resources = TrainingResources.model_json_schema()["properties"]
    longest = resources["max_wait_seconds"]["anyOf"][0]["maximum"]
    assert 2 * longest < MACHINE["TimeoutSeconds"]


# --- the way through


@pytest.mark.parametrize("name", STATES)
def test_every_state_says_what_it_is_for(name: str) -> None:
    assert STATES[name]["Comment"].endswith((".", "?"))


def test_every_state_is_reached_and_comes_to_an_end() -> None:
    assert reachable(MACHINE["StartAt"]) == set(STATES)
    assert all(reachable(name) & ENDS for name in STATES)


def test_no_run_ends_without_a_report() -> None:
    assert not reachable(MACHINE["StartAt"], without="Report") & ENDS


def test_nothing_is_touched_without_the_lease() -> None:
    assert reachable(MACHINE["StartAt"], without="Acquire") == {
        "Begin",
        "Plan",
        "Uploaded?",
        "Gather",
        "Quiet?",
        "QuietPeriod",
        "Report",
        "Failed?",
        *ENDS,
    }


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_has_a_default(name: str) -> None:
    assert CHOICES[name]["Default"] in STATES


@pytest.mark.parametrize("name", TASKS)
def test_every_task_catches_everything_at_last(name: str) -> None:
    last = TASKS[name]["Catch"][-1]
    assert last["ErrorEquals"] == ["States.ALL"]
    assert "caught" in last["Assign"]
    assert last["Next"] == {
        # Before the lease, and where a model is only looked for, nothing was made that could be undone.
        **dict.fromkeys(["Plan", "Gather", "Acquire", "FindModel"], "Report"),
        "Compensate": "TearDown?",
        "TearDown": "Report",
        "Report": "Failed",
    }.get(name, "Compensate")


def test_every_reason_for_not_training_ends_politely() -> None:
    (choice,) = STATES["Prepared?"]["Choices"]
    assert choice == {"Condition": "{% $prepared.outcome = 'prepared' %}", "Next": "Source"}
    assert STATES["Prepared?"]["Default"] == "Report"


# --- trying again


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
def test_a_function_whose_process_ended_is_tried_again(name: str) -> None:
    """Killed, perhaps for want of memory; which Prepare would want again, having read as much as before."""
    (attempts,) = [
        retry["MaxAttempts"] for retry in TASKS[name]["Retry"] if "Runtime.ExitError" in retry["ErrorEquals"]
    ]
    assert attempts == 2 if name == "Prepare" else attempts > 2


@pytest.mark.parametrize("name", ["Train", "Deploy", "Compensate"])
def test_a_lack_of_capacity_is_given_hours(name: str) -> None:
    retry = retry_of(name, "CapacityUnavailable")
    assert retry["IntervalSeconds"] >= 60
    assert hours(retry) >= 3


@pytest.mark.parametrize("name", ["Deploy", "TearDown", "Compensate"])
def test_a_busy_endpoint_is_given_longer_than_an_update_may_take(name: str) -> None:
    """Eight hours at most: MaximumExecutionTimeoutInSeconds in BlueGreenUpdatePolicy's reference."""
    assert hours(retry_of(name, "EndpointBusy")) > 8


def test_no_pause_is_as_long_as_the_lease() -> None:
    pauses = [retry["MaxDelaySeconds"] for state in TASKS.values() for retry in state["Retry"]]
    assert 2 * max(pauses) <= lease.SECONDS


@pytest.mark.parametrize("name", TASKS)
def test_only_a_state_with_the_lease_tries_for_hours(name: str) -> None:
    """Each attempt renews it. A state that does not could have lost it by the time that it succeeds."""
    longest = max(hours(retry) for retry in TASKS[name]["Retry"])
    assert longest < 0.25 or "lease" in TASKS[name]["Arguments"]["Payload"]


def test_every_error_that_is_matched_exists() -> None:
    for state in TASKS.values():
        for matcher in [*state["Retry"], *state["Catch"]]:
            for error in matcher["ErrorEquals"]:
                known = issubclass(getattr(errors, error, object), errors.PipelineError)
                assert known or error == task_tokens.YOUR_TURN or SERVICE_ERRORS.match(error), error


# --- waiting


def test_only_the_waiting_states_wait_and_they_look_again() -> None:
    waiting = [name for name, state in TASKS.items() if state["Resource"].endswith(".waitForTaskToken")]
    assert waiting == WAITING
    for name in waiting:
        woken = [task_tokens.YOUR_TURN] if name == "Acquire" else []
        assert TASKS[name]["Catch"][0] == {"ErrorEquals": ["States.Timeout", *woken], "Next": name}


def test_the_longest_run_fits_into_an_execution_history() -> None:
    """Thirty days of looking again, the most gathering that there is, and every attempt of every retry."""
    # Entered, scheduled, started, submitted, timed out, exited. The first hundred minutes have shorter waits.
    looks = 6 * (MACHINE["TimeoutSeconds"] / LONGEST_WAIT + 20 * len(WAITING))
    # Scheduled, started, failed.
    attempts = 3 * sum(retry["MaxAttempts"] for state in TASKS.values() for retry in state["Retry"])
    # Two looks in each of twenty periods: five events of Gather, two each of Quiet? and QuietPeriod.
    gathering = 9 * 2 * 20
    assert looks + attempts + gathering + 5 * len(STATES) < LONGEST_HISTORY


@pytest.mark.parametrize("name", WAITING)
def test_a_wait_is_some_minutes_and_longer_for_who_has_waited_long(name: str) -> None:
    """What the expression comes to is tested where there is JSONata, in tests/integration."""
    assert TASKS[name]["TimeoutSeconds"].startswith(f"{{% $min([{LONGEST_WAIT}, 300 + ")
    assert LONGEST_WAIT < lease.SECONDS, "a run that was given the lease comes for it in time"


# --- documents


@pytest.mark.parametrize("name", TASKS)
def test_every_task_gives_its_function_exactly_what_its_handler_asks_for(name: str) -> None:
    handler = inspect.unwrap(importlib.import_module(module_of(name)).handler)
    contract = next(iter(typing.get_type_hints(handler).values()))
    assert set(TASKS[name]["Arguments"]["Payload"]) == set(contract.model_fields)


def test_every_task_calls_a_function_of_its_own() -> None:
    called = [state["Arguments"]["FunctionName"] for state in TASKS.values()]
    assert len(set(called)) == len(called)
    assert all(re.fullmatch(r"\$\{\w+FunctionArn\}", arn) for arn in called)


@pytest.mark.parametrize("name", TASKS)
def test_a_document_goes_under_its_own_name(name: str) -> None:
    for field, expression in TASKS[name]["Arguments"]["Payload"].items():
        words = re.sub(r"_(\w)", lambda letter: letter[1].upper(), field)
        assert expression == f"{{% ${words} %}}" or field in ("token", "request", "durations")


def test_every_variable_has_a_value_from_the_start_and_a_reader() -> None:
    functions = {"millis", "merge", "exists", "count", "match", "parse", "substring", "join", "sum"}
    functions |= {"min", "floor"}
    local = {"cause", "said", "sentence", "after"}
    read = set(re.findall(r"\$(\w+)", TEXT)) - functions - local - {"states"}
    begun = set(STATES["Begin"]["Assign"])
    assert read == begun
    for state in STATES.values():
        for place in [state, *state.get("Choices", []), *state.get("Catch", [])]:
            assert set(place.get("Assign", {})) <= begun
