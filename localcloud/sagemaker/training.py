"""A training job as a process: AWS's own training toolkit in a job directory laid out as /opt/ml is in a container."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class TrainingLaunch:
    """What one job needs to run.

    request: the validated CreateTrainingJob parameters, as botocore names them.
    directory: stands for /opt/ml; made by the run, removed when it has finished.
    environment: AWS_* variables of a process acting as the execution role: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_DEFAULT_REGION. Data is downloaded, and artifacts
        are uploaded, with these and no others; they must outlive the job.
    """

    job_name: str
    job_arn: str
    request: Mapping[str, Any]
    directory: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class TrainingOutcome:
    """How a job ended.

    failure_reason: set when status is Failed, at most 1,024 characters.
    model_artifacts_uri: s3://.../model.tar.gz when one was uploaded.
    training_seconds: whole seconds from the start of the download to the end of the upload (AWS bills these).
    """

    status: Literal["Completed", "Failed", "Stopped"]
    secondary_status: Literal["Completed", "Failed", "Stopped", "MaxRuntimeExceeded"]
    failure_reason: str | None
    model_artifacts_uri: str | None
    training_seconds: int


class TrainingEvents(Protocol):
    """Hears what happens to a job. Called from the run's own threads, one call at a time per kind."""

    def secondary_status(self, status: str, message: str) -> None:
        """The job moved to Starting, Downloading, Training, Uploading or Stopping; never a final status."""

    def log(self, stream: str, timestamp_ms: int, line: str) -> None:
        """The job printed a line (stdout or stderr); stream is "<job name>/algo-1-<epoch ms>"."""

    def finished(self, outcome: TrainingOutcome) -> None:
        """The job has ended, exactly once: no process of it runs and its directory is gone."""


class TrainingRun:
    """One training job, on threads and processes of its own."""

    def __init__(self, launch: TrainingLaunch, events: TrainingEvents, *, stop_grace: float = 120.0) -> None:
        """stop_grace: seconds between SIGTERM and SIGKILL when the job is stopped; AWS gives 120."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin; returns at once. Every failure from here on arrives as events.finished."""

    def stop(self) -> None:
        """Ask the job to stop; returns at once. The outcome, Stopped, arrives as events.finished."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the job has finished; False when it has not within timeout seconds."""
        raise NotImplementedError

    def close(self) -> None:
        """Kill the job and remove its directory, with no further events: the server itself is going away."""
