"""Lease and gathering on the local cloud's DynamoDB, with sixteen threads at once.

DynamoDB decides here whose condition holds. The executions are in memory, and each thread plays its run's
part of the state machine.
"""

import inspect
import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from botocore.config import Config

from contracts.run import AcquireInput, Execution, GatherInput, Lease, PlanInput, Run
from coordination import arrivals, lease
from coordination.handover import hand_over
from core import aws
from core.errors import LeaseLost, ServiceUnavailable
from localcloud.control import LocalCloud
from reporting import sns_messages
from steps import acquire, gather, plan
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory

THREADS = 16
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:lexline-pipeline"
PATIENCE = 240.0
Result = TypeVar("Result")


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
    monkeypatch.setenv("TABLE", table)
    monkeypatch.setenv("STATE_MACHINE_ARN", MACHINE)
    monkeypatch.setenv("ENDPOINT_NAME", "lexline")
    monkeypatch.setenv("BUCKET", "texts")
    monkeypatch.setenv("QUIET_SECONDS", "60")
    monkeypatch.setattr(aws, "dynamodb", lambda: dynamodb)
    monkeypatch.setattr(aws, "stepfunctions", lambda: in_memory.client)
    monkeypatch.setattr(sns_messages, "started", lambda run: None)
    return in_memory


def function(handler: Any) -> Callable[[Any], Any]:
    """Return the function without the decorator, whose CloudWatch metrics are not thread-safe."""
    unwrapped: Callable[[Any], Any] = inspect.unwrap(handler)
    return unwrapped


def planned(machine: ExecutionsInMemory, arn: str) -> Run:
    """Return the run of an execution."""
    execution = Execution.model_validate({"id": arn, "started": "2026-03-01T12:00:00Z"})
    run: Run = function(plan.handler)(PlanInput(execution=execution, request=machine.input(arn)))
    return run


