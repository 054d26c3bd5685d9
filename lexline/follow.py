"""Watches one run until it ends: the machine's steps, and inside the training step the job's own log.

Ctrl-C only ends the watching: the execution belongs to Step Functions and goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from lexline import history, lease, progress
from lexline.execution_input import work_of
from lexline.history import Step
from lexline.joblog import TRAINING_JOBS, LogReader
from lexline.progress import Training
from lexline.run_ids import id_in
from lexline.runs import Run
from lexline.target import Stack, Target


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment.

    `work` is what it was asked for. `training_since` is when the log's first line of training came. `in_line`
    tells, while the run waits for the endpoint's lease, what it waits for. `report` is the document the run
    ends with; `error` is there when it has none.
    """

    run: Run
    work: str
    status: str
    steps: list[Step] = field(default_factory=list)
    training: Training = field(default_factory=Training)
    training_since: datetime | None = None
    job_phase: str = ""
    in_line: str = ""
    report: Mapping[str, Any] | None = None
    error: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ended(self) -> bool:
        return self.status != "RUNNING"

    @property
    def succeeded(self) -> bool:
        """Whether the run did what it should: its model serves, or it rightly had nothing to do."""
        return self.status == "SUCCEEDED" and (self.report or {}).get("status") in _SUCCESS

    @property
    def trains(self) -> bool:
        """Whether the training step is the one that runs now."""
        return any(step.name == TRAIN and step.state == "running" for step in self.steps)


class View(Protocol):
    """Shows snapshots as they come."""

    def show(self, snapshot: Snapshot) -> None: ...


TRAIN = "Train"
"""The state that waits for the training job."""
ACQUIRE = "Acquire"
"""The state that waits for the endpoint's lease."""
PLAN = "Plan"
REPORT = "Report"
_SUCCESS = ("Succeeded", "Unchanged", "Skipped")


class Watcher:
    """Asks AWS how one run stands. It keeps its place in the job's log between the questions."""

    def __init__(self, target: Target, stack: Stack, run: Run) -> None:
        self._target = target
        self._stack = stack
        self._run = run
        self._training = Training()
        self._training_since: datetime | None = None
        self._log: LogReader | None = None
        self._name = ""

    def look(self) -> Snapshot:
        """The run as it is now."""
        described = self._target.stepfunctions.describe_execution(executionArn=self._run.arn)
        events = history.events_of(self._target.stepfunctions, self._run.arn)
        steps = history.steps_of(events)
        if not self._name:
            plan: Any = next(history.outputs_of(events, PLAN), None) or {}
            self._name = plan.get("name", "")
        trained = any(step.name == TRAIN for step in steps)
        if trained:
            self._read_log()
        waits = any(step.name == ACQUIRE and step.state == "running" for step in steps)
        report: Any = None
        if described["status"] != "RUNNING":
            report = next(history.outputs_of(events, REPORT), None)
        return Snapshot(
            run=self._run,
            work=work_of(json.loads(described.get("input", "{}"))),
            status=described["status"],
            steps=steps,
            training=self._training,
            training_since=self._training_since,
            job_phase=self._phase() if trained and described["status"] == "RUNNING" else "",
            in_line=self._in_line() if waits else "",
            report=report,
            error=" ".join(part for part in (described.get("error"), described.get("cause")) if part),
        )

    def _in_line(self) -> str:
        held = lease.read(self._target, self._stack)
        if held.holder in ("", self._name):
            return ""
        before = held.waiting.index(self._name) if self._name in held.waiting else len(held.waiting)
        others = f", {before} more before it" if before else ""
        return f"in line for the endpoint, which run {id_in(held.holder)} has{others}"

    def _read_log(self) -> None:
        if not self._name:
            return
        # The training job has the run's name. With several hosts, each prints the same reports.
        self._log = self._log or LogReader(self._target.logs, TRAINING_JOBS, f"{self._name}/algo-1-")
        for line in self._log.new():
            training = progress.read(self._training, line.text)
            if training != self._training and self._training_since is None:
                self._training_since = line.when
            self._training = training

    def _phase(self) -> str:
        # Before the first line of the log there is only the job's own status: Starting, Downloading, ...
        if not self._name or self._training.epoch:
            return ""
        try:
            job = self._target.sagemaker.describe_training_job(TrainingJobName=self._name)
        except self._target.sagemaker.exceptions.ClientError:
            return ""
        return job["SecondaryStatus"]


def follow(
    target: Target, stack: Stack, run: Run, view: View, sleep: Callable[[float], None] = time.sleep
) -> Snapshot:
    """Shows the run until it ends, and returns its last snapshot."""
    watcher = Watcher(target, stack, run)
    while True:
        snapshot = watcher.look()
        view.show(snapshot)
        if snapshot.ended:
            return snapshot
        # Step Functions allows an account 20 reads of histories per second at best; people need no more
        # than this.
        sleep(0.5 if target.local else 3)
