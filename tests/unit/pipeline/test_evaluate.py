"""evaluate: only a model that has learnt something, and enough, may be served."""

import json
from typing import Any

import evaluate
import pytest


def verdict(documents: Any, context: Any, **metrics: float | None) -> dict[str, Any]:
    for name, value in metrics.items():
        key = name.replace("_", ":")
        if value is None:
            del documents.trained["metrics"][key]
        else:
            documents.trained["metrics"][key] = value
    return evaluate.handler({"run": documents.run, "trained": documents.trained}, context)


def test_a_model_better_than_guessing_is_accepted(documents: Any, context: Any) -> None:
    assert verdict(documents, context) == documents.evaluated


@pytest.mark.parametrize("perplexity", [float("inf"), float("nan")])
def test_a_diverged_model_is_rejected(documents: Any, context: Any, perplexity: float) -> None:
    evaluated = verdict(documents, context, test_perplexity=perplexity)
    assert not evaluated["accepted"]
    assert "diverged" in evaluated["reason"]
    json.dumps(evaluated, allow_nan=False)


@pytest.mark.parametrize("perplexity", [33278, 40000.0])
def test_a_model_no_better_than_guessing_is_rejected(documents: Any, context: Any, perplexity: float) -> None:
    evaluated = verdict(documents, context, test_perplexity=perplexity)
    assert not evaluated["accepted"]
    assert "no better than guessing among the 33,278 words" in evaluated["reason"]


@pytest.mark.parametrize(("ceiling", "accepted"), [(208.2, False), (208.3, True), (500, True)])
def test_max_perplexity_is_the_most_that_is_accepted(
    documents: Any, context: Any, ceiling: float, accepted: bool
) -> None:
    documents.run["max_perplexity"] = ceiling
    evaluated = verdict(documents, context)
    assert evaluated["accepted"] is accepted
    assert accepted or "above max_perplexity, 208.2" in evaluated["reason"]


@pytest.mark.parametrize("metric", ["test_perplexity", "vocabulary_size"])
def test_a_model_that_nobody_measured_is_rejected(documents: Any, context: Any, metric: str) -> None:
    evaluated = verdict(documents, context, **{metric: None})
    assert not evaluated["accepted"]
    assert metric.replace("_", " ") in evaluated["reason"]
