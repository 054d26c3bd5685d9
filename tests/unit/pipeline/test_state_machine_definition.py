"""State machine, functions and contracts agree, and no state lacks what every state must have."""

import importlib
import inspect
import json
import re
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.base import Contract
from contracts.request import TrainingResources
from coordination import lease, task_tokens
from core import errors
from scripts import write_state_machine

TEXT = write_state_machine.DEFINITION.read_text(encoding="utf-8")
MACHINE = json.loads(TEXT)
STATES: dict[str, dict[str, Any]] = MACHINE["States"]
# The states of a child, which reads one item.
CHILD: dict[str, dict[str, Any]] = STATES["ReadUploads"]["ItemProcessor"]["States"]
ALL = {**STATES, **CHILD}
TASKS = {name: state for name, state in ALL.items() if state["Type"] == "Task"}
RETRIES = [retry for state in ALL.values() for retry in state.get("Retry", [])]
ENDS = {name for name, state in STATES.items() if state["Type"] in ("Succeed", "Fail")}
WAITING = [name for name, state in TASKS.items() if state["Resource"].endswith(".waitForTaskToken")]
# Errors that Step Functions and Lambda raise on their own.
SERVICE_ERRORS = re.compile(r"^(States|Lambda|Sandbox|Runtime)\.\w+$")
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
LONGEST_HISTORY = 25_000
# The longest wait for a reply to a task token, in seconds, by TimeoutSeconds.
LONGEST_WAIT = 900
FUNCTION_LIMIT = 900
"""The longest time of a Lambda function, in seconds."""


def followers(name: str) -> Iterator[str]:
    """The states that may come next."""
    state = STATES[name]
    for place in [state, *state.get("Choices", []), *state.get("Catch", [])]:
        if "Next" in place:
            yield place["Next"]
    if "Default" in state:
        yield state["Default"]


