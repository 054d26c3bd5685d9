"""evaluate: the gate accepts a model that is good enough, and as good as the one that serves."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from steps import evaluate
from tests.unit.pipeline.documents import FORMER, NAME, Document, Documents
from training import job_output
from training.job_output import JobMetrics, JobOutput

NO_CHAMPION = dict.fromkeys(("config", "model", "dataset", "artifact_prefix"))
Evaluates = Callable[..., Document]


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> Document:
    """The training job's metrics.json, which a test may change."""
    document: Document = {
        "comparison": {
            "comparable": True,
            "champion": {"perplexity": 215.2, "tokens": 500},
            "challenger": {"perplexity": 208.3, "tokens": 500},
            "words": 9000,
            "notes": [],
        }
    }
    read = lambda trained: JobOutput(JobMetrics.model_validate(document))  # noqa: E731
    monkeypatch.setattr(job_output, "read", read)
    return document


@pytest.fixture
def evaluates(documents: Documents, context: LambdaContext) -> Evaluates:
    """evaluates(**metrics): the verdict, where the training job reported these metrics."""

    def verdict(**metrics: float | None) -> Document:
        for name, value in metrics.items():
            documents.trained["metrics"][name.replace("_", ":", 1)] = value
        reported = documents.trained["metrics"]
        documents.trained["metrics"] = {name: value for name, value in reported.items() if value is not None}
        return evaluate.handler(documents.input("run", "prepared", "trained", "champion"), context)

    return verdict


# --- the model by itself


def test_a_better_model_is_accepted(evaluates: Evaluates, documents: Documents) -> None:
    assert evaluates() == documents.evaluated


def test_the_first_model_has_no_comparison(
    evaluates: Evaluates, documents: Documents, written: Document
) -> None:
    documents.champion = NO_CHAMPION
    written.clear()
    verdict = evaluates()
    assert (verdict["accepted"], verdict["comparison"]) == (True, None)
    assert verdict["reason"] == (
        "On the 500 words of the test text, which it had not seen, the new model is as uncertain about the "
        "next word as if it chose among 208 words (perplexity 208.30, 2.1% of the test text unknown)."
    )


def test_the_verdict_counts_the_words_of_the_test_text_and_not_the_vocabularys(
    evaluates: Evaluates, documents: Documents
) -> None:
    documents.prepared["splits"]["test"]["words"] = 5583
    reason = evaluates()["reason"]
    assert reason.startswith("On the 5,583 words of the test text, ")
    assert "33,278" not in reason


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"test_perplexity": float("inf")}, "diverged"),
        ({"test_perplexity": float("nan")}, "diverged"),
        (
            {"test_exact_perplexity": 34012},
            "2.1% of the test text unknown, is no better than guessing among the 34,012",
        ),
        (
            {"test_perplexity": 1.3, "test_exact_perplexity": 4e4, "test_unknown_share": 0.99},
            "Test perplexity 40000.00, with 99.0% of the test text unknown, is no better than guessing",
        ),
        (
            {"test_perplexity": 33278, "test_exact_perplexity": None},
            "no better than guessing among the 33,278 words",
        ),
        ({"test_perplexity": None}, "no test perplexity"),
        ({"vocabulary_size": None}, "no vocabulary size"),
    ],
)
def test_a_model_that_has_learnt_nothing_is_rejected(
    evaluates: Evaluates, metrics: dict[str, float | None], reason: str
) -> None:
    verdict = evaluates(**metrics)
    assert not verdict["accepted"]
    assert reason in verdict["reason"]
    assert verdict["objection"].startswith("it")
    json.dumps(verdict, allow_nan=False)


@pytest.mark.parametrize(("limit", "accepted"), [(250.0, False), (250.1, True), (500, True)])
def test_max_perplexity_is_the_highest_that_is_accepted(
    evaluates: Evaluates, documents: Documents, limit: float, accepted: bool
) -> None:
    documents.run["max_perplexity"] = limit
    verdict = evaluates()
    assert verdict["accepted"] is accepted
    if not accepted:
        assert verdict["objection"] == "its perplexity is above the limit of 250"
        assert "above max_perplexity, 250" in verdict["reason"]
    # The comparison is reported even for a model that is rejected by itself.
    assert verdict["comparison"]["champion_perplexity"] == 215.2


# --- the model beside the one that serves


@pytest.mark.parametrize(
    ("tolerance", "challenger", "accepted"),
    [(0, 215.2, True), (0, 215.21, False), (0.02, 219.5, True), (0.02, 219.51, False), (1, 430.4, True)],
)
def test_a_model_may_be_worse_by_the_tolerance_and_no_more(
    evaluates: Evaluates,
    documents: Documents,
    written: Document,
    tolerance: float,
    challenger: float,
    accepted: bool,
) -> None:
    documents.run["tolerance"] = tolerance
    written["comparison"]["challenger"]["perplexity"] = challenger
    verdict = evaluates()
    assert verdict["accepted"] is accepted
    assert verdict["comparison"]["challenger_perplexity"] == challenger
    assert verdict["objection"] == (None if accepted else f"it is worse than {FORMER}, which serves")


