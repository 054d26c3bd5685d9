"""Random interleavings of uploads, faults and aborts: whatever happens, the same things hold afterwards."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults.conftest import KEPT
from tests.faults.plan import Faults
from tests.faults.world import World
from tests.stack import DeployedStack

EXAMPLES = 200

Action = Callable[[World], None]


def _upload(dataset: str, version: int) -> Action:
    return lambda world: world.upload(dataset, version)


def _start(document: dict[str, Any]) -> Action:
    return lambda world: void(world.stack.start(document))


def void(_: object) -> None:
    """Nothing: an action answers nothing."""


def _abort(which: int) -> Action:
    def abort(world: World) -> None:
        running = world.running()
        if running:
            # It may have ended in the moment between.
            with contextlib.suppress(world.states.exceptions.ClientError):
                world.abort(running[which % len(running)])

    return abort


def _pause(seconds: float) -> Action:
    return lambda _: time.sleep(seconds)


def _fault(method: str, *arguments: Any, **options: Any) -> Action:
    return lambda world: void(getattr(world.faults, method)(*arguments, **options))


CALLS = ("CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "UpdateEndpoint", "CreateEndpoint",
         "CreateModelPackage", "UpdateItem", "SendTaskSuccess", "StartExecution",
         "DescribeEndpoint")  # fmt: skip
FUNCTIONS = (
    ("gather", "UpdateItem"),
    ("acquire", "UpdateItem"),
    ("training", "CreateTrainingJob"),
    ("deploy", "UpdateEndpoint"),
    ("register", "CreateModelPackage"),
    ("ended", "UpdateItem"),
)
named: dict[str, st.SearchStrategy[Action]] = {
    "upload": st.builds(_upload, st.sampled_from(["a", "b"]), st.integers(0, 3)),
    "start": st.sampled_from(["a", "b"]).map(lambda name: _start({"dataset": name, "force": True})),
    "rollback": st.just(_start({"model": "previous"})),
    "abort": st.integers(0, 3).map(_abort),
    "pause": st.sampled_from([0.02, 0.1, 0.3]).map(_pause),
    "refused": st.builds(
        _fault, st.sampled_from(["throttle", "internal_error", "lose_answer"]), st.sampled_from(CALLS)
    ),
    "killed": st.tuples(st.sampled_from(FUNCTIONS), st.sampled_from(["before", "after"])).map(
        lambda drawn: _fault("kill", *drawn[0], when=drawn[1])
    ),
    "job": st.sampled_from(["Failed", "Stopped", "MaxRuntimeExceeded", "Interrupted"]).map(
        lambda outcome: _fault("job", outcome)
    ),
    "event": st.builds(
        _fault,
        st.just("event"),
        st.sampled_from(["training-job", "endpoint", "upload", "execution"]),
        st.sampled_from(["lost", "doubled", "late"]),
        seconds=st.just(0.2),
    ),
    "reverted": st.just(_fault("update_reverts")),
    "failing endpoint": st.just(_fault("create_fails", "It did not start.")),
    "bad answers": st.sampled_from(["empty", "garbage", "failing"]).map(
        lambda how: _fault("answer", how, times=2)
    ),
    "worse model": st.just(_fault("metrics", test_perplexity=900.0, challenger_perplexity=900.0)),
}
steps = st.lists(
    st.one_of([action.map(lambda a, n=name: (n, a)) for name, action in named.items()]),
    min_size=2,
    max_size=8,
)


@pytest.mark.timeout(1800)
def test_whatever_happens_nothing_is_lost_and_nothing_is_left(
    deployed: DeployedStack, faults: Faults
) -> None:
    world = World(deployed, faults)
    began = time.monotonic()
    count = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(steps)
    def interleaving(drawn: list[tuple[str, Action]]) -> None:
        nonlocal count
        count += 1
        faults.reset(KEPT)
        faults.wait_at_most(0.5)
        for name, action in drawn:
            try:
                action(world)
            except Exception as error:
                raise AssertionError(f"{name} of {[each for each, _ in drawn]}: {error}") from error
        settle(world)

    try:
        interleaving()
    finally:
        print(f"{count} interleavings in {time.monotonic() - began:.0f} s")


def settle(world: World) -> None:
    """Let everything end, have the sweep come, and look."""
    # The sweep comes once a day: no function of an execution that was aborted is at work by then.
    world.until(lambda: not world.faults.functions_at_work() and not world.running(), "all to end", pause=0.1)
    world.faults.clear()
    world.sweep()
    world.assert_sound()
    world.assert_one_at_a_time()
    if world.sagemaker.list_endpoints()["Endpoints"]:
        assert world.answering()