def reachable(start: str, *, without: str = "") -> set[str]:
    """Every state that may come from `start` on, without passing through `without`."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in found and name != without:
            found.add(name)
            waiting += followers(name)
    return found


def retry_of(name: str, error: str) -> dict[str, Any]:
    """The retrier of an error that shares its attempts with no other error."""
    found: list[dict[str, Any]] = [retry for retry in TASKS[name]["Retry"] if error in retry["ErrorEquals"]]
    assert [retry["ErrorEquals"] for retry in found] == [[error]]
    return found[0]


def hours(retry: dict[str, Any]) -> float:
    """How long the attempts last. With full jitter, a delay is half of its maximum on average."""
    return float(retry["MaxAttempts"] * retry["MaxDelaySeconds"] / 2 / 3600)


def test_the_json_is_written_from_the_yaml() -> None:
    """If this fails, run `make generate`."""
    assert write_state_machine.definition(write_state_machine.SOURCE.read_text(encoding="utf-8")) == TEXT


def test_it_outlasts_the_longest_training_without_running_for_ever() -> None:
    resources = TrainingResources.model_json_schema()["properties"]
    longest = resources["max_wait_seconds"]["anyOf"][0]["maximum"]
    assert 2 * longest < MACHINE["TimeoutSeconds"]


# --- the way through


def test_every_state_says_what_it_is_for() -> None:
    assert [name for name, state in ALL.items() if not state["Comment"].endswith(".")] == []


def test_every_state_is_reached_and_comes_to_an_end() -> None:
    assert reachable(MACHINE["StartAt"]) == set(STATES)
    assert all(reachable(name) & ENDS for name in STATES)


def test_every_choice_has_a_default() -> None:
    assert all("Default" in state for state in STATES.values() if state["Type"] == "Choice")


def test_no_run_ends_without_a_report() -> None:
    assert not reachable(MACHINE["StartAt"], without="Report") & ENDS


def test_nothing_changes_without_the_lease() -> None:
    before = {"Begin", "Plan", "Uploaded?", "Gather", "Quiet?", "QuietPeriod"}
    assert reachable(MACHINE["StartAt"], without="Acquire") == {*before, "Report", "Failed?", *ENDS}


# --- retries


@pytest.mark.parametrize("name", TASKS)
def test_a_task_retries_named_errors_with_jitter_and_a_maximum(name: str) -> None:
    named: list[str] = []
    for retry in TASKS[name]["Retry"]:
        assert retry["JitterStrategy"] == "FULL"
        assert retry["IntervalSeconds"] <= retry["MaxDelaySeconds"] <= 900
        assert retry["MaxAttempts"] >= 1
        named += retry["ErrorEquals"]
    assert len(named) == len(set(named))
    assert "States.ALL" not in named


@pytest.mark.parametrize("name", ["ListUploads", "ReadUpload", "AssembleDataset"])
def test_a_step_that_may_take_all_of_its_time_has_three_attempts(name: str) -> None:
    """After a timeout, or if Lambda ended it for its memory: it would probably need as much again."""
    (retry,) = [retry for retry in TASKS[name]["Retry"] if "Runtime.ExitError" in retry["ErrorEquals"]]
    assert set(retry["ErrorEquals"]) == {"Sandbox.Timedout", "Lambda.Unknown", "Runtime.ExitError"}
    assert retry["MaxAttempts"] == 2


def test_an_item_waits_for_its_turn_in_a_small_account() -> None:
    """Forty items at a time, of a quarter of an hour each, by ten functions: three rounds before the last."""
    (retry,) = [retry for retry in TASKS["ReadUpload"]["Retry"] if "Throttled" in retry["ErrorEquals"]]
    assert hours(retry) > 3 * 0.25


@pytest.mark.parametrize("name", ["Train", "Deploy", "Compensate"])
def test_a_task_waits_hours_for_capacity(name: str) -> None:
    retry = retry_of(name, "CapacityUnavailable")
    assert retry["IntervalSeconds"] >= 60
    assert hours(retry) >= 3


def test_no_task_retries_what_waiting_does_not_help() -> None:
    assert not [retry for retry in RETRIES if "QuotaTooSmall" in retry["ErrorEquals"]]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_retries_for_minutes_if_lambda_has_no_concurrency_left(name: str) -> None:
    """The functions of a new account may have ten invocations at once, for all of its stacks."""
    retries = TASKS[name]["Retry"]
    (throttled,) = [retry for retry in retries if "Lambda.TooManyRequestsException" in retry["ErrorEquals"]]
    assert hours(throttled) >= 0.1


@pytest.mark.parametrize("name", ["Deploy", "Teardown", "Compensate"])
def test_a_task_waits_longer_for_the_endpoint_than_an_update_may_take(name: str) -> None:
    """Eight hours at most: MaximumExecutionTimeoutInSeconds in BlueGreenUpdatePolicy's reference."""
    assert hours(retry_of(name, "EndpointBusy")) > 8


def test_no_delay_or_wait_is_as_long_as_the_lease() -> None:
    assert 2 * max(retry["MaxDelaySeconds"] for retry in RETRIES) <= lease.SECONDS
    assert LONGEST_WAIT < lease.SECONDS, "a run that was given the lease acquires it before it expires"


def test_the_lease_outlasts_the_longest_way_from_one_renewal_to_the_next() -> None:
    """From AssembleDataset to Train: three attempts that take all of their time, and average pauses."""
    between = ("AssembleDataset", "Source", "Champion")
    assert all("lease" not in TASKS[name]["Arguments"]["Payload"] for name in between[1:])
    assert "lease" in TASKS["Train"]["Arguments"]["Payload"]
    pauses = 3600 * sum(hours(retry) for name in between for retry in TASKS[name]["Retry"])
    assert 3 * FUNCTION_LIMIT + pauses < lease.SECONDS


@pytest.mark.parametrize("name", TASKS)
def test_only_a_task_with_the_lease_retries_for_hours(name: str) -> None:
    """Each attempt renews the lease. Without it, the lease could have expired when an attempt succeeds."""
    longest = max(hours(retry) for retry in TASKS[name]["Retry"])
    assert longest < 0.25 or "lease" in TASKS[name]["Arguments"]["Payload"]


