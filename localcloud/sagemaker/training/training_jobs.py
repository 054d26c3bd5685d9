"""The operations on training jobs.

A `TrainingRun` does the work and reports each step from its own threads. The job's record changes first;
then the event is sent.
"""

import logging
from collections import Counter
from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.core import quotas
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.errors import ResourceInUseError, ValidationError
from localcloud.sagemaker.core.resources import Resources
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.processes.training_run import TrainingLaunch, TrainingOutcome
from localcloud.sagemaker.training.checks import check, with_defaults
from localcloud.sagemaker.training.log_metrics import LogMetrics
from localcloud.sagemaker.training.records import RunFactory, TrainingJob

LOG_GROUP = "/aws/sagemaker/TrainingJobs"

_log = logging.getLogger(__name__)


class _Reporter:
    """Updates a job's record with what its run reports (`TrainingEvents`)."""

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
                # AWS counts from the moment the instances exist, before the data is downloaded.
                self._job.started = now()
            if self._job.enter(status, message):
                self._announce()

    def log(self, stream: str, timestamp_ms: int, line: str) -> None:
        with self._context.lock:
            self._job.metrics.read(line, timestamp_ms)
        if line:  # CloudWatch Logs refuses empty events.
            self._context.host.log(LOG_GROUP, stream, [(timestamp_ms, line)])

    def finished(self, outcome: TrainingOutcome) -> None:
        with self._context.lock:
            self._job.finish(outcome)
            self._announce()

    def _announce(self) -> None:
        self._context.announcer.training_job(self._job.describe(), self._context.tags.mapping(self._job.arn))


class TrainingJobs(Resources[TrainingJob]):
    """The training jobs and the operations on them. As on AWS, a job cannot be deleted."""

    kind = "training-job"
    missing = "Requested resource not found."

    def __init__(self, context: Context, run: RunFactory) -> None:
        super().__init__(context)
        self._run = run

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateTrainingJob."""
        check(request)
        name = request["TrainingJobName"]
        arn = self.arn(name)
        self._refuse_taken(arn)
        job = TrainingJob(
            arn,
            with_defaults(request),
            created=now(),
            metrics=LogMetrics(request["AlgorithmSpecification"].get("MetricDefinitions", [])),
        )
        environment = self._context.environment_of(request["RoleArn"], f"SageMaker-{name}")
        image = request["AlgorithmSpecification"]["TrainingImage"]
        if not self._context.may_pull(request["RoleArn"], image):
            raise ValidationError(
                f"Access denied for the repository of the image {image}. Please check if your ECR image "
                "exists and has proper pull permissions for SageMaker."
            )
        directory = self._context.directory / "training-jobs" / name.lower()
        hidden = self._context.directory.parent
        launch = TrainingLaunch(name, arn, job.request, directory, hidden, environment)
        reporter = _Reporter(self._context, job)
        with self._context.lock:
            self._refuse_taken(arn)
            self._refuse_over_quota(request)
            run = job.run = self._run(launch, reporter)
            self._context.tags.put(arn, tags_of(request))
            self._records[arn] = job
            reporter.secondary_status("Starting", "Preparing the instances for training")
        run.start()
        return {"TrainingJobArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeTrainingJob."""
        with self._context.lock:
            return self.get(request["TrainingJobName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListTrainingJobs."""
        page, token = listing.page(self._summaries(), request, kind="TrainingJob", default_order="Ascending")
        return {"TrainingJobSummaries": page, "NextToken": token}

    def stop(self, request: dict[str, Any]) -> None:
        """Handle StopTrainingJob."""
        with self._context.lock:
            job = self.get(request["TrainingJobName"])
            if job.status != "InProgress":
                raise ValidationError(
                    f"The request was rejected because the training job is in status {job.status}."
                )
            _Reporter(self._context, job).secondary_status("Stopping", "Stopping the training job")
            run = job.run
        if run:
            run.stop()

    def close(self) -> None:
        """End every job's processes without further reports."""
        with self._context.lock:
            unfinished = [job.run for job in self._records.values() if job.run and not job.outcome]
        for run in unfinished:
            try:
                run.close()
            except Exception:  # The other jobs' processes must end, too.
                _log.exception("Could not end a training job")

    def _refuse_taken(self, arn: str) -> None:
        if arn in self._records:
            raise ResourceInUseError(
                "Training job names must be unique within an AWS account and region, and a training job with "
                f"this name already exists ({arn})"
            )

    def _refuse_over_quota(self, request: dict[str, Any]) -> None:
        used: quotas.Needs = Counter()
        for job in self._records.values():
            if not job.outcome:
                used += quotas.of_training_job(job.request)
        self._context.quotas.check(quotas.of_training_job(request), used)
