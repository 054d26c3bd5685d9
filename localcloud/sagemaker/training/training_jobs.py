"""Training jobs: the records, their status machine, and the operations on them.

A job's statuses, as AWS has them:

    InProgress (Starting -> Downloading -> Training -> Uploading) -> Completed | Failed
        | StopTrainingJob, or MaxRuntimeInSeconds or MaxWaitTimeInSeconds over
        v
    Stopping (Stopping -> Uploading) -> Stopped (Stopped | MaxRuntimeExceeded | MaxWaitTimeExceeded)

A managed spot job whose instances are taken away is Interrupted, still InProgress, and goes on with Starting.
What spot instances cost less is no matter here: the time billed is the time trained.

A `TrainingRun` does the work and reports each step from its own threads; the record changes first, then the
event goes out.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ResourceInUseError, ResourceLimitError, ValidationError
from localcloud.sagemaker.api.shapes import output_members
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.processes.job_clock import DEFAULT_MAX_RUNTIME
from localcloud.sagemaker.processes.training_run import TrainingEvents, TrainingLaunch, TrainingOutcome
from localcloud.sagemaker.training.log_metrics import Metrics

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
INSTANCE_QUOTA = 20  # instances of one type in training at a time; AWS's quotas differ by type and account

_FINAL_MESSAGES = {
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided by the user",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided by the user",
}
_log = logging.getLogger(__name__)


class Run(Protocol):
    """What this module needs of a training run (`training.TrainingRun`)."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


RunFactory = Callable[[TrainingLaunch, TrainingEvents], Run]


@dataclass
class TrainingJob:
    """One job's record."""

    arn: str
    request: dict[str, Any]
    created: datetime
    metrics: Metrics
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
        name: str = self.request["TrainingJobName"]
        return name

    def enter(self, secondary: str, message: str) -> bool:
        """Move to a secondary status; False when the job is there already."""
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
        self.enter(outcome.secondary_status, _FINAL_MESSAGES[outcome.secondary_status])
        self.status = outcome.status
        self.outcome = outcome
        self.ended = self.transitions[-1]["EndTime"] = self.transitions[-1]["StartTime"]

    def summary(self) -> dict[str, Any]:
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
        """What DescribeTrainingJob answers: the request as given, and what has come of it."""
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


class _Reporter:
    """Hears one run (`TrainingEvents`) and keeps its job's record."""

    def __init__(self, context: Context, job: TrainingJob) -> None:
        self._context = context
        self._job = job

    def secondary_status(self, status: str, message: str) -> None:
        with self._context.lock:
            if self._job.outcome:
                return
            if status == "Stopping":
                self._job.status = "Stopping"
            if status != "Starting" and self._job.started is None:
                # AWS starts the clock when the instances are there, before the data is.
                self._job.started = now()
            if self._job.enter(status, message):
                self._announce()

    def log(self, stream: str, timestamp_ms: int, line: str) -> None:
        with self._context.lock:
            self._job.metrics.read(line, timestamp_ms)
        if line:  # CloudWatch Logs has no empty events.
            self._context.host.log(LOG_GROUP, stream, [(timestamp_ms, line)])

    def finished(self, outcome: TrainingOutcome) -> None:
        with self._context.lock:
            self._job.finish(outcome)
            self._announce()

    def _announce(self) -> None:
        self._context.announcer.training_job(self._job.describe(), self._context.tags.mapping(self._job.arn))


