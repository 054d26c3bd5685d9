"""The result of a run in sentences, from the report that the run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lexline.aws.reports import UNREADABLE
from lexline.aws.watcher import Snapshot
from lexline.display import cost, formatting, step_names
from lexline.display.formatting import sentence

Report = Mapping[str, Any]
"""A report as JSON: a Report of the pipeline's contracts."""
_ABORTED = ("ABORTED", "TIMED_OUT")
_STACK_DELETED = "StackDeleted"
"""The error of executions that were stopped because the stack was deleted. Nothing is left to clean up."""
_TEXT_LENGTH = 300
_SHORT_SECONDS = 5
_TEXT_ENDS = tuple('.!?…"”’»。！？')


def lines_for(snapshot: Snapshot) -> list[str]:
    """Return the result of a run that has ended, the most important line first."""
    if snapshot.report is not None:
        try:
            return lines_of(snapshot.report)
        except UNREADABLE:
            return [
                f"The run ended with the status {snapshot.status}. Its report has an unknown form. See it "
                f"with aws stepfunctions describe-execution --execution-arn {snapshot.run.arn}"
            ]
    lines = [f"The run ended with the status {snapshot.status}. {snapshot.error}".rstrip()]
    if snapshot.status in _ABORTED and not snapshot.error.startswith(_STACK_DELETED):
        lines.append("Another run cleans up after it. `lexline status` lists that run.")
    return lines


def lines_of(report: Report) -> list[str]:
    """Return the paragraphs of a report, the most important first."""
    writers = {
        "Succeeded": _succeeded,
        "Unchanged": _unchanged,
        "Rejected": _rejected,
        "Skipped": _skipped,
    }
    lines = writers.get(report["status"], _failed)(report)
    if report.get("removed"):
        lines.append(f"Removed: {formatting.listing(report['removed'])}.")
    lines += _cost(report)
    if report.get("page"):
        lines.append(f"Report: {report['page']}")
    return [*lines, *_durations(report.get("durations") or {})]


def _succeeded(report: Report) -> list[str]:
    lines = [report.get("headline") or _headline(report)]
    due = (report.get("finished") or {}).get("teardown_at")
    if due:
        # With when_idle, requests postpone the teardown.
        when = formatting.local_time(datetime.fromisoformat(due))
        lines.append(f"The endpoint will be torn down at {when} or later, as requested.")
    if report.get("job"):
        lines += [*_trained(report), *_corpus(report)]
    lines += [*_quality(report), *_comparison(report.get("comparison") or {}), *_two_figures(report)]
    texts = (report.get("smoke_test") or {}).get("texts")
    if texts:
        lines.append(f'Sample text (seed {texts[0]["seed"]}): "{_shortened(texts[0]["text"])}"')
    return lines


def _headline(report: Report) -> str:
    endpoint = (report.get("endpoint") or {}).get("endpoint")
    if not endpoint:
        return str(report["reason"])
    model = (report.get("registered") or {}).get("model") or (report.get("model") or {}).get("name")
    if report.get("removed"):
        return f"{model} was deployed and tested. Then endpoint {endpoint} was torn down, as requested."
    if report.get("event") == "rolled_back":
        return f"Endpoint {endpoint} serves {model} again."
    return f"{model} is live on endpoint {endpoint}."


def _trained(report: Report) -> list[str]:
    dataset, job = report.get("dataset") or {}, report.get("job")
    if not dataset.get("splits") or not job:
        return []
    version = (report.get("registered") or {}).get("version")
    return [
        f"It was trained on {dataset['splits']['train']['words']:,} words of {dataset['dataset']} for "
        f"{formatting.duration(job['training_seconds'])} on {job['instance_type']}"
        + (f", and is version {version} in `lexline models`." if version else ".")
    ]


def _corpus(report: Report, *, left_out: bool = True) -> list[str]:
    """Say how many texts of the dataset were read, and, if requested, which files were left out and why."""
    dataset = report.get("dataset") or {}
    if not dataset.get("files"):
        return []
    lines = [_files_used(dataset)]
    if left_out and (count := dataset["left_out_count"]):
        lines.append(f"Left out: {formatting.counted(count, 'file')}.")
        lines += [f"  {each['name']}: {sentence(each['reason'])}" for each in dataset["left_out"]]
        if (more := count - len(dataset["left_out"])) > 0:
            lines.append(f"  {more:,} more: `lexline datasets {dataset['dataset']}` lists them.")
    return [*lines, *map(sentence, dataset["notes"])]


def _files_used(dataset: Mapping[str, Any]) -> str:
    files, name = dataset["files"], dataset["dataset"]
    if files == 1:
        return f"The corpus is the one text of the dataset {name}."
    every = "all " if not dataset["left_out_count"] else ""
    return f"The corpus is {every}{files:,} texts of the dataset {name}."


