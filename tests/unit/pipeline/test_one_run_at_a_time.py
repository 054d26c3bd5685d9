"""Lease and arrivals together, in whatever order things happen, and one in the middle of another.

Executions come by upload, by a dataset's name and from the pipeline itself; they wait, work, end and are
ended; events come late, twice or never; time passes. Whatever of this comes about: two runs never hold the
lease, its number only rises, a run that has lost it is stopped, and when all has calmed down nobody waits any
more and every upload was seen by a run.
"""

import contextlib
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from contracts.events import ExecutionChange
from contracts.run import AcquireInput, Execution, GatherInput, Lease, PlanInput, Run
from coordination import arrivals, executions, lease
from coordination.handover import hand_over
from core import aws
from core.errors import LeaseLost, NothingToDo, ServiceUnavailable
from events import execution_ended
from reporting import messages
from steps import acquire, gather, plan
from tests.unit.pipeline.conftest import ENVIRONMENT
from tests.unit.pipeline.dynamodb_in_memory import Item, TableInMemory, plain
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from uploads.listing import UploadedObject

QUIET = float(ENVIRONMENT["QUIET_SECONDS"])
DATASETS = ("sotu", "tales")
ENDS = (("ABORTED", ""), ("TIMED_OUT", ""), ("FAILED", "States.Runtime"), ("FAILED", "AccessDenied"))
TIMES = (1, QUIET / 2, QUIET, 400, lease.SECONDS + 1)
# Mostly that an execution moves on, else nothing would ever come far.
KINDS = (
    *("step",) * 8,
    *("upload", "by name", "end", "event", "event", "event twice", "time"),
    *("event lost", "upload without event", "straggler"),
)
HAPPENINGS = st.tuples(st.sampled_from(KINDS), st.integers(0, 39))


def function(handler: Any) -> Callable[[Any], Any]:
    """A step without what all steps share, which has no part in the order of things."""
    return inspect.unwrap(handler)


class WatchedTable(TableInMemory):
    """Looks at each write of the lease."""

    def _write(self, key: str, item: Item | None) -> None:
        if key.startswith("endpoint/") and item:
            was, now = self.get(key), {name: plain(value) for name, value in item.items()}
            rises = now["generation"] - was.get("generation", 0)
            if now.get("owner") and now["owner"] != was.get("owner"):
                assert rises == 1, "a new holder, and not a new number"
            else:
                assert rises == 0, "a new number without a new holder"
        super()._write(key, item)


@dataclass
class Life:
    """An execution, and how far it is in the state machine. `key` is the upload that it came with."""

    arn: str
    run: Run
    at: Literal["Gather", "QuietPeriod", "Acquire", "Prepare", "Train", "end"]
    key: str = ""
    lease: Lease | None = None
    busy: bool = False


