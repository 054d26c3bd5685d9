"""The record of a training job: its status, its transitions and its description.

Statuses, as on AWS:

    InProgress (Starting -> Downloading -> Training -> Uploading) -> Completed | Failed
        | StopTrainingJob, or MaxRuntimeInSeconds or MaxWaitTimeInSeconds exceeded
        v
    Stopping (Stopping -> Uploading) -> Stopped (Stopped | MaxRuntimeExceeded | MaxWaitTimeExceeded)

A managed spot job that loses its instances has the secondary status Interrupted. It stays InProgress and
continues with Starting. Billable time equals training time: the local cloud has no spot discount.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from localcloud.sagemaker.api.shapes import output_members
from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.processes.training_run import TrainingEvents, TrainingLaunch, TrainingOutcome
from localcloud.sagemaker.training.log_metrics import LogMetrics

_FINAL_MESSAGES = {
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided by the user",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided by the user",
}


class Run(Protocol):
    """The process side of a job; see `processes.training_run.TrainingRun`."""

    def start(self) -> None:
        """Start the job."""

    def stop(self) -> None:
        """Stop the job and report the outcome."""

    def close(self) -> None:
        """Kill the job without a report."""


RunFactory = Callable[[TrainingLaunch, TrainingEvents], Run]


@dataclass
class TrainingJob:
    """One training job."""

    arn: str
    request: dict[str, Any]
    created: datetime
    metrics: LogMetrics
    status: str = "InProgress"
    secondary: str = ""
    modified: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    transitions: list[dict[str, Any]] = field(default_factory=list)
    outcome: TrainingOutcome | None = None
    run: Run | None = None

    @property
    def name(self) -> str:
        """The job's name as the caller wrote it."""
        return str(self.request["TrainingJobName"])

    def enter(self, secondary: str, message: str) -> bool:
        """Move to a secondary status; return False if the job already has it."""
        moment = now()
        self.modified = moment
        if self.secondary == secondary:
            return False
        if self.transitions:
            self.transitions[-1]["EndTime"] = moment
        self.transitions.append({"Status": secondary, "StartTime": moment, "StatusMessage": message})
        self.secondary = secondary
        return True

    def finish(self, outcome: TrainingOutcome) -> None:
        """Record how the job ended."""
        self.enter(outcome.secondary_status, _FINAL_MESSAGES[outcome.secondary_status])
        self.status = outcome.status
        self.outcome = outcome
        self.ended = self.transitions[-1]["EndTime"] = self.transitions[-1]["StartTime"]

    def summary(self) -> dict[str, Any]:
        """Return the job's entry in ListTrainingJobs."""
        return {
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "CreationTime": self.created,
            "TrainingEndTime": self.ended,
            "LastModifiedTime": self.modified,
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary,
        }

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeTrainingJob."""
        described = output_members("DescribeTrainingJob")
        description = {name: value for name, value in self.request.items() if name in described}
        description |= self.summary() | {
            "TrainingStartTime": self.started,
            "SecondaryStatusTransitions": [dict(transition) for transition in self.transitions],
            "ProfilingStatus": "Disabled",
        }
        if metrics := self.metrics.final():
            description["FinalMetricDataList"] = metrics
        if self.outcome:
            description["TrainingTimeInSeconds"] = self.outcome.training_seconds
            description["BillableTimeInSeconds"] = self.outcome.training_seconds
            if self.outcome.status == "Failed":
                description["FailureReason"] = self.outcome.failure_reason
            if self.outcome.model_artifacts_uri:
                description["ModelArtifacts"] = {"S3ModelArtifacts": self.outcome.model_artifacts_uri}
        return description
