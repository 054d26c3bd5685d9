"""What people are told: a message when a run begins and one when it ends, the point in the first line.

The attribute `event` is what a subscription filters on: started, deployed, rolled_back, rejected, unchanged,
skipped, torn_down, cleaned_up, failed, swept or alarm.
"""

from __future__ import annotations

from contracts.events import Alarm, Swept
from contracts.report import Report
from contracts.run import Run
from core import aws, environment
from core.text import cut

# Publish's limits: a subject has less than 100 characters, a message at most 262,144 bytes.
_LONGEST_SUBJECT, _LONGEST_MESSAGE = 99, 262_144
# A first line that people read to its end.
_LONGEST_LINE = 2000
_CUT = "\n… The rest is left out, for a message has its limit."


def started(run: Run) -> None:
    """Tell that the run has the endpoint's lease and begins.

    Of a look at whether the endpoint is idle nobody is told: it comes again and again while it is not.
    """
    if run.teardown_of and run.teardown_of.when_idle:
        return
    what = {
        "train": f"a model is trained on dataset {run.dataset}",
        "deploy": f"model {run.model} is deployed",
        "teardown": f"what {run.subject} serves is taken down",
        "cleanup": f"what {run.subject} left half-made is removed",
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
        f"{report.status}: {report.reason}",
        f"{page}{report.model_dump_json(indent=2)}",
        report.status,
    )


def swept(found: Swept) -> None:
    """Tell what the daily sweep found."""
    parts = []
    if found.orphans:
        fate = "deleted" if found.removed else "left, for the parameter Sweep says report"
        count = len(found.orphans)
        belong = "1 thing belongs" if count == 1 else f"{count} things belong"
        parts.append(f"{belong} to no run ({fate}): {', '.join(found.orphans)}.")
    if found.started:
        parts.append(f"Started for events that never came: {', '.join(found.started)}.")
    _publish("swept", "sweep", f"Sweep: {' '.join(parts)}", found.model_dump_json(indent=2), "Swept")


def alarm(sounding: Alarm) -> None:
    """Tell that an alarm has gone off."""
    what = " ".join(sounding.configuration.description.split())
    _publish("alarm", sounding.name, f"Alarm {sounding.name}: {what}", sounding.state.reason, "Alarm")


def _publish(event: str, run: str, first_line: str, rest: str, status: str = "Started") -> None:
    line = cut(" ".join(first_line.split()), _LONGEST_LINE)
    aws.sns().publish(
        TopicArn=environment.topic_arn(),
        Subject=f"Lexline: {run} {event.replace('_', ' ')}"[:_LONGEST_SUBJECT],
        Message=_fitting(f"{line}\n\n{rest}"),
        MessageAttributes={
            "event": {"DataType": "String", "StringValue": event},
            "status": {"DataType": "String", "StringValue": status},
        },
    )


def _fitting(message: str) -> str:
    raw = message.encode()
    if len(raw) <= _LONGEST_MESSAGE:
        return message
    # A character that is cut in two is left out.
    return raw[: _LONGEST_MESSAGE - len(_CUT.encode())].decode(errors="ignore") + _CUT
