"""The last step: report what became of the run as a JSON document, as a web page and on the topic."""

from contracts.report import Report, ReportInput
from core import aws, environment
from core.logging import logger
from entry_point import step
from reporting import document, durations, messages, prices, published_metrics, report_page, size_limit
from training import job_output
from training.job_output import JobOutput


@step(ReportInput)
def handler(given: ReportInput) -> Report:
    """Return the report, after it was put into the bucket and published."""
    output = job_output.read(given.trained) if given.trained else JobOutput()
    seconds = durations.of_execution(given.execution.id)
    built = document.build(given, output.metrics, seconds, *prices.current())
    report = size_limit.fitted(built)
    published_metrics.publish(report)
    # Publish nothing about an upload that joined another run, because that run publishes. Publish nothing
    # about an idle check that finds the endpoint in use: the checks repeat until the endpoint is idle.
    is_news = given.lease is not None and not (report.work == "teardown" and report.status == "Skipped")
    if is_news and report.run:
        report = _saved(report, given, output)
    if is_news or report.status == "Failed":
        messages.ended(report)
    return report


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
