"""A run's result in words a person can use, from the JSON document that the pipeline's report step writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lexline import costs, wording

_STEP_NAMES = {
    "find_model": "find model",
    "create_model": "create model",
    "smoke_test": "smoke test",
    "tear_down": "tear down",
}


def lines_of(report: Mapping[str, Any], run_id: str, *, local: bool) -> list[str]:
    """The paragraphs to print, the most important first. `local`: the run cost nothing, and AWS's would."""
    writer = {
        "Succeeded": _succeeded,
        "Unchanged": _unchanged,
        "Rejected": _rejected,
        "Skipped": _skipped,
    }.get(report["status"], _failed)
    lines = writer(report, run_id)
    if report.get("torn_down"):
        lines.append(f"Removed: {wording.listing(list(report['torn_down']))}.")
    lines += _cost(report, local=local)
    if report.get("page"):
        lines.append(f"Report: {report['page']} (`lexline report {run_id} --save FILE` fetches it)")
    lines += _durations(report.get("durations") or {})
    return lines


def _succeeded(report: Mapping[str, Any], run_id: str) -> list[str]:
    lines = [_headline(report), *_until(report)]
    lines += _learned(report)
    lines += _quality(report)
    lines += _comparison(report.get("comparison") or {})
    texts = (report.get("smoke_test") or {}).get("texts")
    if texts:
        lines.append(f'It says, from seed {texts[0]["seed"]}: "{_shortened(texts[0]["text"])}"')
    return lines


def _headline(report: Mapping[str, Any]) -> str:
    endpoint = report.get("endpoint")
    if not endpoint:
        return str(report["reason"])
    registered = report.get("registered") or {}
    model, name = registered.get("model") or (report.get("model") or {}).get("name"), endpoint["endpoint"]
    if report.get("torn_down"):
        return f"{model} served on the endpoint {name} and was torn down as asked."
    if report.get("event") == "rolled_back":
        return f"The endpoint {name} is back at {model}."
    return f"{model} is live on the endpoint {name}."


def _until(report: Mapping[str, Any]) -> list[str]:
    due = (report.get("finished") or {}).get("teardown_at")
    if not due:
        return []
    # An endpoint that is to go when idle goes later than this if it is used.
    return [
        f"The endpoint stands until {wording.local_time(datetime.fromisoformat(due))} at least, as asked."
    ]


def _learned(report: Mapping[str, Any]) -> list[str]:
    dataset = report.get("dataset") or {}
    splits = dataset.get("splits")
    job = report.get("job")
    if not splits or not job:
        return []
    version = (report.get("registered") or {}).get("version")
    return [
        f"It learned from {splits['train']['words']:,} words of {dataset['dataset']} in "
        f"{wording.seconds(job['training_seconds'])} of training on {job['instance_type']}"
        + (f", and is version {version} of `lexline models`." if version else ".")
    ]


def _quality(report: Mapping[str, Any]) -> list[str]:
    metrics = report.get("metrics") or report.get("registered") or {}
    # pydantic writes a number that JSON cannot hold as a word ("Infinity").
    test = metrics.get("test_perplexity")
    if test is None:
        return []
    test = float(test)
    sentence = (
        f"Test perplexity {wording.perplexity(test)}: on text it has not seen, it is as unsure of the "
        f"next word as if it chose evenly among {wording.perplexity(test)}"
    )
    vocabulary = metrics.get("vocabulary_size")
    return [f"{sentence} of the {vocabulary:,} words it knows." if vocabulary else f"{sentence}."]


def _comparison(comparison: Mapping[str, Any]) -> list[str]:
    """How the model stands to the one that served before."""
    champion = comparison.get("champion")
    if not champion:
        return []
    if comparison.get("reason"):
        return [f"It could not be compared with {champion}, which served: {_sentence(comparison['reason'])}"]
    figures = [float(comparison[f"{who}_perplexity"]) for who in ("challenger", "champion")]
    sentence = (
        f"On the same words it has perplexity {figures[0]:.2f}; {champion}, which served, {figures[1]:.2f}."
    )
    return [" ".join([sentence, *map(_sentence, comparison.get("notes") or ())])]


def _rejected(report: Mapping[str, Any], run_id: str) -> list[str]:
    version = (report.get("registered") or {}).get("version")
    return [
        f"The model was trained but not put into service: {_sentence(report['reason'])}",
        *_learned(report),
        *_quality(report),
        *([f"`lexline deploy {version} --force` puts it into service all the same."] if version else []),
    ]


def _unchanged(report: Mapping[str, Any], run_id: str) -> list[str]:
    dataset = (report.get("dataset") or {}).get("dataset", "NAME")
    return [
        f"Nothing has changed, so nothing was trained. {_sentence(report['reason'])}",
        f"`lexline run --dataset {dataset} --force` trains it again.",
    ]


def _skipped(report: Mapping[str, Any], run_id: str) -> list[str]:
    return [f"There was nothing to do: {_sentence(report['reason'])}"]


def _failed(report: Mapping[str, Any], run_id: str) -> list[str]:
    error = report.get("error") or {}
    where = f" in {error['step']}" if error.get("step") else ""
    message = error.get("message") or report.get("reason") or "no reason was given"
    lines = [f"The run failed{where}: {_sentence(message)}"]
    if report.get("event") == "rolled_back":
        lines.append("The endpoint is back at what it served before, and answers.")
    lines += [f"While cleaning up: {_sentence(problem)}" for problem in error.get("cleanup", [])]
    if error.get("step") == "Train":
        lines.append(f"`lexline logs {run_id}` shows what the training job printed.")
    return lines


def _cost(report: Mapping[str, Any], *, local: bool) -> list[str]:
    training, endpoint = report.get("cost"), report.get("standing_cost")
    parts = [f"training {costs.on_training(training)}"] if training else []
    parts += [f"endpoint {costs.on_endpoint(endpoint)}"] if endpoint else []
    return [f"Cost{' on AWS' if local else ''}: {'; '.join(parts)}."] if parts else []


def _durations(durations: Mapping[str, float]) -> list[str]:
    if not durations:
        return []
    total = durations.get("total")
    parts = ", ".join(
        f"{_STEP_NAMES.get(name, name)} {wording.seconds(float(value))}"
        for name, value in durations.items()
        if name != "total"
    )
    return [f"Took {wording.seconds(float(total))}: {parts}." if total is not None else f"Took: {parts}."]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _shortened(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " ..."