def test_every_error_that_is_matched_exists() -> None:
    matchers = [
        matcher for state in ALL.values() for matcher in [*state.get("Retry", []), *state.get("Catch", [])]
    ]
    for error in {error for matcher in matchers for error in matcher["ErrorEquals"]}:
        known = issubclass(getattr(errors, error, object), errors.PipelineError)
        assert known or error == task_tokens.YOUR_TURN or SERVICE_ERRORS.match(error), error


def test_the_longest_run_fits_into_an_execution_history() -> None:
    """Thirty days of waits, the most gathering that is possible, and every attempt of every retry."""
    # Entered, scheduled, started, submitted, timed out, exited. Waits are shorter for a hundred minutes.
    waits = 6 * (MACHINE["TimeoutSeconds"] / LONGEST_WAIT + 20)
    # Scheduled, started, failed.
    attempts = 3 * sum(retry["MaxAttempts"] for state in STATES.values() for retry in state.get("Retry", []))
    # Two looks in each of twenty periods: five events of Gather, two each of Quiet? and QuietPeriod.
    gathering = 9 * 2 * 20
    assert waits + attempts + gathering + 5 * len(STATES) < LONGEST_HISTORY
    for name in WAITING:
        # What the expression evaluates to is tested in tests/integration, where there is JSONata.
        assert TASKS[name]["TimeoutSeconds"].startswith(f"{{% $min([{LONGEST_WAIT}, 300 + ")


# --- functions and their contracts


@pytest.mark.parametrize("name", TASKS)
def test_state_function_module_and_contract_have_one_name(name: str) -> None:
    assert TASKS[name]["Arguments"]["FunctionName"] == f"${{{name}FunctionArn}}"
    assert contract_of(name).__name__ == f"{name}Input"


@pytest.mark.parametrize("name", TASKS)
def test_a_task_passes_exactly_what_the_contract_of_its_function_asks_for(name: str) -> None:
    assert set(TASKS[name]["Arguments"]["Payload"]) == set(contract_of(name).model_fields)


def contract_of(state: str) -> type[Contract]:
    """The type of the handler's input, in the module that has the state's name."""
    module = importlib.import_module(f"steps.{re.sub('(?<!^)(?=[A-Z])', '_', state).lower()}")
    contract: type[Contract] = next(iter(typing.get_type_hints(inspect.unwrap(module.handler)).values()))
    return contract


@pytest.mark.parametrize("name", TASKS)
def test_a_task_passes_a_variable_under_its_own_name(name: str) -> None:
    # A child has no variables, only its input.
    scope = "states.input." if name in CHILD else ""
    for field, expression in TASKS[name]["Arguments"]["Payload"].items():
        assert expression == f"{{% ${scope}{field} %}}" or field in ("token", "request", "execution")


def test_the_children_see_no_variable() -> None:
    """A distributed Map's child is an execution of its own."""
    assert set(re.findall(r"\$(\w+)", json.dumps(CHILD))) & set(STATES["Begin"]["Assign"]) == set()
    selected = STATES["ReadUploads"]["ItemSelector"]
    read = set(re.findall(r"\$states\.input\.(\w+)", json.dumps(CHILD)))
    assert read == set(selected)


def test_every_variable_has_a_value_from_the_start_and_is_read() -> None:
    functions = {
        "millis",
        "toMillis",
        "exists",
        "count",
        "match",
        "parse",
        "substring",
        "join",
        "min",
        "floor",
        "append",
        "max",
    }
    local = {"states", "cause", "message", "sentence", "later", "errors", "first"}
    initial = set(STATES["Begin"]["Assign"])
    assert set(re.findall(r"\$(\w+)", TEXT)) - functions - local == initial
    for state in STATES.values():
        for place in [state, *state.get("Choices", []), *state.get("Catch", [])]:
            assert set(place.get("Assign", {})) <= initial
