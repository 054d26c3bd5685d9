"""The gate: may this model replace what is served?

Two questions: is it good by itself (absolute limits), and is it as good as the model that serves (both scored
by the training job on the same new test text, over the same words). Where the two cannot be compared the
verdict says why.
"""

from __future__ import annotations

import math

from contracts.run import Run
from contracts.training import Champion, Comparison, Evaluated, EvaluateInput, Metrics
from entry_point import step
from training import job_output
from training.job_output import ScoredModels


@step(EvaluateInput)
def handler(given: EvaluateInput) -> Evaluated:
    """Return the gate's verdict on the new model."""
    reported = given.trained.metrics
    vocabulary = reported.get("vocabulary:size")
    metrics = Metrics(
        test_perplexity=reported.get("test:perplexity"),
        valid_perplexity=reported.get("valid:perplexity"),
        train_perplexity=reported.get("train:perplexity"),
        words_per_second=reported.get("train:words_per_second"),
        vocabulary_size=None if vocabulary is None else int(vocabulary),
    )
    comparison = compare(
        given.run,
        given.champion,
        given.prepared.fingerprint,
        job_output.read(given.trained).metrics.comparison,
    )
    objection = objection_to(metrics, given.run.max_perplexity) or regression(comparison)
    reason = objection or (
        f"Test perplexity {metrics.test_perplexity:.2f} over {metrics.vocabulary_size:,} words. "
        f"{sentence_on(comparison)}"
    )
    return Evaluated(
        accepted=objection is None, reason=reason.strip(), metrics=metrics, comparison=comparison
    )


def objection_to(metrics: Metrics, max_perplexity: float | None) -> str | None:
    """Why the model must not be served, whatever serves now; or None.

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


def compare(run: Run, champion: Champion, fingerprint: str, scored: ScoredModels | None) -> Comparison | None:
    """Return the comparison that the training job made with the champion; None if nothing serves.

    Args:
        run: The challenger's run.
        champion: The model that serves.
        fingerprint: The challenger's data.
        scored: The training job's scores; None if its scripts made none.
    """
    if champion.config is None:
        return None
    name = champion.model or champion.config
    scores = (scored.champion.perplexity, scored.challenger.perplexity) if scored else (None, None)
    reason = None
    if champion.artifact_prefix is None:
        reason = f"The artifact of {name} is gone."
    elif scored is None:
        reason = "The training job's scripts did not score it."
    elif not scored.comparable:
        reason = scored.reason or "The training job gave no reason."
    elif None in scores:
        reason = "The training job gave no figures for both."
    if scored is None or reason is not None:
        return Comparison(champion=name, tolerance=run.tolerance, reason=reason)
    return Comparison(
        champion=name,
        champion_perplexity=scores[0],
        challenger_perplexity=scores[1],
        tolerance=run.tolerance,
        notes=[*scored.notes, *_notes(run, champion, fingerprint)],
    )


def regression(comparison: Comparison | None) -> str | None:
    """Why the champion stays, with both figures; None if the challenger may take its place."""
    if comparison is None or comparison.reason is not None:
        return None
    champion, challenger = comparison.champion_perplexity, comparison.challenger_perplexity
    if champion is None or challenger is None or challenger <= champion * (1 + comparison.tolerance):
        return None
    return (
        f"Perplexity {challenger:.2f} on the new test text is worse than the {champion:.2f} of "
        f"{comparison.champion}, which serves (tolerance {comparison.tolerance:.1%})."
    )


def sentence_on(comparison: Comparison | None) -> str:
    """How an accepted model stands to the one it replaces."""
    if comparison is None:
        return ""
    if comparison.reason is not None:
        return f"It could not be compared with {comparison.champion}: {comparison.reason}"
    return (
        f"On the new test text {comparison.challenger_perplexity:.2f}, where {comparison.champion}, which "
        f"served, has {comparison.champion_perplexity:.2f}."
    )


def _notes(run: Run, champion: Champion, fingerprint: str) -> list[str]:
    if champion.dataset and champion.dataset != run.dataset:
        return [f"{champion.model} was trained on dataset {champion.dataset}, not on {run.dataset}."]
    if champion.fingerprint and champion.fingerprint != fingerprint:
        return [
            f"{champion.model} was trained on an earlier state of {run.dataset} and may have read some of "
            "this test text, which flatters it."
        ]
    return []
