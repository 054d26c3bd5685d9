"""Watch one run: the steps of its execution, its place in line, and the progress of its training job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lexline.aws import history, lease, training_progress
from lexline.aws.history import Step
from lexline.aws.logs import TRAINING_JOBS, LogReader
from lexline.aws.outlook import Outlook
from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.aws.training_progress import Progress

_SUCCESS = ("Succeeded", "Unchanged", "Skipped")


@dataclass(frozen=True)
class Queue:
    """A run's place in line for the lease.

    Attributes:
        owner: Name of the run that has the lease.
        ahead: Number of runs that get the lease before this one.
    """

    owner: str
    ahead: int


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment.

    Attributes:
        run: The run.
        request: The execution's input.
        status: Status of the execution.
        steps: The steps so far.
        training: Progress of the training job.
        training_since: Time of the first report in the job's log, or None.
        job_status: SageMaker's status of the job until the log begins, such as Downloading, or "".
        read: The share of the uploads that is read, while the run reads them, or None.
        queue: The place in line while the run waits for the lease, or None.
        report: The run's report once it has ended, or None if it has none.
        error: Error and cause of the execution, or "".
        plan: The run with everything decided, or {} before Plan has returned it.
        outlook: What is known of the run beforehand, or None if nobody has looked it up.
        now: When the snapshot was taken.
    """

    run: Run
    request: Any
    status: str
    steps: list[Step] = field(default_factory=list)
    training: Progress = field(default_factory=Progress)
    training_since: datetime | None = None
    job_status: str = ""
    read: float | None = None
    queue: Queue | None = None
    report: Mapping[str, Any] | None = None
    error: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    outlook: Outlook | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ended(self) -> bool:
        """Whether the execution has ended."""
        return self.status != "RUNNING"

    @property
    def succeeded(self) -> bool:
        """Whether the run did what was requested, or had nothing to do."""
        return self.status == "SUCCEEDED" and (self.report or {}).get("status") in _SUCCESS

    def in_progress(self, state: str) -> bool:
        """Check whether the step of a state is in progress."""
        return any(step.name == state and step.state == "running" for step in self.steps)


class Watcher:
    """A watcher of one run. It remembers its position in the log of the training job."""

    def __init__(self, stack: Stack, run: Run) -> None:
        self._stack = stack
        self._target = stack.target
        self._run = run
        self._training = Progress()
        self._training_since: datetime | None = None
        self._log: LogReader | None = None
        self._plan: Mapping[str, Any] = {}

    @property
    def _name(self) -> str:
        return str(self._plan.get("name", ""))

    def look(self) -> Snapshot:
        """Return the run as it is now."""
        execution = self._target.stepfunctions.describe_execution(executionArn=self._run.arn)
        events = history.events_of(self._target.stepfunctions, self._run.arn)
        steps = history.steps_of(events)
        ended = execution["status"] != "RUNNING"
        if not self._name:
            plan = next(history.outputs_of(events, history.PLAN), None)
            self._plan = plan or {}
        trains = bool(self._name) and any(step.name == history.TRAIN for step in steps)
        if trains:
            self._read_log()
        running = {step.name for step in steps if step.state == "running"}
        return Snapshot(
            run=self._run,
            request=history.parsed(execution.get("input", "")),
            status=execution["status"],
            steps=steps,
            training=self._training,
            training_since=self._training_since,
            job_status=self._job_status() if trains and not ended else "",
            read=self._read_share(history.map_run(events)) if history.READ in running else None,
            queue=self._queue() if history.ACQUIRE in running else None,
            report=next(history.outputs_of(events, history.REPORT), None) if ended else None,
            error=" ".join(filter(None, (execution.get("error"), execution.get("cause")))),
            plan=self._plan,
        )

    def _queue(self) -> Queue | None:
        current = lease.read(self._stack)
        if current.owner in ("", self._name):
            return None
        waiting = current.waiting
        # The run may have asked for the lease and not be in line yet.
        return Queue(current.owner, waiting.index(self._name) if self._name in waiting else len(waiting))

    def _read_share(self, map_run: str | None) -> float | None:
        if map_run is None:
            return None
        counts = self._target.stepfunctions.describe_map_run(mapRunArn=map_run)["itemCounts"]
        ended = counts["total"] - counts["pending"] - counts["running"]
        return ended / counts["total"] if counts["total"] else None

    def _read_log(self) -> None:
        # The training job has the run's name. All hosts print the same reports, so the first one is enough.
        self._log = self._log or LogReader(self._target.logs, TRAINING_JOBS, f"{self._name}/algo-1-")
        for line in self._log.read():
            training = training_progress.update(self._training, line.text)
            if training == self._training:
                continue
            self._training_since = self._training_since or line.when
            self._training = training

    def _job_status(self) -> str:
        if self._training.epoch:
            return ""
        try:
            job = self._target.sagemaker.describe_training_job(TrainingJobName=self._name)
        except self._target.sagemaker.exceptions.ClientError:
            return ""
        return job["SecondaryStatus"]
