"""The last step: say what became of the run, as one JSON document, as a web page, and to the topic."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import aws
import cost
import messages
import report_page
import settings
import training_output
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from botocore.exceptions import ClientError
from contracts import Caught, EndpointCost, Failure, Report, ReportInput, RunCost
from cost import PriceTable
from errors import InvalidInput, code_of
from step import logger, metrics, step

Status = Literal["Succeeded", "Unchanged", "Skipped", "Rejected", "Failed"]
Event = Literal[
    "deployed", "rolled_back", "torn_down", "cleaned_up", "unchanged", "skipped", "rejected", "failed"
]
# Where a user puts a price table of their own.
PRICES = "prices.json"


@step(ReportInput, fenced=False)
def handler(given: ReportInput) -> Report:
    report = report_on(given, prices())
    metrics.add_metric(name=f"Runs{report.status}", unit=MetricUnit.Count, value=1)
    _measure(report)
    if given.lease is not None and report.run:
        report = _written(report, given)
    if given.lease is not None or report.status == "Failed":
        # An upload that joined another's run is told of with that run.
        messages.ended(report)
    return report


def _measure(report: Report) -> None:
    """Put what the training took and came to into metrics, by dataset: only there do they compare."""
    job, dataset = report.job, report.dataset
    if job is None or dataset is None:
        return
    came_to = report.metrics
    figures = (
        ("TrainingSeconds", MetricUnit.Seconds, job.training_seconds),
        ("BillableSeconds", MetricUnit.Seconds, job.billable_seconds),
        ("TestPerplexity", MetricUnit.NoUnit, came_to.test_perplexity if came_to else None),
        ("WordsPerSecond", MetricUnit.CountPerSecond, came_to.words_per_second if came_to else None),
    )
    by_dataset = EphemeralMetrics()
    by_dataset.add_dimension(name="dataset", value=dataset.dataset)
    by_dataset.add_metadata(key="correlation_id", value=report.run)
    for name, unit, value in figures:
        # Infinity and NaN, of a training that diverged, are no metric's values.
        if value is not None and math.isfinite(value):
            by_dataset.add_metric(name=name, unit=unit, value=value)
    by_dataset.flush_metrics()


def report_on(given: ReportInput, table: PriceTable) -> Report:
    """The document, from everything the run left in the state machine's variables."""
    failure = failure_of(given.caught)
    status, reason = _verdict(given, failure)
    removed = [
        *(given.compensated.removed if given.compensated else []),
        *(given.torn_down.removed if given.torn_down else []),
    ]
    return Report(
        status=status,
        event=_event(given, status),
        reason=reason,
        run=given.run.name if given.run else None,
        work=given.run.work if given.run else None,
        execution=given.execution.id,
        dataset=given.prepared,
        source=given.source,
        job=given.trained,
        metrics=given.evaluated.metrics if given.evaluated else None,
        comparison=given.evaluated.comparison if given.evaluated else None,
        registered=given.registered,
        model=given.model,
        endpoint=given.deployed,
        smoke_test=given.smoke_test,
        finished=given.finished,
        cost=_run_cost(given, table),
        standing_cost=_standing_cost(given, table),
        durations=given.durations,
        torn_down=removed,
        error=failure,
        page=None,
    )


def _verdict(given: ReportInput, failure: Failure | None) -> tuple[Status, str]:
    if failure:
        reason = f"{failure.step} failed with {failure.error}: {failure.message}"
        if given.compensated and given.compensated.restored:
            reason += f" The endpoint is back at {given.compensated.serving}, and answers."
        return "Failed", reason
    if given.skipped:
        return (
            "Unchanged" if given.skipped.Error == "Unchanged" else "Skipped",
            message_of(given.skipped),
        )
    if given.prepared and given.prepared.outcome != "prepared":
        return "Skipped", given.prepared.reason
    if given.evaluated and not given.evaluated.accepted:
        return "Rejected", f"{given.evaluated.reason} The endpoint was left as it was."
    if given.run and given.run.clean_up:
        ended = given.run.clean_up
        return "Succeeded", (
            f"Run {ended.run} ended as {ended.status}; what it left half-made is removed. Start it again "
            "when you want it to go on."
        )
    if given.run and given.run.take_down:
        return "Succeeded", f"What {given.run.subject} served is taken down, as was asked for."
    if given.evaluated:
        return "Succeeded", given.evaluated.reason
    return "Succeeded", f"Model {given.registered.model if given.registered else ''} is deployed."


def _event(given: ReportInput, status: Status) -> Event:
    if status == "Failed":
        return "rolled_back" if given.compensated and given.compensated.restored else "failed"
    if status == "Succeeded":
        if given.run and given.run.clean_up:
            return "cleaned_up"
        if given.run and given.run.take_down:
            return "torn_down"
        return "rolled_back" if given.run and given.run.model == "previous" else "deployed"
    names: dict[Status, Event] = {"Unchanged": "unchanged", "Skipped": "skipped", "Rejected": "rejected"}
    return names[status]


