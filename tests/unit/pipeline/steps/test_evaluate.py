"""evaluate: only a model that has learnt something, and no less than the one that serves, may be served."""

import json
from typing import Any

import pytest

from steps import evaluate
from training import job_output
from training.job_output import JobMetrics, JobOutput

FORMER = "lexline--sotu-aaaaaaaaaaaa"
NONE = dict.fromkeys(("config", "model", "dataset", "fingerprint", "artifact_prefix"))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the training job's scripts wrote into metrics.json, for a test to change."""
    written: dict[str, Any] = {
        "comparison": {
            "comparable": True,
            "champion": {"perplexity": 215.2, "tokens": 500},
            "challenger": {"perplexity": 208.3, "tokens": 500},
            "words": 9000,
            "notes": [],
        }
    }
    monkeypatch.setattr(job_output, "read", lambda trained: JobOutput(JobMetrics.model_validate(written)))
    return written


def verdict(documents: Any, context: Any, **metrics: float | None) -> dict[str, Any]:
    for name, value in metrics.items():
        key = name.replace("_", ":", 1)
        if value is None:
            del documents.trained["metrics"][key]
        else:
            documents.trained["metrics"][key] = value
    names = ("run", "prepared", "trained", "champion")
    return evaluate.handler({name: getattr(documents, name) for name in names}, context)


# --- by itself


def test_a_model_that_is_better_than_the_one_that_serves_is_accepted(
    documents: Any, context: Any, compared: Any
) -> None:
    assert verdict(documents, context) == documents.evaluated


def test_the_first_model_need_only_be_better_than_guessing(
    documents: Any, context: Any, compared: Any
) -> None:
    documents.champion = NONE
    compared.clear()
    evaluated = verdict(documents, context)
    assert (evaluated["accepted"], evaluated["comparison"]) == (True, None)
    assert evaluated["reason"] == "Test perplexity 208.30 over 33,278 words."


@pytest.mark.parametrize("perplexity", [float("inf"), float("nan")])
def test_a_diverged_model_is_rejected(documents: Any, context: Any, compared: Any, perplexity: float) -> None:
    evaluated = verdict(documents, context, test_perplexity=perplexity)
    assert not evaluated["accepted"]
    assert "diverged" in evaluated["reason"]
    json.dumps(evaluated, allow_nan=False)


@pytest.mark.parametrize("perplexity", [33278, 40000.0])
def test_a_model_no_better_than_guessing_is_rejected(
    documents: Any, context: Any, compared: Any, perplexity: float
) -> None:
    evaluated = verdict(documents, context, test_perplexity=perplexity)
    assert not evaluated["accepted"]
    assert "no better than guessing among the 33,278 words" in evaluated["reason"]


@pytest.mark.parametrize(("ceiling", "accepted"), [(208.2, False), (208.3, True), (500, True)])
def test_max_perplexity_is_the_most_that_is_accepted(
    documents: Any, context: Any, compared: Any, ceiling: float, accepted: bool
) -> None:
    documents.run["max_perplexity"] = ceiling
    evaluated = verdict(documents, context)
    assert evaluated["accepted"] is accepted
    assert accepted or "above max_perplexity, 208.2" in evaluated["reason"]


@pytest.mark.parametrize("metric", ["test_perplexity", "vocabulary_size"])
def test_a_model_that_nobody_measured_is_rejected(
    documents: Any, context: Any, compared: Any, metric: str
) -> None:
    evaluated = verdict(documents, context, **{metric: None})
    assert not evaluated["accepted"]
    assert metric.replace("_", " ") in evaluated["reason"]


def test_what_was_not_reported_is_told_as_such(documents: Any, context: Any, compared: Any) -> None:
    documents.trained["metrics"] = {}
    assert set(verdict(documents, context)["metrics"].values()) == {None}


# --- against the model that serves


@pytest.mark.parametrize(
    ("tolerance", "challenger", "accepted"),
    [
        (0, 215.2, True),
        (0, 215.21, False),
        (0.02, 219.5, True),
        (0.02, 219.51, False),
        (1, 430.4, True),
    ],
)
def test_a_model_may_be_worse_than_the_one_that_serves_by_the_tolerance_and_no_more(
    documents: Any, context: Any, compared: Any, tolerance: float, challenger: float, accepted: bool
) -> None:
    documents.run["tolerance"] = tolerance
    compared["comparison"]["challenger"]["perplexity"] = challenger
    evaluated = verdict(documents, context)
    assert evaluated["accepted"] is accepted
    assert evaluated["comparison"]["challenger_perplexity"] == challenger


