"""Random sequences of uploads, faults and aborts, and the promises that hold after each of them."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults.pipeline import KEPT, Pipeline

Action = Callable[[Pipeline], object]

CALLS = ("CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "UpdateEndpoint", "CreateEndpoint",
         "CreateModelPackage", "UpdateItem", "SendTaskSuccess", "StartExecution",
         "DescribeEndpoint")  # fmt: skip
KILLED = (
    ("gather", "UpdateItem"),
    ("acquire", "UpdateItem"),
    ("train", "CreateTrainingJob"),
    ("deploy", "UpdateEndpoint"),
    ("register", "CreateModelPackage"),
    ("execution_ended", "UpdateItem"),
)


def abort(number: int) -> Action:
    """Return an action that aborts one of the executions in progress."""

    def action(pipeline: Pipeline) -> None:
        running = pipeline.in_progress()
        if running:
            # The execution may have ended since.
            with contextlib.suppress(pipeline.states.exceptions.ClientError):
                pipeline.abort(running[number % len(running)])

    return action


def start(request: dict[str, Any]) -> Action:
    """Return an action that starts an execution."""
    return lambda pipeline: pipeline.stack.start(request)


def upload(dataset: str, version: int) -> Action:
    """Return an action that uploads a version of a dataset."""
    return lambda pipeline: pipeline.upload(dataset, version)


def fault(method: str, *arguments: Any, **options: Any) -> Action:
    """Return an action that adds a fault."""
    return lambda pipeline: getattr(pipeline.faults, method)(*arguments, **options)


ACTIONS: dict[str, st.SearchStrategy[Action]] = {
    "upload": st.builds(upload, st.sampled_from(["a", "b"]), st.integers(0, 3)),
    "start": st.sampled_from(["a", "b"]).map(lambda name: start({"dataset": name, "force": True})),
    "rollback": st.just(start({"model": "previous"})),
    "abort": st.integers(0, 3).map(abort),
    "pause": st.sampled_from([0.02, 0.1, 0.3]).map(lambda seconds: lambda _: time.sleep(seconds)),
    "refused": st.builds(
        fault, st.sampled_from(["throttle", "internal_error", "lose_response"]), st.sampled_from(CALLS)
    ),
    "killed": st.tuples(st.sampled_from(KILLED), st.sampled_from(["before", "after"])).map(
        lambda drawn: fault("kill", *drawn[0], when=drawn[1])
    ),
    "job": st.sampled_from(["Failed", "Stopped", "MaxRuntimeExceeded", "Interrupted"]).map(
        lambda outcome: fault("job", outcome)
    ),
    "event": st.builds(
        fault,
        st.just("event"),
        st.sampled_from(["training-job", "endpoint", "upload", "execution"]),
        st.sampled_from(["lost", "doubled", "late"]),
        seconds=st.just(0.2),
    ),
    "reverted": st.just(fault("update_reverts")),
    "failing endpoint": st.just(fault("create_fails", "It did not start.")),
    "bad responses": st.sampled_from(["empty", "garbage", "failing"]).map(
        lambda how: fault("respond", how, times=2)
    ),
    "worse model": st.just(fault("metrics", test_perplexity=900.0, challenger_perplexity=900.0)),
}
sequences = st.lists(
    st.one_of([st.tuples(st.just(name), action) for name, action in ACTIONS.items()]),
    min_size=2,
    max_size=8,
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_random_sequences_lose_nothing_and_leave_nothing(pipeline: Pipeline, number: int) -> None:
    @settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(sequences)
    def sequence(actions: list[tuple[str, Action]]) -> None:
        pipeline.faults.reset(KEPT)
        pipeline.faults.limit_token_waits(0.5)
        for name, action in actions:
            try:
                action(pipeline)
            except Exception as error:
                raise AssertionError(f"{name} of {[name for name, _ in actions]}: {error}") from error
        check_after_sweep(pipeline)

    sequence()


def check_after_sweep(pipeline: Pipeline) -> None:
    """Wait until everything has ended, invoke the sweep, and check the promises."""

    def ended() -> bool:
        return not pipeline.faults.invocations_in_flight() and not pipeline.in_progress()

    # The sweep comes once a day, so no function of an aborted execution runs any more.
    pipeline.until(ended, "everything to end", pause=0.1)
    pipeline.faults.clear()
    pipeline.sweep()
    pipeline.assert_sound()
    pipeline.assert_one_run_at_a_time()
    if pipeline.sagemaker.list_endpoints()["Endpoints"]:
        assert pipeline.serving_model()