def _quality(report: Report) -> list[str]:
    metrics = report.get("metrics") or report.get("registered") or {}
    if metrics.get("test_perplexity") is None:
        return []
    # JSON has no infinity, so the report has it as a string.
    test = formatting.perplexity(float(metrics["test_perplexity"]))
    vocabulary, share = metrics.get("vocabulary_size"), metrics.get("test_unknown_share")
    return [
        f"Test perplexity {test}: on unseen text, the model is as uncertain about the next word as if it "
        f"chose at random among {test} words."
        + (f" It does not know {share:.1%} of that text." if share is not None else "")
        + (f" Its vocabulary has {vocabulary:,} words." if vocabulary else ""),
        *map(sentence, metrics.get("notes") or ()),
    ]


def _comparison(comparison: Mapping[str, Any]) -> list[str]:
    champion = comparison.get("champion")
    if not champion:
        return []
    if comparison.get("reason"):
        return [
            f"It could not be compared with {champion}, which served before: {sentence(comparison['reason'])}"
        ]
    challenger, former = (float(comparison[f"{which}_perplexity"]) for which in ("challenger", "champion"))
    figures = (
        f"On the same text, it has a perplexity of {challenger:.2f}, and {champion}, which served before, "
        f"has {former:.2f}."
    )
    return [" ".join([figures, *map(sentence, comparison.get("notes") or ())])]


def _two_figures(report: Report) -> list[str]:
    """Explain why the figure of the comparison is not the test perplexity, if it is another one."""
    test = (report.get("metrics") or {}).get("test_perplexity")
    compared = (report.get("comparison") or {}).get("challenger_perplexity")
    if test is None or compared is None or f"{float(test):.2f}" == f"{float(compared):.2f}":
        return []
    return [
        f"It has two perplexities. For the test perplexity, {float(test):.2f}, all words that it does not "
        f"know count as one word. For the comparison, {float(compared):.2f}, it must predict each of them "
        "exactly, because the other model knows other words. Compare only the second with the other model's."
    ]


def _rejected(report: Report) -> list[str]:
    reason = sentence(report["reason"])
    test = (report.get("metrics") or {}).get("test_perplexity")
    explained = test is not None and f"{float(test):.2f}" in reason
    return [
        # The reason also names the files that were left out.
        f"{report.get('headline') or 'The model was trained but not deployed:'} {reason}",
        *_trained(report),
        *_corpus(report, left_out=False),
        *_quality(report),
        *([] if explained else _two_figures(report)),
    ]


def _unchanged(report: Report) -> list[str]:
    return [
        f"Nothing has changed, so no model was trained. {sentence(report['reason'])}",
        *_corpus(report),
    ]


def _skipped(report: Report) -> list[str]:
    return [f"There was nothing to do: {sentence(report['reason'])}"]


def _failed(report: Report) -> list[str]:
    error = report.get("error") or {}
    step = error.get("step")
    message = error.get("message") or report.get("reason") or "the report has no reason"
    lines = [f"The run failed{_in_step(step)}: {sentence(message)}"]
    # The headline also names the step.
    endpoint = str(report.get("headline", "")).partition("failed. ")[2]
    if endpoint:
        lines.append(endpoint)
    elif report.get("event") == "rolled_back":
        lines.append("The endpoint serves the previous model again.")
    lines += [f"During the cleanup: {sentence(problem)}" for problem in error.get("cleanup", [])]
    return [*lines, *_corpus(report)]


def _in_step(step: str | None) -> str:
    return f" in the step “{step_names.in_words(step)}”" if step else ""


def _cost(report: Report) -> list[str]:
    training, endpoint = report.get("cost"), report.get("standing_cost")
    parts = [f"training {cost.of_training(training)}"] if training else []
    parts += [f"endpoint {cost.of_endpoint(endpoint)}"] if endpoint else []
    return [f"Cost on AWS: {'; '.join(parts)}."] if parts else []


def _durations(durations: Mapping[str, float]) -> list[str]:
    """Say how long the run and its steps took. Short steps are summed up."""
    steps = {name: seconds for name, seconds in durations.items() if name != "total"}
    short = [seconds for seconds in steps.values() if seconds < _SHORT_SECONDS]
    listed = [
        f"{step_names.in_words(name)} {formatting.duration(seconds)}"
        for name, seconds in steps.items()
        if seconds >= _SHORT_SECONDS or len(short) == 1
    ]
    if len(short) > 1:
        listed.append(
            f"{len(short)} {'other' if listed else 'short'} steps {formatting.duration(sum(short))}"
        )
    if "total" in durations:
        return [f"Duration: {formatting.duration(durations['total'])} ({', '.join(listed)})."]
    return [f"Duration: {', '.join(listed)}."] if listed else []


def _shortened(text: str) -> str:
    """Return a text in one line, with an ellipsis if it stops in the middle of a sentence."""
    text = " ".join(text.split())
    if len(text) > _TEXT_LENGTH:
        text = text[:_TEXT_LENGTH].rsplit(" ", 1)[0]
    return text if text.endswith(_TEXT_ENDS) else f"{text}…"
