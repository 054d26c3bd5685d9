"""Evaluate, the gate: may this model replace the one that serves?

The gate asks two questions. Is the model good enough by itself (absolute limits)? And is it as good as the
champion? The training job scored both models on the same new test text. If they cannot be compared, the
request's `incomparable` decides, and the verdict says why.
"""

import math
from typing import NamedTuple

from contracts.run import Run
from contracts.training import Champion, Comparison, Evaluated, EvaluateInput, Metrics
from entry_point import step
from training import job_output
from training.job_output import ScoredModels


class Objection(NamedTuple):
    """Why a model is rejected: in a clause about the model, and in sentences."""

    clause: str
    reason: str


@step(EvaluateInput)
def handler(given: EvaluateInput) -> Evaluated:
    """Return the verdict."""
    reported = given.trained.metrics
    vocabulary, words = reported.get("vocabulary:size"), reported.get("test:words")
    written = job_output.read(given.trained).metrics
    metrics = Metrics(
        test_perplexity=reported.get("test:perplexity"),
        valid_perplexity=reported.get("valid:perplexity"),
        train_perplexity=reported.get("train:perplexity"),
        words_per_second=reported.get("train:words_per_second"),
        vocabulary_size=None if vocabulary is None else int(vocabulary),
        test_unknown_share=reported.get("test:unknown_share"),
        test_exact_perplexity=reported.get("test:exact_perplexity"),
        test_words=None if words is None else int(words),
        notes=written.notes,
    )
    comparison = compare(given.run, given.champion, written.comparison)
    objection = objection_to(metrics, given.run.max_perplexity) or regression(given.run, metrics, comparison)
    reason = objection.reason if objection else _praise(metrics, given.prepared.splits.test.words, comparison)
    return Evaluated(
        accepted=objection is None,
        reason=reason,
        objection=objection.clause if objection else None,
        metrics=metrics,
        comparison=comparison,
    )


def objection_to(metrics: Metrics, max_perplexity: float | None) -> Objection | None:
    """Return why the model must not serve, whatever serves now; None if nothing speaks against it.

    A model that guesses every word with the same probability has a perplexity equal to the number of words. A
    model that is no better has learnt nothing. Unknown words count with the exact word, because <unk> alone
    is an easy guess. Scripts that do not report this perplexity are judged by their own.
    """
    perplexity, vocabulary = metrics.test_perplexity, metrics.vocabulary_size
    if perplexity is None or vocabulary is None:
        missing = "test perplexity" if perplexity is None else "vocabulary size"
        return Objection(
            f"its training job reported no {missing}",
            f"The training job reported no {missing}. See its log.",
        )
    if not math.isfinite(perplexity):
        return Objection(
            "its training diverged",
            f"Test perplexity is {perplexity}: training diverged. Lower hyperparameters.lr or .clip.",
        )
    if metrics.test_exact_perplexity is not None and metrics.test_words is not None:
        perplexity, vocabulary = metrics.test_exact_perplexity, metrics.test_words
    unknown = _unknown(metrics)
    figure = f"Test perplexity {perplexity:.2f}{f', with {unknown},' if unknown else ''}"
    if perplexity >= vocabulary:
        return Objection(
            "it is no better than guessing",
            f"{figure} is no better than guessing among the {vocabulary:,} words of the vocabulary and the "
            "test text. Train for more hyperparameters.epochs, or on more text.",
        )
    if max_perplexity is not None and perplexity > max_perplexity:
        return Objection(
            f"its perplexity is above the limit of {max_perplexity:g}",
            f"{figure} is above max_perplexity, {max_perplexity:g}.",
        )
    return None


def compare(run: Run, champion: Champion, scored: ScoredModels | None) -> Comparison | None:
    """Return the training job's comparison of challenger and champion; None if nothing serves."""
    if champion.config is None:
        return None
    name, reason = champion.model or champion.config, None
    scored = scored or ScoredModels(reason="The training job's scripts did not score the champion.")
    scores = (scored.champion.perplexity, scored.challenger.perplexity)
    if champion.artifact_prefix is None:
        reason = f"The artifact of {name} does not exist any more."
    elif not scored.comparable:
        reason = scored.reason or "The training job gave no reason."
    elif None in scores:
        reason = "The training job did not report both perplexities."
    if reason is not None:
        return Comparison(champion=name, tolerance=run.tolerance, reason=reason)
    return Comparison(
        champion=name,
        champion_perplexity=scores[0],
        challenger_perplexity=scores[1],
        tolerance=run.tolerance,
        notes=[*scored.notes, *_notes(run, champion)],
    )


