"""The last step: say what became of the run, as one JSON document, as a web page, and to the topic."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from botocore.exceptions import ClientError

from contracts.report import EndpointCost, Estimate, Failure, Report, ReportInput, RunCost
from contracts.serving import Caught
from core import aws, environment
from core.errors import InvalidInput, code_of
from core.logging import logger, metrics
from core.text import cut
from entry_point import step
from reporting import cost, lenient, messages, report_page
from reporting.cost import PriceTable
from training import job_output

Status = Literal["Succeeded", "Unchanged", "Skipped", "Rejected", "Failed"]
Event = Literal[
    "deployed", "rolled_back", "teardown", "cleanup", "unchanged", "skipped", "rejected", "failed"
]
Noted = TypeVar("Noted", bound=Estimate)
# Where a user puts a price table of their own.
PRICES = "prices.json"
# A state's output has at most 262,144 bytes, and Lambda's answer comes in it with some headers.
_LONGEST_OUTPUT = 240_000
_LONGEST_TEXTS, _LONGEST_NOTE, _MOST_NOTES = (4000, 1000, 250), 1000, 20


@step(ReportInput, fenced=False)
def handler(given: ReportInput) -> Report:
    report = fitting(report_on(given, *prices()))
    metrics.add_metric(name=f"Runs{report.status}", unit=MetricUnit.Count, value=1)
    _measure(report)
    # An upload that joined another's run is told of with that run; that an endpoint is not idle is no news.
    news = given.lease is not None and not (report.work == "teardown" and report.status == "Skipped")
    if news and report.run:
        report = _written(report, given)
    if news or report.status == "Failed":
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


def report_on(given: ReportInput, table: PriceTable, notes: Sequence[str]) -> Report:
    """The document, from everything the run left in the state machine's variables.

    `notes` qualify the estimates of cost.
    """
    failure = failure_of(given.caught)
    status, reason = _verdict(given, failure)
    removed = [
        *(given.compensated.removed if given.compensated else []),
        *(given.teardown.removed if given.teardown else []),
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
        cost=_noted(_run_cost(given, table), notes),
        standing_cost=_noted(_standing_cost(given, table), notes),
        durations=given.durations,
        removed=removed,
        error=failure,
        page=None,
    )


def _verdict(given: ReportInput, failure: Failure | None) -> tuple[Status, str]:
    if failure:
        return "Failed", (
            f"{failure.step} failed with {failure.error}: {failure.message}{_what_is_left(given)}"
        )
    if given.skipped:
        return (
            "Unchanged" if given.skipped.Error == "Unchanged" else "Skipped",
            message_of(given.skipped),
        )
    if given.prepared and given.prepared.outcome != "prepared":
        return "Skipped", given.prepared.reason
    if given.evaluated and not given.evaluated.accepted:
        return "Rejected", f"{given.evaluated.reason} The endpoint was left as it was."
    if given.run and given.run.cleanup_of:
        ended = given.run.cleanup_of
        return "Succeeded", (
            f"Run {ended.run} ended as {ended.status}; what it left half-made is removed."
            f"{_what_is_left(given)} Start it again when you want it to go on."
        )
    if given.run and given.run.teardown_of:
        return "Succeeded", f"What {given.run.subject} served is taken down, as was asked for."
    model = given.registered.model if given.registered else ""
    reason = given.evaluated.reason if given.evaluated else f"Model {model} is deployed."
    return "Succeeded", f"{reason}{_what_is_left(given)}"


def _what_is_left(given: ReportInput) -> str:
    """A sentence on the endpoint, where the run's reason alone would mislead about it; or nothing."""
    undone = given.compensated
    if given.teardown and any(each.startswith("endpoint/") for each in given.teardown.removed):
        return " The endpoint was taken down, as was asked for."
    if undone and undone.restored:
        return f" The endpoint is back at {undone.serving}, and answers."
    if undone and given.run and undone.serving == given.run.subject:
        return " The endpoint serves its model, which had passed the smoke test."
    return ""


def _event(given: ReportInput, status: Status) -> Event:
    if status == "Failed":
        return "rolled_back" if given.compensated and given.compensated.restored else "failed"
    if status == "Succeeded":
        if given.run and given.run.cleanup_of:
            return "cleanup"
        if given.run and given.run.teardown_of:
            return "teardown"
        return "rolled_back" if given.run and given.run.model == "previous" else "deployed"
    names: dict[Status, Event] = {"Unchanged": "unchanged", "Skipped": "skipped", "Rejected": "rejected"}
    return names[status]


def _noted(estimate: Noted | None, notes: Sequence[str]) -> Noted | None:
    return estimate.model_copy(update={"notes": [*estimate.notes, *notes]}) if estimate else None


def _run_cost(given: ReportInput, table: PriceTable) -> RunCost | None:
    job = given.trained
    if job is None:
        return None
    return cost.run_cost(
        table,
        region=environment.region(),
        instance_type=job.instance_type,
        instance_count=job.instance_count,
        training_seconds=job.training_seconds,
        billable_seconds=job.billable_seconds,
        spot=job.spot,
    )


