"""A run's result in words a person can use, from the JSON document that the pipeline's report step writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexline import wording

_STEP_NAMES = {"create_model": "create model", "smoke_test": "smoke test", "tear_down": "tear down"}


def lines_of(report: Mapping[str, Any], run_id: str) -> list[str]:
    """The paragraphs to print, the most important first."""
    writer = {"Succeeded": _succeeded, "Rejected": _rejected, "Skipped": _skipped}.get(
        report["status"], _failed
    )
    lines = writer(report, run_id)
    if report.get("torn_down"):
        lines.append(f"Removed: {wording.listing(list(report['torn_down']))}.")
    lines += _durations(report.get("durations") or {})
    return lines


def _succeeded(report: Mapping[str, Any], run_id: str) -> list[str]:
    lines = [_headline(report)]
    lines += _learned(report)
    lines += _quality(report.get("metrics") or {})
    sample = report.get("smoke_test")
    if sample:
        lines.append(f'It says, from seed {sample["seed"]}: "{_shortened(sample["text"])}"')
    return lines


def _headline(report: Mapping[str, Any]) -> str:
    endpoint = report.get("endpoint")
    model = (report.get("model") or {}).get("name", "The model")
    if not endpoint:
        return f"{report['reason']}"
    if report.get("torn_down"):
        return f"{model} was trained, served on the endpoint {endpoint['endpoint']}, and torn down as asked."
    return f"{model} is live on the endpoint {endpoint['endpoint']}."


def _learned(report: Mapping[str, Any]) -> list[str]:
    dataset = report.get("dataset") or {}
    splits = dataset.get("splits")
    if not splits:
        return []
    sentence = f"It learned from {splits['train']['words']:,} words of {dataset['dataset']}"
    job = report.get("job")
    if job:
        sentence += f" in {wording.seconds(job['training_seconds'])} of training on {job['instance_type']}"
    return [f"{sentence}."]


def _quality(metrics: Mapping[str, Any]) -> list[str]:
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


def _rejected(report: Mapping[str, Any], run_id: str) -> list[str]:
    return [
        f"The model was trained but not put into service: {_sentence(report['reason'])}",
        *_learned(report),
        *_quality(report.get("metrics") or {}),
    ]


def _skipped(report: Mapping[str, Any], run_id: str) -> list[str]:
    return [f"There was nothing to do: {_sentence(report['reason'])}"]


def _failed(report: Mapping[str, Any], run_id: str) -> list[str]:
    error = report.get("error") or {}
    where = f" in {error['step']}" if error.get("step") else ""
    message = error.get("message") or report.get("reason") or "no reason was given"
    lines = [f"The run failed{where}: {_sentence(message)}"]
    lines += [f"While cleaning up: {_sentence(problem)}" for problem in error.get("cleanup", [])]
    if error.get("step") == "Train":
        lines.append(f"`lexline logs {run_id}` shows what the training job printed.")
    return lines


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