@pytest.mark.parametrize(
    ("challenger", "sentence"),
    [
        (193.68, "It is better than {}, which served: asked for the exact words of that text, its "
         "perplexity is 10.0% lower."),
        (215.25, "It is as good as {}, which served."),
        (219.5, "It is worse than {}, which served: asked for the exact words of that text, its perplexity "
         "is 2.0% higher, within the tolerance of 5.0%."),
    ],
)  # fmt: skip
def test_an_accepted_model_is_compared_in_percent(
    evaluates: Evaluates, documents: Documents, written: Document, challenger: float, sentence: str
) -> None:
    documents.run["tolerance"] = 0.05
    written["comparison"]["challenger"]["perplexity"] = challenger
    assert evaluates()["reason"].endswith(f" {sentence.format(FORMER)}")


@pytest.mark.parametrize(("own", "explained"), [(249.4, True), (384.0, False), (None, False)])
def test_a_rejection_says_why_the_new_model_has_two_perplexities(
    evaluates: Evaluates, written: Document, own: float | None, explained: bool
) -> None:
    written["comparison"]["challenger"]["perplexity"] = 384.8
    verdict = evaluates(test_perplexity=own or 384.8)
    assert "the new model has a perplexity of 384.80, and" in verdict["reason"]
    assert "215.20" in verdict["reason"]
    explanation = "The new model's own test perplexity, 249.40, is another figure: for it, all words that"
    assert (explanation in verdict["reason"]) == explained


def test_the_models_are_compared_over_the_same_words(evaluates: Evaluates) -> None:
    """A larger vocabulary makes a model's own perplexity higher, even that of the better model."""
    assert evaluates(test_perplexity=900.0)["accepted"]


# --- models that cannot be compared


@pytest.mark.parametrize(
    ("comparison", "reason"),
    [
        ("missing", "The training job's scripts did not score the champion."),
        (None, "The training job's scripts did not score the champion."),
        ("better", "The training job's scripts did not score the champion."),
        ({"comparable": False, "reason": "They share too few words."}, "They share too few words."),
        ({"comparable": False}, "The training job gave no reason."),
        ({"comparable": True}, "The training job did not report both perplexities."),
        (
            {"comparable": True, "champion": {"perplexity": 2.0}, "challenger": 3},
            "The training job did not report both perplexities.",
        ),
        (
            {"comparable": True, "champion": {"perplexity": float("inf")}, "challenger": {"perplexity": "3"}},
            "The training job did not report both perplexities.",
        ),
    ],
)
def test_the_request_decides_on_a_model_that_cannot_be_compared(
    evaluates: Evaluates, documents: Documents, written: Document, comparison: Any, reason: str
) -> None:
    written["comparison"] = comparison
    if comparison == "missing":
        written.clear()
    verdict = evaluates()
    assert not verdict["accepted"]
    assert verdict["reason"].startswith(f"It could not be compared with {FORMER}: {reason}")
    assert verdict["objection"] == f"it could not be compared with {FORMER}, which serves"
    assert f"lexline deploy {NAME} --force" in verdict["reason"]
    assert '"incomparable": "accept"' in verdict["reason"]
    documents.run["incomparable"] = "accept"
    verdict = evaluates()
    assert verdict["accepted"]
    assert verdict["reason"].endswith(f"It could not be compared with {FORMER}: {reason}")
    assert verdict["comparison"] == {
        "champion": FORMER,
        "champion_perplexity": None,
        "challenger_perplexity": None,
        "tolerance": 0.0,
        "reason": reason,
        "notes": [],
    }


@pytest.mark.parametrize(
    ("champion", "name"),
    [
        ({"artifact_prefix": None}, FORMER),
        ({**NO_CHAMPION, "config": "lexline--by-hand"}, "lexline--by-hand"),
    ],
)
def test_a_champion_without_an_artifact_cannot_be_compared(
    evaluates: Evaluates, documents: Documents, written: Document, champion: Any, name: str
) -> None:
    documents.champion |= champion
    written.clear()
    verdict = evaluates()
    assert not verdict["accepted"]
    assert verdict["comparison"]["champion"] == name
    assert verdict["comparison"]["reason"] == f"The artifact of {name} does not exist any more."


# --- notes on training and on the comparison


def test_the_jobs_notes_on_training_are_kept(evaluates: Evaluates, written: Document) -> None:
    assert evaluates()["metrics"]["notes"] == []
    written["notes"] = ["It was trained with batch_size 6, not 20."]
    assert evaluates()["metrics"]["notes"] == written["notes"]


@pytest.mark.parametrize("notes", [["A tenth of the test text is unknown words."], None, "text", 7, {"a": 1}])
def test_the_jobs_notes_are_kept_if_they_are_a_list(
    evaluates: Evaluates, documents: Documents, written: Document, notes: Any
) -> None:
    written["comparison"]["notes"] = notes
    assert evaluates()["comparison"]["notes"] == (notes if isinstance(notes, list) else [])


def test_a_note_says_that_the_champion_was_trained_on_another_dataset(
    evaluates: Evaluates, documents: Documents
) -> None:
    documents.champion["dataset"] = "tales"
    (note,) = evaluates()["comparison"]["notes"]
    assert note == f"{FORMER} was trained on dataset tales, not on sotu."


def test_a_champion_of_the_same_dataset_needs_no_note(evaluates: Evaluates) -> None:
    """A file keeps its split, so the champion was not trained on this test text."""
    assert evaluates()["comparison"]["notes"] == []