def retried(call: Callable[..., Result], *args: object) -> Result:
    """Call until the service is available, as the state machine's Retry does, and Lambda for an event."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call(*args)
        except ServiceUnavailable:
            assert time.monotonic() < deadline, "The service is still unavailable."
            time.sleep(0.01)


def acquired(machine: ExecutionsInMemory, run: Run, timeout: float = PATIENCE) -> Lease:
    """Wait in the Acquire state for the lease; after `timeout` seconds the state is entered again."""
    arn, deadline = run.execution.id, time.monotonic() + PATIENCE
    while True:
        retried(function(acquire.handler), AcquireInput(token=machine.wait(arn), run=run))
        entered = time.monotonic()
        while not machine.heard(arn) and time.monotonic() < entered + timeout:
            time.sleep(0.005)
        if machine.heard(arn) == "Success":
            return Lease.model_validate_json(machine.executions[arn].output)
        assert time.monotonic() < deadline, f"Run {run.name} was not woken."


class Adopted:
    """The executions that the pipeline itself starts for a purpose; `more` returns each of them once."""

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
    """Call `work(number)` in all threads, which begin together. Raise what one of them raises."""
    start = threading.Barrier(THREADS)

    def begin(number: int) -> None:
        start.wait(PATIENCE)
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(begin, number) for number in range(THREADS)]:
            done.result()


def test_sixteen_simultaneous_runs_have_the_lease_one_after_another(machine: ExecutionsInMemory) -> None:
    leases: list[Lease] = []
    working = threading.Lock()

    def work(number: int) -> None:
        for turn in range(3):
            run = planned(machine, machine.start(f"run-{number}-{turn}", {"dataset": "sotu"}))
            mine = acquired(machine, run)
            assert working.acquire(blocking=False), "Two runs have the lease at once."
            leases.append(mine)
            for _ in range(2):
                lease.renew(run, mine)
            working.release()
            machine.end(run.execution.id, "SUCCEEDED")
            retried(hand_over, "lexline", run.execution.id)
            with pytest.raises(LeaseLost):
                lease.renew(run, mine)

    in_threads(work)
    assert len({each.owner for each in leases}) == 3 * THREADS
    generations = [each.generation for each in leases]
    assert generations == sorted(set(generations))
    assert lease.read("lexline").owner is None


def test_no_run_waits_for_ever_if_runs_are_aborted_and_events_come_twice_or_never(
    machine: ExecutionsInMemory,
) -> None:
    owners: dict[int, str] = {}
    cleanups = Adopted(machine, "cleanup")
    chance = random.Random(7)
    ended = threading.Event()

    def take(run: Run) -> None:
        mine = acquired(machine, run, timeout=1)
        assert owners.setdefault(mine.generation, mine.owner) == mine.owner, "A generation has two owners."
        lease.renew(run, mine)
        aborted = run.work == "train" and chance.random() < 0.3
        machine.end(run.execution.id, "ABORTED" if aborted else "SUCCEEDED")
        for _ in range(chance.choice((0, 1, 1, 2))):
            retried(hand_over, "lexline", run.execution.id)

    def work(number: int) -> None:
        for turn in range(2):
            take(planned(machine, machine.start(f"run-{number}-{turn}", {"dataset": "sotu"})))

    def clean_up() -> None:
        while not ended.wait(0.02):
            for arn in cleanups.more():
                take(planned(machine, arn))

    with ThreadPoolExecutor(1) as pool:
        cleaner = pool.submit(clean_up)
        try:
            in_threads(work)
            while (held := lease.read("lexline")).execution and not cleaner.done():
                # The sweep does this for the last events, which never came.
                retried(hand_over, "lexline", held.execution)
                time.sleep(0.02)
        finally:
            ended.set()
        cleaner.result()
    assert held.waiting == []
    assert sorted(owners) == list(range(1, held.generation + 1))
    by_status = {arn: execution.status for arn, execution in machine.executions.items()}
    assert "RUNNING" not in by_status.values()
    cleaned = {machine.input(arn)["cleanup_of"]["execution"] for arn in machine.started("cleanup")}
    assert cleaned == {arn for arn, status in by_status.items() if status == "ABORTED"}


def test_each_of_many_simultaneous_uploads_is_listed_by_a_run_that_began_after_it(
    machine: ExecutionsInMemory,
) -> None:
    uploaded: set[str] = set()
    listed: set[str] = set()
    joined: list[str] = []
    adopted = Adopted(machine, "gathered")
    chance = random.Random(7)
    first_turn = threading.Barrier(THREADS)

    def upload(key: str) -> Run:
        uploaded.add(key)
        request = {"upload": {"bucket": "texts", "key": key, "etag": "9b2cf535", "size": 1}}
        return planned(machine, machine.start(key.rpartition("/")[2], request))

    def work(number: int) -> None:
        for turn in range(6):
            run = upload(f"uploads/sotu/{number}-{turn}.txt")
            gathered = retried(function(gather.handler), GatherInput(run=run))
            if turn == 0:
                if gathered.joined:
                    joined.append(gathered.joined)
                first_turn.wait(PATIENCE)
            if gathered.joined:
                continue
            if chance.random() < 0.3:
                # The execution ends before its run begins, and its report says nothing.
                machine.end(run.execution.id, "TIMED_OUT")
                retried(hand_over, "lexline", run.execution.id)
            else:
                arrivals.close(run)
                listed.update(uploaded.copy())
                machine.end(run.execution.id, "SUCCEEDED")
            for _ in adopted.more():
                listed.update(uploaded.copy())

    in_threads(work)
    for _ in adopted.more():
        listed.update(uploaded.copy())
    # All uploads of the first turn gathered before any run began.
    assert (len(joined), len(set(joined))) == (THREADS - 1, 1)
    assert listed == uploaded
    last = function(gather.handler)(GatherInput(run=upload("uploads/sotu/last.txt")))
    assert (last.seconds, last.joined) == (60, None), "An execution still gathers."