class TrainingJobs:
    """The operations on training jobs. A job's record stays as long as the cloud does, as on AWS."""

    def __init__(self, context: Context, run: RunFactory) -> None:
        self._context = context
        self._run = run
        self._jobs: dict[str, TrainingJob] = {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        _check(request)
        name = request["TrainingJobName"]
        arn = self._context.arn("training-job", name)
        self._refuse_taken(arn)
        job = TrainingJob(
            arn,
            _with_defaults(request),
            created=now(),
            metrics=Metrics(request["AlgorithmSpecification"].get("MetricDefinitions", [])),
        )
        environment = self._context.environment_of(request["RoleArn"], f"SageMaker-{name}")
        directory = self._context.directory / "training-jobs" / name.lower()
        launch = TrainingLaunch(name, arn, job.request, directory, environment)
        reporter = _Reporter(self._context, job)
        with self._context.lock:
            self._refuse_taken(arn)
            self._refuse_over_quota(request["ResourceConfig"])
            run = job.run = self._run(launch, reporter)
            self._context.tags.put(arn, tags_of(request))
            self._jobs[arn] = job
            reporter.secondary_status("Starting", "Preparing the instances for training")
        run.start()
        return {"TrainingJobArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            return self._job(request).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            summaries = [job.summary() for job in self._jobs.values()]
        shown, token = listing.page(summaries, request, kind="TrainingJob", default_order="Ascending")
        return {"TrainingJobSummaries": shown, "NextToken": token}

    def stop(self, request: dict[str, Any]) -> None:
        with self._context.lock:
            job = self._job(request)
            if job.status != "InProgress":
                raise ValidationError(
                    f"The request was rejected because the training job is in status {job.status}."
                )
            _Reporter(self._context, job).secondary_status("Stopping", "Stopping the training job")
            run = job.run
        if run:
            run.stop()

    def exists(self, arn: str) -> bool:
        return arn in self._jobs

    def close(self) -> None:
        """End every job's processes; nothing is reported any more."""
        with self._context.lock:
            unfinished = [job.run for job in self._jobs.values() if job.run and not job.outcome]
        for run in unfinished:
            try:
                run.close()
            except Exception:  # The other jobs' processes must end all the same.
                _log.exception("could not end a training job")

    def _job(self, request: dict[str, Any]) -> TrainingJob:
        job = self._jobs.get(self._context.arn("training-job", request["TrainingJobName"]))
        if job is None:
            raise ValidationError("Requested resource not found.")
        return job

    def _refuse_taken(self, arn: str) -> None:
        if arn in self._jobs:
            raise ResourceInUseError(
                "Training job names must be unique within an AWS account and region, "
                f"and a training job with this name already exists ({arn})"
            )

    def _refuse_over_quota(self, wanted: dict[str, Any]) -> None:
        used = sum(
            job.request["ResourceConfig"]["InstanceCount"]
            for job in self._jobs.values()
            if not job.outcome and job.request["ResourceConfig"]["InstanceType"] == wanted["InstanceType"]
        )
        if used + wanted["InstanceCount"] > INSTANCE_QUOTA:
            raise ResourceLimitError(
                f"The account-level service limit '{wanted['InstanceType']} for training job usage' is "
                f"{INSTANCE_QUOTA} Instances, with current utilization of {used} Instances and a request "
                f"delta of {wanted['InstanceCount']} Instances. Please use AWS Service Quotas to request an "
                "increase for this quota. If AWS Service Quotas is not available, contact AWS support to "
                "request an increase for this quota."
            )


def _check(request: dict[str, Any]) -> None:
    """What the service model does not say."""
    for name in ("AlgorithmSpecification", "ResourceConfig"):
        if name not in request:
            raise ValidationError(
                f"{name} is required when ServerlessJobConfig is not used, which is not here."
            )
    if "ServerlessJobConfig" in request:
        raise ValidationError("Serverless training jobs are not available in the local cloud.")
    algorithm = request["AlgorithmSpecification"]
    if "AlgorithmName" in algorithm:
        raise ValidationError("AlgorithmName is not available in the local cloud: give a TrainingImage.")
    if "TrainingImage" not in algorithm:
        raise ValidationError("You must specify either TrainingImage or AlgorithmName.")
    resources = request["ResourceConfig"]
    if "InstanceType" not in resources or "InstanceCount" not in resources:
        raise ValidationError("ResourceConfig needs InstanceType and InstanceCount.")
    channels = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if len(set(channels)) < len(channels):
        raise ValidationError(
            "Duplicate channel names found in InputDataConfig. Channel names must be unique."
        )
    _check_waiting(request)


def _check_waiting(request: dict[str, Any]) -> None:
    condition = request.get("StoppingCondition", {})
    wait = condition.get("MaxWaitTimeInSeconds")
    spot = request.get("EnableManagedSpotTraining", False)
    if not spot and wait is not None:
        raise ValidationError(
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )
    if spot and (wait is None or wait < condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)):
        raise ValidationError(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds"
        )


def _with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    """The request as AWS describes it back."""
    condition = {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME} | request.get("StoppingCondition", {})
    return {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **request,
        "StoppingCondition": condition,
        "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP"} | request["OutputDataConfig"],
    }
