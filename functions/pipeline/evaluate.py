"""The gate: may this model replace what is served? No calls to AWS; the training job's metrics decide."""

from __future__ import annotations

import math

from contracts import Evaluated, EvaluateInput, Metrics
from step import step


@step(EvaluateInput)
def handler(given: EvaluateInput) -> Evaluated:
    reported = given.trained.metrics
    vocabulary = reported.get("vocabulary:size")
    metrics = Metrics(
        test_perplexity=reported.get("test:perplexity"),
        valid_perplexity=reported.get("valid:perplexity"),
        train_perplexity=reported.get("train:perplexity"),
        words_per_second=reported.get("train:words_per_second"),
        vocabulary_size=None if vocabulary is None else int(vocabulary),
    )
    objection = objection_to(metrics, given.run.max_perplexity)
    reason = (
        objection or f"Test perplexity {metrics.test_perplexity:.2f} over {metrics.vocabulary_size:,} words."
    )
    return Evaluated(accepted=objection is None, reason=reason, metrics=metrics)


def objection_to(metrics: Metrics, max_perplexity: float | None) -> str | None:
    """Why the model must not be served, or None.

    Guessing every word of the vocabulary alike has a perplexity of the vocabulary's size; a model that is no
    better has learnt nothing.
    """
    perplexity, vocabulary = metrics.test_perplexity, metrics.vocabulary_size
    if perplexity is None or vocabulary is None:
        missing = "test perplexity" if perplexity is None else "vocabulary size"
        return f"The training job reported no {missing}; its log says why."
    if not math.isfinite(perplexity):
        return f"Test perplexity is {perplexity}: training diverged. Lower hyperparameters.lr or .clip."
    if perplexity >= vocabulary:
        return (
            f"Test perplexity {perplexity:.2f} is no better than guessing among the {vocabulary:,} words of "
            "the vocabulary. Train for more hyperparameters.epochs, or on more text."
        )
    if max_perplexity is not None and perplexity > max_perplexity:
        return f"Test perplexity {perplexity:.2f} is above max_perplexity, {max_perplexity:g}."
    return None
