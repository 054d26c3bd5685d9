"""The last step: say what became of the run, in one JSON document, and publish it to the results topic."""

from __future__ import annotations

import json
from typing import Literal

import aws
import settings
from aws_lambda_powertools.metrics import MetricUnit
from contracts import Caught, Failure, Report, ReportInput
from step import metrics, step

# SNS's limit for a subject, which must also be printable ASCII.
_SUBJECT_LIMIT = 100


@step(ReportInput)
def handler(given: ReportInput) -> Report:
    report = report_on(given)
    metrics.add_metric(name=f"Runs{report.status}", unit=MetricUnit.Count, value=1)
    aws.sns().publish(
        TopicArn=settings.topic_arn(),
        Subject=f"Lexline: {report.run or 'run'} {report.status}"[:_SUBJECT_LIMIT],
        Message=report.model_dump_json(indent=2),
        MessageAttributes={"status": {"DataType": "String", "StringValue": report.status}},
    )
    return report


def report_on(given: ReportInput) -> Report:
    """The document, from everything the run left in the state machine's variables."""
    failure = failure_of(given.caught)
    status: Literal["Succeeded", "Skipped", "Rejected", "Failed"]
    if failure:
        status, reason = "Failed", f"{failure.step} failed with {failure.error}: {failure.message}"
    elif given.skipped:
        status, reason = "Skipped", message_of(given.skipped)
    elif given.prepared and given.prepared.outcome != "prepared":
        status, reason = "Skipped", given.prepared.reason
    elif given.evaluated and not given.evaluated.accepted:
        status, reason = "Rejected", f"{given.evaluated.reason} The endpoint was left as it was."
    else:
        status, reason = "Succeeded", given.evaluated.reason if given.evaluated else ""
    removed = [
        *(given.compensated.removed if given.compensated else []),
        *(given.torn_down.removed if given.torn_down else []),
    ]
    return Report(
        status=status,
        reason=reason,
        run=given.run.name if given.run else None,
        execution=given.execution.id,
        dataset=given.prepared,
        job=given.trained,
        metrics=given.evaluated.metrics if given.evaluated else None,
        model=given.model,
        endpoint=given.deployed,
        smoke_test=given.smoke_test,
        durations=given.durations,
        torn_down=removed,
        error=failure,
    )


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
