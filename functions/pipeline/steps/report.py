"""The last step: report what became of the run as a JSON document, as a web page and on the topic."""

from collections.abc import Mapping, Sequence

from contracts.report import EndpointCost, HyperparameterValue, Report, ReportInput
from core import aws, environment
from core.logging import logger
from entry_point import step
from reporting import cost, durations, prices, published_metrics, report_page, size_limit, sns_messages
from reporting.outcome import outcome_of
from reporting.prices import PriceTable
from training import job_output
from training.job_output import JobMetrics, JobOutput


@step(ReportInput)
def handler(given: ReportInput) -> Report:
    """Return the report, after it was put into the bucket and published."""
    output = job_output.read(given.trained) if given.trained else JobOutput()
    seconds = durations.of_execution(given.execution.id)
    built = build(given, output.metrics, seconds, *prices.current())
    report = size_limit.fitted(built)
    published_metrics.publish(report)
    # Publish nothing about an upload that joined another run, because that run publishes. Publish nothing
    # about an idle check that finds the endpoint in use: the checks repeat until the endpoint is idle.
    is_news = given.lease is not None and not (report.work == "teardown" and report.status == "Skipped")
    if is_news and report.run:
        report = _saved(report, given, output)
    if is_news or report.status == "Failed":
        sns_messages.ended(report)
    return report


def build(
    given: ReportInput,
    training: JobMetrics,
    seconds: Mapping[str, float],
    table: PriceTable,
    price_notes: Sequence[str],
) -> Report:
    """Return the report on a run that has ended; it has no page yet.

    Args:
        given: The results of the run's steps.
        training: What the training job wrote about itself.
        seconds: Seconds by step, and `total`.
        table: The price table of the estimates.
        price_notes: Sentences on the table, for the estimates' notes.
    """
    outcome = outcome_of(given)
    evaluated = given.evaluated
    return Report(
        status=outcome.status,
        headline=outcome.headline,
        event=outcome.event,
        reason=outcome.reason,
        run=given.run.name if given.run else None,
        work=given.run.work if given.run else None,
        execution=given.execution.id,
        joined=given.gathered.joined if given.gathered else None,
        dataset=given.prepared,
        source=given.source,
        hyperparameters=_hyperparameters(given, training),
        job=given.trained,
        metrics=evaluated.metrics if evaluated else None,
        comparison=evaluated.comparison if evaluated else None,
        registered=given.registered,
        model=given.model,
        endpoint=given.deployed,
        smoke_test=given.smoke_test,
        finished=given.finished,
        cost=cost.of_run(table, environment.region(), given.trained, price_notes) if given.trained else None,
        standing_cost=_endpoint_cost(given, table, price_notes),
        durations=dict(seconds),
        removed=[
            name for step in (given.compensated, given.teardown) if step is not None for name in step.removed
        ],
        error=outcome.error,
        page=None,
    )


def _hyperparameters(given: ReportInput, training: JobMetrics) -> dict[str, HyperparameterValue]:
    """Return the values that the job used; before it reported them, those that the request sets."""
    if given.run is None or given.run.work != "train":
        return {}
    requested = {name: value for name, value in given.run.hyperparameters if value is not None}
    return {**requested, **training.hyperparameters}


def _endpoint_cost(given: ReportInput, table: PriceTable, notes: Sequence[str]) -> EndpointCost | None:
    if given.run is None or given.deployed is None or given.teardown or given.compensated:
        return None
    hosting = given.run.hosting
    instances = given.deployed.instance_count or hosting.instance_count
    return cost.of_endpoint(table, environment.region(), hosting, instances, notes)


def _saved(report: Report, given: ReportInput, output: JobOutput) -> Report:
    bucket = environment.bucket()
    name = f"reports/{report.run}"
    try:
        page = report_page.render(report, given, output)
    except Exception:
        # The page shows what scripts of any origin wrote. A run does not fail over its report.
        logger.exception("The report has no page")
    else:
        report = report.model_copy(update={"page": f"s3://{bucket}/{name}.html"})
        _put(f"{name}.html", "text/html; charset=utf-8", page)
    _put(f"{name}.json", "application/json", report.model_dump_json(indent=2))
    return report


def _put(key: str, content_type: str, text: str) -> None:
    aws.s3().put_object(Bucket=environment.bucket(), Key=key, Body=text.encode(), ContentType=content_type)