def regression(run: Run, metrics: Metrics, comparison: Comparison | None) -> Objection | None:
    """Return why the champion stays; None if the challenger may replace it."""
    if comparison is None:
        return None
    if comparison.reason is not None:
        if run.incomparable == "accept":
            return None
        return Objection(
            f"it could not be compared with {comparison.champion}, which serves",
            f"{_incomparable(comparison)} To deploy the model nevertheless: lexline deploy {run.name} "
            '--force. To accept such models: "incomparable": "accept" in the request.',
        )
    champion, challenger = comparison.champion_perplexity, comparison.challenger_perplexity
    if champion is None or challenger is None or challenger <= champion * (1 + comparison.tolerance):
        return None
    return Objection(
        f"it is worse than {comparison.champion}, which serves",
        "Asked for the exact words of the new test text, the new model has a perplexity of "
        f"{challenger:.2f}, and {comparison.champion} has {champion:.2f}. Lower is better; the tolerance is "
        f"{comparison.tolerance:.1%}. {_why_two_figures(metrics, challenger)}".rstrip(),
    )


def _praise(metrics: Metrics, test_words: int, comparison: Comparison | None) -> str:
    """Return how good an accepted model is, and how it compares with the one that it replaces."""
    perplexity, unknown = metrics.test_perplexity or math.nan, _unknown(metrics)
    sentences = [
        f"On the {test_words:,} words of the test text, which it had not seen, the new model is as uncertain "
        f"about the next word as if it chose among {perplexity:,.0f} words (perplexity {perplexity:.2f}"
        f"{f', {unknown}' if unknown else ''})."
    ]
    if comparison is not None and comparison.reason is not None:
        sentences.append(_incomparable(comparison))
    elif comparison is not None and comparison.challenger_perplexity is not None:
        sentences.append(_better_or_worse(comparison.challenger_perplexity, comparison))
    return " ".join(sentences)


def _better_or_worse(challenger: float, comparison: Comparison) -> str:
    """Return how an accepted model compares, in percent: its perplexity differs from that of its own test."""
    change = challenger / (comparison.champion_perplexity or math.nan) - 1
    champion = f"{comparison.champion}, which served"
    if abs(change) < 0.0005:
        return f"It is as good as {champion}."
    direction, which = ("lower", "better") if change < 0 else ("higher", "worse")
    within = f", within the tolerance of {comparison.tolerance:.1%}" if change > 0 else ""
    return (
        f"It is {which} than {champion}: asked for the exact words of that text, its perplexity is "
        f"{abs(change):.1%} {direction}{within}."
    )


def _incomparable(comparison: Comparison) -> str:
    return f"It could not be compared with {comparison.champion}: {comparison.reason}"


def _why_two_figures(metrics: Metrics, challenger: float) -> str:
    """Return why the new model has another perplexity in the comparison than by itself, if it has."""
    own = metrics.test_perplexity
    if own is None or abs(challenger / own - 1) < 0.005:
        return ""
    return (
        f"The new model's own test perplexity, {own:.2f}, is another figure: for it, all words that the "
        "model does not know count as one."
    )


def _unknown(metrics: Metrics) -> str:
    share = metrics.test_unknown_share
    return "" if share is None else f"{share:.1%} of the test text unknown"


def _notes(run: Run, champion: Champion) -> list[str]:
    # A model of the same dataset needs no note. While a file's content stays, its lines stay in their split,
    # whatever else is uploaded; so the champion was not trained on this test text.
    if champion.dataset and champion.dataset != run.dataset:
        return [f"{champion.model} was trained on dataset {champion.dataset}, not on {run.dataset}."]
    return []
