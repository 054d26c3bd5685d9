"""The messages on the results topic: of runs that begin and end, of the daily sweep, and of alarms.

The first line says the point. Subscriptions filter on the attribute `event`: an event of a report
(contracts/report.py), or started, swept or alarm.
"""

from contracts.events import AlarmChange, Swept
from contracts.report import Report
from contracts.run import Run
from core import aws, environment
from core.text import cut

# Publish's limits: a subject has less than 100 characters, a message at most 262,144 bytes.
_LONGEST_SUBJECT, _LONGEST_MESSAGE = 99, 262_144
_LONGEST_FIRST_LINE = 2000
_CUT = "\n… The message is cut here: Amazon SNS allows 262,144 bytes."


def started(run: Run) -> None:
    """Publish that the run has the endpoint's lease and begins.

    Send no message for idle checks: they repeat until the endpoint is idle.
    """
    if run.teardown_of and run.teardown_of.when_idle:
        return
    task = {
        "train": f"It trains a model on dataset {run.dataset} for endpoint {run.endpoint}.",
        "deploy": f"It deploys model {run.model} to endpoint {run.endpoint}.",
        "teardown": f"It tears down endpoint {run.endpoint}, which run {run.subject} deployed.",
        "cleanup": f"It deletes what run {run.subject} left unfinished at endpoint {run.endpoint}.",
    }[run.work]
    _publish("started", run.name, f"Run {run.name} has started. {task}", f"Execution: {run.execution.id}")


def ended(report: Report) -> None:
    """Publish the report of a run that has ended: headline and reason, then the whole document as JSON."""
    page = f"Report: {report.page}\n\n" if report.page else ""
    first_line = f"{report.status}: {report.headline} {report.reason}"
    document = report.model_dump_json(indent=2)
    _publish(report.event, report.run or "run", first_line, f"{page}{document}", report.status)


def swept(found: Swept) -> None:
    """Publish what the daily sweep found."""
    sentences = []
    if found.orphans:
        belong = "1 resource belongs" if len(found.orphans) == 1 else f"{len(found.orphans)} resources belong"
        outcome = "deleted" if found.removed else "not deleted: parameter Sweep is report"
        sentences.append(f"{belong} to no run ({outcome}): {', '.join(found.orphans)}.")
    if found.started:
        sentences.append(f"Executions started in place of missed events: {', '.join(found.started)}.")
    if found.foreign:
        sentences.append(f"Not of this stack, so left as they are: {' '.join(found.foreign)}")
    first_line = f"Sweep: {' '.join(sentences)}"
    _publish("swept", "sweep", first_line, found.model_dump_json(indent=2), "Swept")


def alarm(sounding: AlarmChange) -> None:
    """Publish that an alarm has gone off."""
    first_line = f"Alarm {sounding.name}: {sounding.description}"
    _publish("alarm", sounding.name, first_line, sounding.reason, "Alarm")


def _publish(event: str, subject: str, first_line: str, rest: str, status: str = "Started") -> None:
    line = cut(" ".join(first_line.split()), _LONGEST_FIRST_LINE)
    aws.sns().publish(
        TopicArn=environment.topic_arn(),
        Subject=f"Lexline: {subject} {event.replace('_', ' ')}"[:_LONGEST_SUBJECT],
        Message=_fitted(f"{line}\n\n{rest}"),
        MessageAttributes={
            "event": {"DataType": "String", "StringValue": event},
            "status": {"DataType": "String", "StringValue": status},
        },
    )


def _fitted(message: str) -> str:
    raw = message.encode()
    if len(raw) <= _LONGEST_MESSAGE:
        return message
    # The cut may split a character; errors="ignore" drops its half.
    return raw[: _LONGEST_MESSAGE - len(_CUT.encode())].decode(errors="ignore") + _CUT
