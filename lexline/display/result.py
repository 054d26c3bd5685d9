"""The result of a run in sentences, from the report that the run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lexline.aws.reports import UNREADABLE
from lexline.aws.runs import id_in
from lexline.aws.watcher import Snapshot
from lexline.display import cost, formatting
from lexline.display.formatting import sentence

Report = Mapping[str, Any]
"""A report as JSON: a Report of the pipeline's contracts."""
_ABORTED = ("ABORTED", "TIMED_OUT")
_STACK_DELETED = "StackDeleted"
"""The error of executions that were stopped because the stack was deleted. Nothing is left to clean up."""
_TEXT_LENGTH = 300


def lines_for(snapshot: Snapshot) -> list[str]:
    """Return the result of a run that has ended, the most important line first."""
    if snapshot.report is not None:
        try:
            return lines_of(snapshot.report, snapshot.run.id)
        except UNREADABLE:
            return [
                f"The run ended with the status {snapshot.status}. Its report has an unknown form. See it "
                f"with aws stepfunctions describe-execution --execution-arn {snapshot.run.arn}"
            ]
    lines = [f"The run ended with the status {snapshot.status}. {snapshot.error}".rstrip()]
    if snapshot.status in _ABORTED and not snapshot.error.startswith(_STACK_DELETED):
        lines.append("Another run cleans up after it. `lexline status` lists that run.")
    return lines


def lines_of(report: Report, run_id: str) -> list[str]:
    """Return the paragraphs of a report, the most important first."""
    writers = {
        "Succeeded": _succeeded,
        "Unchanged": _unchanged,
        "Rejected": _rejected,
        "Skipped": _skipped,
    }
    lines = writers.get(report["status"], _failed)(report, run_id)
    if report.get("removed"):
        lines.append(f"Removed: {formatting.listing(report['removed'])}.")
    lines += _cost(report)
    if report.get("page"):
        lines.append(f"Report: {report['page']} (`lexline report {run_id} --save FILE` saves it)")
    return [*lines, *_durations(report.get("durations") or {})]


def _succeeded(report: Report, run_id: str) -> list[str]:
    lines = [_headline(report)]
    due = (report.get("finished") or {}).get("teardown_at")
    if due:
        # With when_idle, requests postpone the teardown.
        when = formatting.local_time(datetime.fromisoformat(due))
        lines.append(f"The endpoint will be torn down at {when} or later, as requested.")
    if report.get("job"):
        lines += [*_trained(report), *_corpus(report)]
    lines += [*_quality(report), *_comparison(report.get("comparison") or {})]
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
        return f"{model} was deployed to the endpoint {endpoint} and then torn down, as requested."
    if report.get("event") == "rolled_back":
        return f"The endpoint {endpoint} serves {model} again."
    return f"{model} is live on the endpoint {endpoint}."


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


def _rejected(report: Report, run_id: str) -> list[str]:
    version = (report.get("registered") or {}).get("version")
    return [
        # The reason also names the files that were left out.
        f"The model was trained but not deployed: {sentence(report['reason'])}",
        *_trained(report),
        *_corpus(report, left_out=False),
        *_quality(report),
        *_two_figures(report),
        *([f"To deploy it anyway: `lexline deploy {version} --force`."] if version else []),
    ]


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


def _unchanged(report: Report, run_id: str) -> list[str]:
    dataset = (report.get("dataset") or {}).get("dataset", "NAME")
    return [
        f"Nothing has changed, so no model was trained. {sentence(report['reason'])}",
        *_corpus(report),
        f"To train anyway: `lexline run --dataset {dataset} --force`.",
    ]


def _skipped(report: Report, run_id: str) -> list[str]:
    lines = [f"There was nothing to do: {sentence(report['reason'])}"]
    if report.get("joined"):
        lines.append(f"To follow that run: `lexline status --follow {id_in(report['joined'])}`.")
    return lines


def _failed(report: Report, run_id: str) -> list[str]:
    error = report.get("error") or {}
    step = error.get("step")
    message = error.get("message") or report.get("reason") or "the report has no reason"
    lines = [f"The run failed{f' in {step}' if step else ''}: {sentence(message)}"]
    if report.get("event") == "rolled_back":
        lines.append("The endpoint serves the previous model again.")
    lines += [f"During the cleanup: {sentence(problem)}" for problem in error.get("cleanup", [])]
    if step == "Train":
        lines.append(f"`lexline logs {run_id}` shows the output of the training job.")
    return [*lines, *_corpus(report)]


def _cost(report: Report) -> list[str]:
    training, endpoint = report.get("cost"), report.get("standing_cost")
    parts = [f"training {cost.of_training(training)}"] if training else []
    parts += [f"endpoint {cost.of_endpoint(endpoint)}"] if endpoint else []
    return [f"Cost on AWS: {'; '.join(parts)}."] if parts else []


def _durations(durations: Mapping[str, float]) -> list[str]:
    steps = ", ".join(
        f"{name.replace('_', ' ')} {formatting.duration(seconds)}"
        for name, seconds in durations.items()
        if name != "total"
    )
    if "total" in durations:
        return [f"Duration: {formatting.duration(durations['total'])} ({steps})."]
    return [f"Duration: {steps}."] if steps else []


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _TEXT_LENGTH else text[:_TEXT_LENGTH].rsplit(" ", 1)[0] + " ..."
