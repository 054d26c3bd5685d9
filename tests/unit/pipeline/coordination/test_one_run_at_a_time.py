"""Lease, gathering and handover together, as a state machine of Hypothesis.

Executions are started by uploads, by a dataset's name and by the pipeline itself. They wait, work, end and
are aborted. Events come late, twice or never, and in the middle of another caller's writes. Whatever happens:
two runs never hold the lease, its generation only rises, and a run that has lost it is stopped. In the end no
run waits and a run has listed every upload.
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
from core.errors import LeaseLost, ServiceUnavailable
from events import execution_ended
from reporting import sns_messages
from steps import acquire, gather, plan
from tests.unit.pipeline.documents import ENVIRONMENT
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from uploads.listing import UploadedObject

QUIET = float(ENVIRONMENT["QUIET_SECONDS"])
DATASETS = ("sotu", "tales")
ENDS = (("ABORTED", ""), ("TIMED_OUT", ""), ("FAILED", "States.Runtime"), ("FAILED", "AccessDenied"))
TIMES = (1, QUIET / 2, QUIET, 400, lease.SECONDS + 1)
# Most steps let an execution move on; otherwise none would come far.
KINDS = (
    *("step",) * 8,
    *("upload", "by name", "end", "event", "event", "event twice", "time"),
    *("event lost", "upload without event", "straggler"),
)
ACTIONS = st.tuples(st.sampled_from(KINDS), st.integers(0, 39))


def function(handler: Any) -> Callable[[Any], Any]:
    """Return the function without the decorator, which has no part in the order of writes."""
    unwrapped: Callable[[Any], Any] = inspect.unwrap(handler)
    return unwrapped


class WatchedTable(TableInMemory):
    """A table that checks every write of the lease."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._before: dict[str, Any] = {}
        events = self.client.meta.events
        events.register("provide-client-params.dynamodb.UpdateItem", self._note)
        events.register("after-call.dynamodb.UpdateItem", self._check)

    def _note(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["of_lease"] = params["Key"]["resource"]["S"].startswith("endpoint/")

    def _check(self, context: dict[str, Any], **_: Any) -> None:
        if not context["of_lease"]:
            return
        before, now = self._before, self.get("endpoint/lexline")
        rises = now.get("generation", 0) - before.get("generation", 0)
        if now.get("owner") and now["owner"] != before.get("owner"):
            assert rises == 1, "A new owner has no new generation."
        else:
            assert rises == 0, "The generation is new, but not the owner."
        self._before = now


@dataclass
class Progress:
    """An execution, the state that it is in, and the key of the upload that started it, if any."""

    arn: str
    run: Run
    at: Literal["Gather", "QuietPeriod", "Acquire", "ListUploads", "Train", "end"]
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
        self.patches.setattr(sns_messages, "started", lambda run: None)
        self.passed = 0.0
        now = time.time
        self.patches.setattr(time, "time", lambda: now() + self.passed)
        self.known: dict[str, Progress] = {}
        self.events: list[str] = []
        self.objects: dict[str, dict[str, UploadedObject]] = {dataset: {} for dataset in DATASETS}
        self.unlisted: set[str] = set()
        # Uploads that need no run: a person aborted their run, or a report has said why it failed.
        self.given_up: set[str] = set()
        self.events_get_lost = False
        # Whether an event was lost that only the daily sweep makes up for.
        self.sweep_is_needed = False

    # --- the state machine

    def adopt(self, arn: str, key: str = "") -> None:
        """Plan the run of an execution that has just started."""
        execution = Execution.model_validate({"id": arn, "started": "2026-03-01T12:00:00Z"})
        run = function(plan.handler)(PlanInput(execution=execution, request=self.machine.input(arn)))
        self.known[arn] = Progress(arn, run, "Gather" if run.upload else "Acquire", key)

    def move(self, progress: Progress) -> None:
        """Run the execution's next step. A step that fails for a while is retried by a later call."""
        steps = {"Acquire": self.acquire, "ListUploads": self.list_uploads, "Train": self.finish}
        progress.busy = True
        with contextlib.suppress(ServiceUnavailable):
            steps.get(progress.at, self.gather)(progress)
        progress.busy = False

    def gather(self, progress: Progress) -> None:
        gathered = function(gather.handler)(GatherInput(run=progress.run))
        if gathered.joined:
            # From now on the gatherer's run has to list the upload.
            progress.key = ""
            self.end(progress, "SUCCEEDED")
        else:
            self.go(progress, "QuietPeriod" if gathered.seconds else "Acquire")

    def acquire(self, progress: Progress) -> None:
        token = self.machine.wait(progress.arn)
        function(acquire.handler)(AcquireInput(token=token, run=progress.run))
        if self.machine.heard(progress.arn) == "Success":
            progress.lease = Lease.model_validate_json(self.machine.executions[progress.arn].output)
            self.go(progress, "ListUploads")

    def list_uploads(self, progress: Progress) -> None:
        if self.renews(progress) and progress.run.work == "train":
            dataset = str(progress.run.dataset)
            arrivals.close(progress.run)
            found = list(self.objects[dataset].values())
            arrivals.mark_handled(dataset, found)
            self.unlisted -= {each.key for each in found}
        self.go(progress, "Train")

    def finish(self, progress: Progress) -> None:
        if self.renews(progress):
            self.end(progress, "SUCCEEDED")

    def renews(self, progress: Progress) -> bool:
        """Renew the lease, as every step does first. If it is lost, the run ends in its own Fail state."""
        assert progress.lease
        try:
            lease.renew(progress.run, progress.lease)
        except LeaseLost:
            self.end(progress, "FAILED", "LeaseLost")
            return False
        held = lease.read("lexline")
        assert (held.owner, held.generation) == (progress.run.name, progress.lease.generation)
        return True

    @staticmethod
    def go(progress: Progress, to: Any) -> None:
        if progress.at != "end":
            progress.at = to

    def end(self, progress: Progress, status: str, error: str = "") -> None:
        if progress.at == "end":
            return
        reported = status in ("ABORTED", "SUCCEEDED") or not (
            status == "TIMED_OUT" or error.startswith("States.")
        )
        if progress.key and reported:
            self.given_up.add(progress.key)
        elif progress.key and progress.at == "Gather":
            self.sweep_is_needed = True
        if (
            progress.run.work == "train"
            and not progress.run.upload
            and progress.at in ("Acquire", "ListUploads")
        ):
            # It had to list other executions' uploads. The sweep starts only one run for the same objects.
            self.sweep_is_needed = True
            if "lost-upload" in progress.arn:
                self.given_up |= self.unlisted & self.objects[str(progress.run.dataset)].keys()
        self.machine.end(progress.arn, status, error)
        progress.at = "end"
        self.events.append(progress.arn)

    def hear(self, arn: str) -> None:
        """Deliver the event about an execution's end. If the function fails, the event comes again."""
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
        self.unlisted.add(key)
        return key

    # --- actions

    @initialize(events_get_lost=st.booleans())
    def start(self, events_get_lost: bool) -> None:
        self.events_get_lost = events_get_lost
        self.do("upload", 0)

    @rule(what=ACTIONS, during=st.lists(ACTIONS, max_size=3), write=st.integers(0, 2))
    def act(self, what: Any, during: Any, write: int) -> None:
        """Do `what`, and the actions of `during` right before its write of that number."""

        def intrude() -> None:
            for each in during:
                self.do(*each)

        self.table.meanwhile(*[lambda: None] * write, intrude)
        self.do(*what)
        self.table.meanwhile()

    def do(self, kind: str, number: int) -> None:
        for arn in [arn for arn in self.machine.executions if arn not in self.known]:
            self.adopt(arn)
        dataset = DATASETS[number % len(DATASETS)]
        free = [progress for progress in self.known.values() if progress.at != "end" and not progress.busy]
        running = [progress for progress in self.known.values() if progress.at != "end"]
        if kind == "upload":
            key = self.upload(dataset)
            uploaded = {"bucket": ENVIRONMENT["BUCKET"], "key": key, "etag": "9b2cf535", "size": 120}
            self.adopt(self.machine.start(f"upload-{len(self.known)}", {"upload": uploaded}), key)
        elif kind == "upload without event" and self.events_get_lost:
            self.upload(dataset)
            self.sweep_is_needed = True
        elif kind == "by name":
            self.adopt(self.machine.start(f"person-{len(self.known)}", {"dataset": dataset}))
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
            # A function of an ended execution is still running.
            late = [progress for progress in self.known.values() if progress.at == "end" and progress.lease]
            if late:
                self.renews(late[number % len(late)])

    # --- the end

    def teardown(self) -> None:
        try:
            self.calm_down()
        finally:
            self.patches.undo()

    def calm_down(self) -> None:
        """Let all executions end; by events alone if none was lost."""
        for _ in range(1000):
            self.do("nothing", 0)
            running = [progress for progress in self.known.values() if progress.at != "end"]
            ready = [progress for progress in running if not self.machine.executions[progress.arn].token]
            if self.events:
                self.do("event", 0)
            elif ready:
                self.passed += QUIET if ready[0].at == "QuietPeriod" else 0
                self.move(ready[0])
            elif running:
                assert self.sweep_is_needed, "A run waits, and nothing will wake it."
                self.move(running[0])
            elif self.sweep_is_needed:
                self.sweep()
                self.sweep_is_needed = bool(self.machine.executions.keys() - self.known.keys())
            else:
                break
        held = lease.read("lexline")
        assert (held.owner, held.waiting) == (None, [])
        assert self.unlisted <= self.given_up


TestPipeline = pytest.mark.filterwarnings("ignore::UserWarning")(Pipeline.TestCase)
TestPipeline.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