def _standing_cost(given: ReportInput, table: PriceTable) -> EndpointCost | None:
    if given.run is None or given.deployed is None or given.teardown or given.compensated:
        return None
    hosting = given.run.hosting
    if hosting.endpoint_type == "serverless":
        return cost.serverless_cost(
            table, region=environment.region(), memory_mb=hosting.serverless_memory_mb
        )
    return cost.endpoint_cost(
        table,
        region=environment.region(),
        instance_type=hosting.instance_type,
        instance_count=given.deployed.instance_count or hosting.instance_count,
    )


def fitting(report: Report) -> Report:
    """The report with its texts cut to where it fits into an execution's output."""
    shorter = report
    for longest in _LONGEST_TEXTS:
        shorter = _shortened(report, longest)
        if len(json.dumps(json.loads(shorter.model_dump_json()))) <= _LONGEST_OUTPUT:
            break
    return shorter


def _shortened(report: Report, longest: int) -> Report:
    """Only what people, AWS or scripts of any origin have written: all else has its limits by contract."""

    update: dict[str, object] = {"reason": cut(report.reason, longest)}
    if report.dataset and report.dataset.outcome != "prepared":
        update["dataset"] = report.dataset.model_copy(update={"reason": cut(report.dataset.reason, longest)})
    if report.comparison:
        verdict = report.comparison
        notes = [cut(note, longest) for note in verdict.notes[:_MOST_NOTES]]
        reason = None if verdict.reason is None else cut(verdict.reason, longest)
        update["comparison"] = verdict.model_copy(update={"reason": reason, "notes": notes})
    if report.smoke_test:
        texts = [
            each.model_copy(update={"text": cut(each.text, longest), "prompt": cut(each.prompt, longest)})
            for each in report.smoke_test.texts
        ]
        update["smoke_test"] = report.smoke_test.model_copy(update={"texts": texts})
    if report.error:
        cleanup = [cut(each, longest) for each in report.error.cleanup]
        update["error"] = report.error.model_copy(
            update={"message": cut(report.error.message, longest), "cleanup": cleanup}
        )
    return report.model_copy(update=update)


def prices() -> tuple[PriceTable, list[str]]:
    """The user's own price table in the bucket, else the one that comes with the functions; and what there is
    to say about that.
    """
    try:
        body = aws.s3().get_object(Bucket=environment.bucket(), Key=PRICES)["Body"].read()
    except ClientError as error:
        # Without the permission to list a bucket, S3 answers AccessDenied for an object that is not there.
        if code_of(error) not in ("NoSuchKey", "AccessDenied"):
            raise
        return cost.list_prices(), []
    try:
        return PriceTable.load(body), []
    except InvalidInput as error:
        # A run does not fail over its own report.
        logger.warning("The price table in the bucket is not used", reason=str(error))
        return cost.list_prices(), [f"{PRICES} in the bucket is not used. {error}"[:_LONGEST_NOTE]]


def _written(report: Report, given: ReportInput) -> Report:
    """Put the report into the bucket, as a page and as JSON."""
    bucket = environment.bucket()
    report = report.model_copy(update={"page": f"s3://{bucket}/reports/{report.run}.html"})
    training = job_output.metrics(given.trained) if given.trained else {}
    try:
        page = _page(report, given, training)
    except Exception:
        # It shows what scripts of any origin have written; a run does not fail over its own report.
        logger.exception("The report has no page")
        report, page = report.model_copy(update={"page": None}), None
    files = [("json", "application/json", report.model_dump_json(indent=2))]
    if page is not None:
        files.append(("html", "text/html; charset=utf-8", page))
    for suffix, content_type, body in files:
        aws.s3().put_object(
            Bucket=bucket,
            Key=f"reports/{report.run}.{suffix}",
            Body=body.encode(),
            ContentType=content_type,
        )
    return report


def _page(report: Report, given: ReportInput, training: Mapping[str, Any]) -> str:
    document = json.loads(report.model_dump_json())
    return report_page.page(
        {
            **document,
            "training": training,
            "comparison": _comparison(given, training),
            "cost": {"run": document["cost"], "endpoint": document["standing_cost"]},
            "provenance": _provenance(report, given),
            "started": given.execution.started.isoformat(),
        }
    )


def _comparison(given: ReportInput, training: Mapping[str, Any]) -> dict[str, Any] | None:
    """The training job's comparison, with what the gate made of it."""
    verdict = given.evaluated.comparison if given.evaluated else None
    if verdict is None:
        return None
    if verdict.reason is not None:
        return {"comparable": False, "reason": verdict.reason}
    return {
        **lenient.mapping(training.get("comparison")),
        "tolerance": verdict.tolerance,
        "notes": verdict.notes,
    }


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