def _run_cost(given: ReportInput, table: PriceTable) -> RunCost | None:
    job = given.trained
    if job is None:
        return None
    return cost.run_cost(
        table,
        region=settings.region(),
        instance_type=job.instance_type,
        instance_count=job.instance_count,
        training_seconds=job.training_seconds,
        billable_seconds=job.billable_seconds,
        spot=job.spot,
    )


def _standing_cost(given: ReportInput, table: PriceTable) -> EndpointCost | None:
    if given.run is None or given.deployed is None or given.torn_down or given.compensated:
        return None
    hosting = given.run.hosting
    if hosting.endpoint_type == "serverless":
        return cost.serverless_cost(table, region=settings.region(), memory_mb=hosting.serverless_memory_mb)
    return cost.endpoint_cost(
        table,
        region=settings.region(),
        instance_type=hosting.instance_type,
        instance_count=given.deployed.instance_count or hosting.instance_count,
    )


def prices() -> PriceTable:
    """The user's own price table in the bucket, else the one that comes with the functions."""
    try:
        body = aws.s3().get_object(Bucket=settings.bucket(), Key=PRICES)["Body"].read()
    except ClientError as error:
        # Without the permission to list a bucket, S3 answers AccessDenied for an object that is not there.
        if code_of(error) not in ("NoSuchKey", "AccessDenied"):
            raise
        return cost.list_prices()
    try:
        return PriceTable.load(body)
    except InvalidInput as error:
        # A run does not fail over its own report.
        logger.warning("The price table in the bucket is not used", reason=str(error))
        return cost.list_prices()


def _written(report: Report, given: ReportInput) -> Report:
    """Put the report into the bucket, as a page and as JSON."""
    bucket = settings.bucket()
    report = report.model_copy(update={"page": f"s3://{bucket}/reports/{report.run}.html"})
    document = report.model_dump_json(indent=2)
    training = training_output.metrics(given.trained) if given.trained else {}
    page = report_page.page(
        {
            **json.loads(document),
            "training": training,
            "comparison": _comparison(given, training),
            "cost": {"run": json.loads(document)["cost"], "endpoint": json.loads(document)["standing_cost"]},
            "provenance": _provenance(report, given),
            "started": given.execution.started.isoformat(),
        }
    )
    for name, body, content_type in (
        (f"{report.run}.json", document, "application/json"),
        (f"{report.run}.html", page, "text/html; charset=utf-8"),
    ):
        aws.s3().put_object(
            Bucket=bucket, Key=f"reports/{name}", Body=body.encode(), ContentType=content_type
        )
    return report


def _comparison(given: ReportInput, training: Mapping[str, Any]) -> dict[str, Any] | None:
    """The training job's comparison, with what the gate made of it."""
    verdict = given.evaluated.comparison if given.evaluated else None
    if verdict is None:
        return None
    if verdict.reason is not None:
        return {"comparable": False, "reason": verdict.reason}
    return {**training.get("comparison", {}), "tolerance": verdict.tolerance, "notes": verdict.notes}


def _provenance(report: Report, given: ReportInput) -> dict[str, str]:
    """What the model was made of, by name, for people."""
    source, registered = given.source, report.registered
    told = {
        "Data": given.prepared.fingerprint if given.prepared and given.prepared.outcome == "prepared" else "",
        "Scripts": source.sha256 if source else "",
        "Repository": (source.repo or "") if source else "",
        "Branch": (source.branch or "") if source else "",
        "Commit": (source.commit or "") if source else "",
        "Model package": registered.arn if registered else "",
    }
    if given.run and given.run.work == "train":
        hyperparameters = {
            f"{name}": "auto" if value is None else str(value) for name, value in given.run.hyperparameters
        }
        told["Hyperparameters"] = ", ".join(f"{name}={value}" for name, value in hyperparameters.items())
    return {name: value for name, value in told.items() if value}


def failure_of(caught: list[Caught]) -> Failure | None:
    """The first error caught is why the run failed; those after it, what went wrong while cleaning up."""
    if not caught:
        return None
    first, *rest = caught
    return Failure(
        error=first.Error,
        message=message_of(first),
        step=first.Step,
        cleanup=[f"{error.Step} failed with {error.Error}: {message_of(error)}" for error in rest],
    )


def message_of(caught: Caught) -> str:
    """The sentence in a cause: a Lambda's cause is JSON with an errorMessage, a task token's is plain."""
    try:
        message = json.loads(caught.Cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        message = caught.Cause
    return str(message) or caught.Error