def test_a_worse_model_is_rejected_with_both_figures(documents: Any, context: Any, compared: Any) -> None:
    documents.run["tolerance"] = 0.015
    compared["comparison"]["challenger"]["perplexity"] = 250
    assert verdict(documents, context)["reason"] == (
        f"Perplexity 250.00 on the new test text is worse than the 215.20 of {FORMER}, which serves "
        "(tolerance 1.5%)."
    )


def test_the_two_are_compared_over_the_same_words_and_not_by_their_own_figures(
    documents: Any, context: Any, compared: Any
) -> None:
    # A larger vocabulary has a higher perplexity of its own, and may still be the better model.
    assert verdict(documents, context, test_perplexity=900.0)["accepted"]


def test_a_model_that_is_bad_by_itself_is_rejected_for_that(
    documents: Any, context: Any, compared: Any
) -> None:
    documents.run["max_perplexity"] = 100
    evaluated = verdict(documents, context)
    assert not evaluated["accepted"]
    assert "above max_perplexity" in evaluated["reason"]
    assert evaluated["comparison"]["champion_perplexity"] == 215.2


# --- where the two do not compare


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({}, "The training job's scripts did not score it."),
        ({"comparison": None}, "The training job's scripts did not score it."),
        ({"comparison": "better"}, "The training job's scripts did not score it."),
        (
            {"comparison": {"comparable": False, "reason": "They share too few words."}},
            "They share too few words.",
        ),
        ({"comparison": {"comparable": False}}, "The training job gave no reason."),
        ({"comparison": {"comparable": True}}, "The training job gave no figures for both."),
        (
            {"comparison": {"comparable": True, "champion": {"perplexity": 2.0}, "challenger": 3}},
            "The training job gave no figures for both.",
        ),
        (
            {
                "comparison": {
                    "comparable": True,
                    "champion": {"perplexity": float("inf")},
                    "challenger": {"perplexity": "3"},
                }
            },
            "The training job gave no figures for both.",
        ),
    ],
)
def test_a_model_that_cannot_be_compared_is_accepted_by_itself_and_the_reason_is_told(
    documents: Any, context: Any, compared: Any, written: dict[str, Any], reason: str
) -> None:
    compared.clear()
    compared.update(written)
    evaluated = verdict(documents, context)
    assert evaluated["accepted"]
    assert evaluated["reason"].endswith(f"It could not be compared with {FORMER}: {reason}")
    assert evaluated["comparison"] == {
        "champion": FORMER,
        "champion_perplexity": None,
        "challenger_perplexity": None,
        "tolerance": 0.0,
        "reason": reason,
        "notes": [],
    }


def test_a_champion_whose_artifact_is_gone_cannot_be_compared(
    documents: Any, context: Any, compared: Any
) -> None:
    documents.champion["artifact_prefix"] = None
    compared.clear()
    evaluated = verdict(documents, context)
    assert evaluated["accepted"]
    assert evaluated["comparison"]["reason"] == f"The artifact of {FORMER} is gone."


def test_a_champion_that_somebody_else_made_is_called_by_its_config(
    documents: Any, context: Any, compared: Any
) -> None:
    documents.champion = {**NONE, "config": "by-hand"}
    compared.clear()
    comparison = verdict(documents, context)["comparison"]
    assert (comparison["champion"], comparison["reason"]) == ("by-hand", "The artifact of by-hand is gone.")


# --- what qualifies the figures


def test_what_the_job_says_of_its_figures_is_kept(documents: Any, context: Any, compared: Any) -> None:
    documents.champion["fingerprint"] = documents.prepared["fingerprint"]
    compared["comparison"]["notes"] = ["A tenth of the test text is words that neither knows."]
    assert verdict(documents, context)["comparison"]["notes"] == compared["comparison"]["notes"]


@pytest.mark.parametrize("notes", [None, "a sentence", 7, {"a": 1}])
def test_notes_of_another_form_are_no_notes(documents: Any, context: Any, compared: Any, notes: Any) -> None:
    documents.champion["fingerprint"] = documents.prepared["fingerprint"]
    compared["comparison"]["notes"] = notes
    assert verdict(documents, context)["comparison"]["notes"] == []


def test_a_champion_of_other_data_is_said_to_be_one(documents: Any, context: Any, compared: Any) -> None:
    documents.champion["dataset"] = "tales"
    assert verdict(documents, context)["comparison"]["notes"] == [
        f"{FORMER} was trained on dataset tales, not on sotu."
    ]


def test_a_champion_that_may_have_read_the_test_text_is_said_to(
    documents: Any, context: Any, compared: Any
) -> None:
    (note,) = verdict(documents, context)["comparison"]["notes"]
    assert "an earlier state of sotu and may have read some of this test text" in note
    documents.champion["fingerprint"] = documents.prepared["fingerprint"]
    assert verdict(documents, context)["comparison"]["notes"] == []