class Pipeline(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        for name, value in ENVIRONMENT.items():
            self.patches.setenv(name, value)
        self.table = WatchedTable(ENVIRONMENT["TABLE"])
        self.machine = ExecutionsInMemory(ENVIRONMENT["STATE_MACHINE_ARN"])
        self.patches.setattr(aws, "dynamodb", lambda: self.table.client)
        self.patches.setattr(aws, "stepfunctions", lambda: self.machine.client)
        self.patches.setattr(messages, "started", lambda run: None)
        self.passed = 0.0
        now = time.time
        self.patches.setattr(time, "time", lambda: now() + self.passed)
        self.lives: dict[str, Life] = {}
        self.events: list[str] = []
        self.objects: dict[str, dict[str, UploadedObject]] = {dataset: {} for dataset in DATASETS}
        self.unseen: set[str] = set()
        # Uploads that need no run: somebody aborted theirs, or was told why it failed.
        self.given_up: set[str] = set()
        self.events_get_lost = False
        # Whether something happened that only the daily sweep can make up for.
        self.sweep_is_needed = False

    # --- the state machine

    def begin(self, name: str, document: Any, key: str = "") -> None:
        self.adopt(self.machine.start(name, document), key)

    def adopt(self, arn: str, key: str = "") -> None:
        """Plan the run of an execution that has just started."""
        execution = Execution.model_validate({"id": arn, "started": "2026-03-01T12:00:00Z"})
        run = function(plan.handler)(PlanInput(execution=execution, request=self.machine.input(arn)))
        self.lives[arn] = Life(arn, run, "Gather" if run.upload else "Acquire", key)

    def move(self, life: Life) -> None:
        """Take an execution's next step. One that failed for a while is tried again another time."""
        steps = {"Acquire": self.acquire, "Prepare": self.prepare, "Train": self.finish}
        life.busy = True
        with contextlib.suppress(ServiceUnavailable):
            steps.get(life.at, self.gather)(life)
        life.busy = False

    def gather(self, life: Life) -> None:
        try:
            seconds = function(gather.handler)(GatherInput(run=life.run)).seconds
        except NothingToDo:
            # From now on it is for the gatherer's run to see the upload.
            life.key = ""
            self.end(life, "SUCCEEDED")
        else:
            self.go(life, "QuietPeriod" if seconds else "Acquire")

    def acquire(self, life: Life) -> None:
        token = self.machine.wait(life.arn)
        function(acquire.handler)(AcquireInput(token=token, run=life.run))
        if self.machine.heard(life.arn) == "Success":
            life.lease = Lease.model_validate_json(self.machine.executions[life.arn].output)
            self.go(life, "Prepare")

    def prepare(self, life: Life) -> None:
        if self.renews(life) and life.run.work == "train":
            dataset = str(life.run.dataset)
            arrivals.close(life.run)
            found = list(self.objects[dataset].values())
            arrivals.mark_handled(dataset, found)
            self.unseen -= {each.key for each in found}
        self.go(life, "Train")

    def finish(self, life: Life) -> None:
        if self.renews(life):
            self.end(life, "SUCCEEDED")

    def renews(self, life: Life) -> bool:
        """What every step does first. One that may not work ends the run, by its own Fail state."""
        assert life.lease
        try:
            lease.renew(life.run, life.lease)
        except LeaseLost:
            self.end(life, "FAILED", "LeaseLost")
            return False
        held = lease.read("lexline")
        assert (held.owner, held.generation) == (life.run.name, life.lease.generation)
        return True

    @staticmethod
    def go(life: Life, to: Any) -> None:
        if life.at != "end":
            life.at = to

    def end(self, life: Life, status: str, error: str = "") -> None:
        if life.at == "end":
            return
        told = status in ("ABORTED", "SUCCEEDED") or not (
            status == "TIMED_OUT" or error.startswith("States.")
        )
        if life.key and told:
            self.given_up.add(life.key)
        elif life.key and life.at == "Gather":
            self.sweep_is_needed = True
        if life.run.work == "train" and not life.run.upload and life.at in ("Acquire", "Prepare"):
            # It was to see the uploads of others. The sweep starts one run for what it finds, and no second.
            self.sweep_is_needed = True
            if "lost-upload" in life.arn:
                self.given_up |= self.unseen & self.objects[str(life.run.dataset)].keys()
        self.machine.end(life.arn, status, error)
        life.at = "end"
        self.events.append(life.arn)

    def hear(self, arn: str) -> None:
        """Let the event of an execution's end come; it comes again if the function fails."""
        try:
            function(execution_ended.handler)(
                ExecutionChange.model_validate({"detail": {"executionArn": arn}})
            )
        except ServiceUnavailable:
            self.events.append(arn)

    def sweep(self) -> None:
        held = lease.read("lexline")
        if held.execution:
            hand_over("lexline", held.execution)
        for dataset, each in self.objects.items():
            found = list(each.values())
            if found and arrivals.is_lost(dataset, found):
                cause = f"{dataset} {arrivals.signature(found)}"
                executions.start("lost-upload", cause, {"dataset": dataset})

    def upload(self, dataset: str) -> str:
        key = f"uploads/{dataset}/{sum(map(len, self.objects.values()))}.txt"
        self.objects[dataset][key] = UploadedObject(key, "9b2cf535", 120, datetime.now(UTC))
        self.unseen.add(key)
        return key

    # --- what happens

    @initialize(events_get_lost=st.booleans())
    def begins(self, events_get_lost: bool) -> None:
        self.events_get_lost = events_get_lost
        self.happen("upload", 0)

    @rule(what=HAPPENINGS, during=st.lists(HAPPENINGS, max_size=3), write=st.integers(0, 2))
    def something_happens(self, what: Any, during: Any, write: int) -> None:
        """`during` happens in the middle of `what`, right before its write of that number."""

        def intrude() -> None:
            for each in during:
                self.happen(*each)

        self.table.meanwhile(*[lambda: None] * write, intrude)
        self.happen(*what)
        self.table.meanwhile()

    def happen(self, kind: str, number: int) -> None:
        for arn in [arn for arn in self.machine.executions if arn not in self.lives]:
            self.adopt(arn)
        dataset = DATASETS[number % len(DATASETS)]
        free = [life for life in self.lives.values() if life.at != "end" and not life.busy]
        running = [life for life in self.lives.values() if life.at != "end"]
        if kind == "upload":
            key = self.upload(dataset)
            told = {"bucket": ENVIRONMENT["BUCKET"], "key": key, "etag": "9b2cf535", "size": 120}
            self.begin(f"upload-{len(self.lives)}", {"upload": told}, key)
        elif kind == "upload without event" and self.events_get_lost:
            self.upload(dataset)
            self.sweep_is_needed = True
        elif kind == "by name":
            self.begin(f"person-{len(self.lives)}", {"dataset": dataset})
        elif kind == "step" and free:
            self.move(free[number % len(free)])
        elif kind == "end" and running:
            self.end(running[number // len(ENDS) % len(running)], *ENDS[number % len(ENDS)])
        elif kind == "event" and self.events:
            self.hear(self.events.pop(number % len(self.events)))
        elif kind == "event twice" and self.events:
            self.hear(self.events[number % len(self.events)])
        elif kind == "event lost" and self.events and self.events_get_lost:
            self.events.pop(number % len(self.events))
            self.sweep_is_needed = True
        elif kind == "time":
            self.passed += TIMES[number % len(TIMES)]
        elif kind == "straggler":
            # A function of an execution that has ended is still at work.
            late = [life for life in self.lives.values() if life.at == "end" and life.lease]
            if late:
                self.renews(late[number % len(late)])

    # --- and how it ends

    def teardown(self) -> None:
        try:
            self.calm_down()
        finally:
            self.patches.undo()

    def calm_down(self) -> None:
        """Let all executions come to their end, by events alone where none was lost."""
        for _ in range(1000):
            self.happen("nothing", 0)
            running = [life for life in self.lives.values() if life.at != "end"]
            ready = [life for life in running if not self.machine.executions[life.arn].token]
            if self.events:
                self.happen("event", 0)
            elif ready:
                self.passed += QUIET if ready[0].at == "QuietPeriod" else 0
                self.move(ready[0])
            elif running:
                assert self.sweep_is_needed, "somebody waits, and nobody will wake him"
                self.move(running[0])
            elif self.sweep_is_needed:
                self.sweep()
                self.sweep_is_needed = bool(self.machine.executions.keys() - self.lives.keys())
            else:
                break
        held = lease.read("lexline")
        assert (held.owner, held.waiting) == (None, [])
        assert self.unseen <= self.given_up


TestPipeline = pytest.mark.filterwarnings("ignore::UserWarning")(Pipeline.TestCase)
TestPipeline.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
