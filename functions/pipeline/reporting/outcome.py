"""The outcome of a run: its status, the event to publish, and sentences on what happened and why."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.dataset import PrepareOutcome
from contracts.report import Event, Failure, ReportInput, Status
from contracts.run import Run
from contracts.serving import Caught
from reporting import step_names

# The reason names so many of the files that were left out. The report and the manifest have more.
_LEFT_OUT_SHOWN = 3


@dataclass(frozen=True)
class Outcome:
    """What became of a run: the report's fields of these names, and its `error`."""

    status: Status
    headline: str
    event: Event
    reason: str
    error: Failure | None


def outcome_of(given: ReportInput) -> Outcome:
    """Return the outcome of a run that has ended."""
    failure = _failure(given.caught)
    status, reason = _status_and_reason(given, failure)
    return Outcome(status, _headline(given, status, failure), _event(given, status), reason, failure)


def _status_and_reason(given: ReportInput, failure: Failure | None) -> tuple[Status, str]:
    run, evaluated, endpoint = given.run, given.evaluated, _endpoint_sentence(given)
    if failure:
        return "Failed", f"{failure.error}: {failure.message}"
    if given.skipped:
        return "Unchanged" if given.skipped.Error == "Unchanged" else "Skipped", _message(given.skipped)
    if run and given.gathered and given.gathered.joined:
        return "Skipped", (
            f"{run.upload.key if run.upload else run.dataset} joined run {given.gathered.joined}, which "
            f"begins when dataset {run.dataset} has been quiet for long enough."
        )
    if given.prepared and given.prepared.outcome != "prepared":
        return "Skipped", given.prepared.reason
    if evaluated and not evaluated.accepted:
        return (
            "Rejected",
            f"{evaluated.reason} The endpoint was not changed.{_left_out_sentences(given.prepared)}",
        )
    if run and run.cleanup_of:
        ended = run.cleanup_of
        return "Succeeded", (
            f"Run {ended.run} ended as {ended.status}. The resources that it left unfinished are deleted."
            f"{endpoint} To continue its work, start it again."
        )
    if run and run.teardown_of:
        return "Succeeded", f"It served the model of run {run.subject}."
    if evaluated:
        return "Succeeded", f"{evaluated.reason}{_left_out_sentences(given.prepared)}"
    return "Succeeded", "The endpoint generated test texts with it."


def _headline(given: ReportInput, status: Status, failure: Failure | None) -> str:
    """Return the outcome in one or two short sentences, without a figure or a word of the trade."""
    run, evaluated = given.run, given.evaluated
    if failure:
        undone = _endpoint_sentence(given) or _unchanged_endpoint(given, failure)
        return f"The step “{step_names.in_words(failure.step)}” failed.{undone}"
    if status == "Unchanged":
        return "Nothing has changed, so no model was trained."
    if status == "Skipped":
        joined = given.gathered and given.gathered.joined
        return "Another run takes this upload along." if joined else "There was nothing to do."
    if status == "Rejected":
        because = f": {evaluated.objection}" if evaluated and evaluated.objection else ""
        return f"The new model was not deployed{because}."
    if run is None or run.cleanup_of:
        return "An aborted run is cleaned up."
    if run.teardown_of:
        return f"Endpoint {run.endpoint} was torn down, as requested."
    return _deployment(given, run)


def _deployment(given: ReportInput, run: Run) -> str:
    model = given.registered.model if given.registered else run.name
    former = given.finished.replaced if given.finished else None
    if given.teardown:
        return f"{model} was deployed and tested. Then endpoint {run.endpoint} was torn down, as requested."
    if run.model == "previous":
        instead = f", instead of {former}" if former else ""
        return f"Endpoint {run.endpoint} serves {model} again{instead}."
    replaced = f" It replaces {former}." if former and former != model else ""
    return f"{model} is live on endpoint {run.endpoint}.{replaced}"


def _endpoint_sentence(given: ReportInput) -> str:
    """Return a sentence on the endpoint if something was undone, else nothing."""
    undone, run = given.compensated, given.run
    if given.teardown and any(name.startswith("endpoint/") for name in given.teardown.removed):
        return " The endpoint was torn down, as requested."
    if undone and undone.restored:
        return f" The endpoint serves {undone.model or undone.serving} again, and responds."
    if undone and run and undone.serving == run.subject:
        return f" The endpoint serves {undone.model or undone.serving}, which had passed the test."
    return ""


def _unchanged_endpoint(given: ReportInput, failure: Failure) -> str:
    """Return that the failed run did not change the endpoint, if that is certain, else nothing."""
    undone = given.compensated
    never_began = given.lease is None
    found_no_model = failure.step == "FindModel"
    never_deployed = undone is not None and undone.serving is None and given.registered is None
    return " The endpoint was not changed." if never_began or found_no_model or never_deployed else ""


def _left_out_sentences(prepared: PrepareOutcome | None) -> str:
    """Return which files were left out and why, the first ones; nothing if none was."""
    if prepared is None or prepared.outcome != "prepared" or not prepared.left_out_count:
        return ""
    # A file that could have been text comes before a README.
    shown = sorted(prepared.left_out, key=lambda each: not each.error)[:_LEFT_OUT_SHOWN]
    were = "1 file was" if prepared.left_out_count == 1 else f"{prepared.left_out_count:,} files were"
    sentences = [f" {were} left out.", *(f"{each.name}: {each.reason}" for each in shown)]
    if more := prepared.left_out_count - len(shown):
        sentences.append(f"{more:,} more: see the report and {prepared.manifest_uri}.")
    return " ".join(sentences)


def _event(given: ReportInput, status: Status) -> Event:
    run = given.run
    if status == "Failed":
        return "rolled_back" if given.compensated and given.compensated.restored else "failed"
    if status == "Succeeded":
        if run and run.work in ("cleanup", "teardown"):
            return "cleanup" if run.work == "cleanup" else "teardown"
        return "rolled_back" if run and run.model == "previous" else "deployed"
    events: dict[Status, Event] = {"Unchanged": "unchanged", "Skipped": "skipped", "Rejected": "rejected"}
    return events[status]


def _failure(caught: Sequence[Caught]) -> Failure | None:
    if not caught:
        return None
    first, *later = caught
    return Failure(
        error=first.Error,
        message=_message(first),
        step=first.Step,
        cleanup=[
            f"“{step_names.in_words(error.Step)}” failed with {error.Error}: {_message(error)}"
            for error in later
        ],
    )


def _message(caught: Caught) -> str:
    # A failed Lambda's cause is JSON with an errorMessage. A failed task token's cause is a sentence.
    try:
        message = json.loads(caught.Cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        message = caught.Cause
    return str(message) or caught.Error
