"""Lease and arrivals on the local cloud's DynamoDB, from sixteen threads at once.

The unit tests' table is a fake; here DynamoDB itself decides whose condition holds. The executions are in
memory, and each thread plays its run's part of the state machine.
"""

import inspect
import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config

from contracts.run import AcquireInput, Execution, GatherInput, Lease, PlanInput, Run
from coordination import arrivals, lease
from coordination.handover import hand_over
from core import aws
from core.errors import LeaseLost, NothingToDo, ServiceUnavailable
from localcloud.control import LocalCloud
from reporting import messages
from steps import acquire, gather, plan
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory

THREADS = 16
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:lexline-pipeline"
PATIENCE = 60.0


@pytest.fixture
def machine(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> ExecutionsInMemory:
    """The executions, and a table of this test's own on the local cloud."""
    dynamodb = cloud.client("dynamodb", config=Config(max_pool_connections=THREADS))
    table = f"waits-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "resource", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "resource", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    in_memory = ExecutionsInMemory(MACHINE)
    settings = {
        "TABLE": table,
        "STATE_MACHINE_ARN": MACHINE,
        "ENDPOINT_NAME": "lexline",
        "BUCKET": "texts",
        "QUIET_SECONDS": "60",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws, "dynamodb", lambda: dynamodb)
    monkeypatch.setattr(aws, "stepfunctions", lambda: in_memory.client)
    monkeypatch.setattr(messages, "started", lambda run: None)
    return in_memory


def function(handler: Any) -> Callable[[Any], Any]:
    """A step without what all steps share: its metrics are not for several threads."""
    return inspect.unwrap(handler)


def planned(machine: ExecutionsInMemory, arn: str) -> Run:
    execution = Execution.model_validate({"id": arn, "started": "2026-03-01T12:00:00Z"})
    run: Run = function(plan.handler)(PlanInput(execution=execution, request=machine.input(arn)))
    return run


def retried(call: Callable[[], Any]) -> Any:
    """What the state machine's Retry does, and Lambda's for an event."""
    for _ in range(20):
        try:
            return call()
        except ServiceUnavailable:
            time.sleep(0.01)
    raise AssertionError("still not available after 20 attempts")


def has_turn(machine: ExecutionsInMemory, run: Run, timeout: float = PATIENCE) -> Lease:
    """Wait in the Acquire state until the lease is the run's; after `timeout` seconds it is entered anew."""
    arn, deadline = run.execution.id, time.monotonic() + PATIENCE
    while True:
        token = machine.wait(arn)
        retried(lambda token=token: function(acquire.handler)(AcquireInput(token=token, run=run)))
        asked = time.monotonic()
        while not machine.heard(arn) and time.monotonic() < asked + timeout:
            time.sleep(0.005)
        if machine.heard(arn) == "Success":
            return Lease.model_validate_json(machine.executions[arn].output)
        assert time.monotonic() < deadline, f"nobody woke {run.name}"


class Adopted:
    """The executions that the pipeline itself starts for a purpose, each for the one who asks first."""

    def __init__(self, machine: ExecutionsInMemory, purpose: str) -> None:
        self._machine, self._purpose = machine, purpose
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def more(self) -> list[str]:
        with self._lock:
            new = [arn for arn in self._machine.started(self._purpose) if arn not in self._known]
            self._known.update(new)
        return new


def in_threads(work: Callable[[int], None]) -> None:
    """Let each of the threads do its work, all beginning together; what one of them raises is raised."""
    start = threading.Barrier(THREADS)

    def begin(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(begin, number) for number in range(THREADS)]:
            done.result()


def test_sixteen_runs_at_once_have_the_lease_one_after_another_and_each_has_its_turn(
    machine: ExecutionsInMemory,
) -> None:
    turns: list[tuple[int, str]] = []
    inside = threading.Lock()

    def work(number: int) -> None:
        for turn in range(3):
            run = planned(machine, machine.start(f"run-{number}-{turn}", {"dataset": "sotu"}))
            mine = has_turn(machine, run)
            assert inside.acquire(blocking=False), "two runs at once"
            turns.append((mine.generation, mine.owner))
            for _ in range(2):
                lease.renew(run, mine)
            inside.release()
            machine.end(run.execution.id, "SUCCEEDED")
            retried(lambda arn=run.execution.id: hand_over("lexline", arn))
            with pytest.raises(LeaseLost):
                lease.renew(run, mine)

    in_threads(work)
    assert len(turns) == len({owner for _, owner in turns}) == 3 * THREADS
    generations = [generation for generation, _ in turns]
    assert generations == sorted(set(generations))
    assert lease.read("lexline").owner is None


def test_runs_that_are_aborted_and_events_that_come_twice_or_never_keep_nobody_waiting(
    machine: ExecutionsInMemory,
) -> None:
    owners: dict[int, str] = {}
    adopted = Adopted(machine, "cleanup")
    chance = random.Random(7)

    def take(run: Run) -> None:
        mine = has_turn(machine, run, timeout=1)
        assert owners.setdefault(mine.generation, mine.owner) == mine.owner, "two owners of one generation"
        lease.renew(run, mine)
        aborted = run.work == "train" and chance.random() < 0.3
        machine.end(run.execution.id, "ABORTED" if aborted else "SUCCEEDED")
        for _ in range(chance.choice((0, 1, 1, 2))):
            retried(lambda: hand_over("lexline", run.execution.id))

    def work(number: int) -> None:
        for turn in range(2):
            take(planned(machine, machine.start(f"run-{number}-{turn}", {"dataset": "sotu"})))

    def clean_up() -> None:
        while not calm.wait(0.02):
            for arn in adopted.more():
                take(planned(machine, arn))

    calm = threading.Event()
    cleaner = threading.Thread(target=clean_up)
    cleaner.start()
    try:
        in_threads(work)
        while (held := lease.read("lexline")).execution:
            # The sweep notices the last events that never came.
            hand_over("lexline", held.execution)
            time.sleep(0.02)
    finally:
        calm.set()
        cleaner.join()
    assert held.waiting == []
    assert sorted(owners) == list(range(1, held.generation + 1))
    assert not [arn for arn, execution in machine.executions.items() if execution.status == "RUNNING"]
    aborted = [arn for arn, execution in machine.executions.items() if execution.status == "ABORTED"]
    assert {machine.input(arn)["cleanup_of"]["execution"] for arn in machine.started("cleanup")} == set(
        aborted
    )


def test_of_uploads_that_come_at_once_each_is_seen_by_a_run_that_began_after_it(
    machine: ExecutionsInMemory,
) -> None:
    there: set[str] = set()
    seen: set[str] = set()
    joined: list[str] = []
    adopted = Adopted(machine, "gathered")
    chance = random.Random(7)

    def upload(key: str) -> Run:
        there.add(key)
        told = {"bucket": "texts", "key": key, "etag": "9b2cf535", "size": 1}
        return planned(machine, machine.start(key.rpartition("/")[2], {"upload": told}))

    def work(number: int) -> None:
        for turn in range(6):
            run = upload(f"uploads/sotu/{number}-{turn}.txt")
            try:
                retried(lambda run=run: function(gather.handler)(GatherInput(run=run)))
            except NothingToDo as told:
                joined.append(str(told))
                continue
            time.sleep(chance.random() / 20)
            if chance.random() < 0.3:
                # It ends before its run begins, and nobody wished it.
                machine.end(run.execution.id, "TIMED_OUT")
                retried(lambda arn=run.execution.id: hand_over("lexline", arn))
            else:
                arrivals.close(run)
                seen.update(there.copy())
                machine.end(run.execution.id, "SUCCEEDED")
            for _ in adopted.more():
                seen.update(there.copy())

    in_threads(work)
    for _ in adopted.more():
        seen.update(there.copy())
    assert 0 < len(joined) < 6 * THREADS
    assert seen == there
    # Nobody gathers any more: all have begun, or have been begun for.
    assert function(gather.handler)(GatherInput(run=upload("uploads/sotu/last.txt"))).seconds == 60
