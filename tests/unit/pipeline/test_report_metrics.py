"""report: what a training took and came to becomes metrics, by dataset."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.report import ReportInput
from contracts.training import Metrics
from steps import plan, report

EXECUTION = {
    "id": "arn:aws:states:eu-west-1:111122223333:execution:p:first",
    "started": "2026-03-01T12:00:00Z",
}
PREPARED = {
    "outcome": "prepared",
    "dataset": "sotu",
    "source": [{"uri": "s3://texts/uploads/sotu/sotu.txt", "etag": "9b2cf535"}],
    "fingerprint": "ab" * 32,
    "prepared_uri": "s3://texts/prepared/sotu/ab/",
    "manifest_uri": "s3://texts/prepared/sotu/ab/manifest.json",
    "splits": {split: {"lines": 10, "words": 100, "bytes": 600} for split in ("train", "valid", "test")},
}
TRAINED = {
    "job": "lexline--sotu-0123456789ab",
    "arn": "arn:aws:sagemaker:eu-west-1:111122223333:training-job/lexline--sotu-0123456789ab",
    "model_artifacts": "s3://texts/runs/lexline--sotu-0123456789ab/output/model.tar.gz",
    "instance_type": "ml.m5.xlarge",
    "instance_count": 1,
    "spot": True,
    "training_seconds": 610,
    "billable_seconds": 200,
    "metrics": {},
}
NEVER_REACHED = dict.fromkeys(ReportInput.model_fields)


def evaluated(perplexity: float) -> dict[str, Any]:
    metrics = dict.fromkeys(Metrics.model_fields)
    metrics |= {"test_perplexity": perplexity, "words_per_second": 1432.0}
    return {
        "accepted": False,
        "reason": "It is no better than guessing.",
        "metrics": metrics,
        "comparison": None,
    }


@pytest.fixture
def measured(
    stubbed: Any, context: Any, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, dict[str, Any]]]:
    """measured(**reached): what the report measured of a run, by metric: unit, value and dimensions."""

    def report_on(**reached: Any) -> dict[str, dict[str, Any]]:
        stubbed.refuses("s3", "get_object", "NoSuchKey")
        run = plan.handler({"execution": EXECUTION, "request": {"dataset": "sotu"}}, context)
        known = {"execution": EXECUTION, "run": run, "caught": [], "durations": {}, **reached}
        capsys.readouterr()
        report.handler({**NEVER_REACHED, **known}, context)
        found = {}
        for line in map(json.loads, capsys.readouterr().out.splitlines()):
            (directive,) = line["_aws"]["CloudWatchMetrics"]
            (dimensions,) = directive["Dimensions"]
            for metric in directive["Metrics"]:
                (value,) = line[metric["Name"]]
                found[metric["Name"]] = {
                    "unit": metric["Unit"],
                    "value": value,
                    **{name: line[name] for name in dimensions},
                }
        return found

    return report_on


def test_a_training_is_measured_by_dataset(measured: Callable[..., Any]) -> None:
    found = measured(prepared=PREPARED, trained=TRAINED, evaluated=evaluated(208.3))
    of_dataset = {"service": "lexline", "dataset": "sotu"}
    assert found["TrainingSeconds"] == {"unit": "Seconds", "value": 610, **of_dataset}
    assert found["BillableSeconds"] == {"unit": "Seconds", "value": 200, **of_dataset}
    assert found["TestPerplexity"] == {"unit": "None", "value": 208.3, **of_dataset}
    assert found["WordsPerSecond"] == {"unit": "Count/Second", "value": 1432, **of_dataset}


def test_runs_are_counted_by_outcome_and_not_by_dataset(measured: Callable[..., Any]) -> None:
    found = measured(prepared=PREPARED, trained=TRAINED, evaluated=evaluated(208.3))
    assert found["RunsRejected"] == {"unit": "Count", "value": 1, "service": "lexline", "step": "report"}


def test_a_training_that_diverged_has_no_perplexity_to_draw(measured: Callable[..., Any]) -> None:
    found = measured(prepared=PREPARED, trained=TRAINED, evaluated=evaluated(float("inf")))
    assert found.keys() == {"TrainingSeconds", "BillableSeconds", "WordsPerSecond", "RunsRejected", "Answers"}


def test_a_run_that_never_trained_measures_nothing_of_a_training(measured: Callable[..., Any]) -> None:
    skipped = {"Error": "Unchanged", "Cause": "It serves already.", "Step": "Champion"}
    assert measured(prepared=PREPARED, skipped=skipped).keys() == {"RunsUnchanged", "Answers"}
