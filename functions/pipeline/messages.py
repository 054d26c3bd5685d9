"""What people are told: a message when a run begins and one when it ends, the point in the first line.

The attribute `event` is what a subscription filters on: started, deployed, rolled_back, rejected, unchanged,
skipped, torn_down, cleaned_up, failed, swept or alarm.
"""

from __future__ import annotations

import aws
import settings
from contracts import Alarm, Report, Run, Swept

# SNS's limit for a subject, which must also be printable ASCII.
_SUBJECT_LIMIT = 100


def started(run: Run) -> None:
    """Tell that the run has the endpoint's lease and begins."""
    what = {
        "train": f"a model is trained on dataset {run.dataset}",
        "deploy": f"model {run.model} is deployed",
        "take_down": f"what {run.subject} serves is taken down",
        "clean_up": f"what {run.subject} left half-made is removed",
    }[run.work]
    _publish(
        "started",
        run.name,
        f"Run {run.name} has started: {what}, for endpoint {run.endpoint}.",
        f"Execution: {run.execution.id}",
    )


def ended(report: Report) -> None:
    """Tell what became of the run; below the first line the whole report as JSON."""
    name = report.run or "run"
    page = f"Report: {report.page}\n\n" if report.page else ""
    _publish(
        report.event,
        name,
        f"{report.status}: {' '.join(report.reason.split())}",
        f"{page}{report.model_dump_json(indent=2)}",
        report.status,
    )


def swept(found: Swept) -> None:
    """Tell what the daily sweep found."""
    parts = []
    if found.orphans:
        fate = "deleted" if found.removed else "left, for the parameter Sweep says report"
        parts.append(f"{len(found.orphans)} things belong to no run ({fate}): {', '.join(found.orphans)}.")
    if found.started:
        parts.append(f"Started for events that never came: {', '.join(found.started)}.")
    _publish("swept", "sweep", f"Sweep: {' '.join(parts)}", found.model_dump_json(indent=2), "Swept")


def alarm(sounding: Alarm) -> None:
    """Tell that an alarm has gone off."""
    what = " ".join(sounding.configuration.description.split())
    _publish("alarm", sounding.name, f"Alarm {sounding.name}: {what}", sounding.state.reason, "Alarm")


def _publish(event: str, run: str, first_line: str, rest: str, status: str = "Started") -> None:
    aws.sns().publish(
        TopicArn=settings.topic_arn(),
        Subject=f"Lexline: {run} {event.replace('_', ' ')}"[:_SUBJECT_LIMIT],
        Message=f"{first_line}\n\n{rest}",
        MessageAttributes={
            "event": {"DataType": "String", "StringValue": event},
            "status": {"DataType": "String", "StringValue": status},
        },
    )
