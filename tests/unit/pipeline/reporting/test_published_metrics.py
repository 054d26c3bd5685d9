"""published_metrics: runs by outcome, and a training's numbers by dataset."""

import json
from typing import Any

import pytest

from contracts.report import ReportInput
from core.logging import metrics
from reporting import published_metrics
from reporting.prices import list_prices
from steps.report import build
from training.job_output import JobMetrics

Json = dict[str, Any]


@pytest.fixture
def published(results: Json, capsys: pytest.CaptureFixture[str]) -> Any:
    """published(**changes): the CloudWatch metrics of a run by name: unit, value and dimensions."""

    def publish(**changes: Any) -> dict[str, Json]:
        given = ReportInput.model_validate(results | changes)
        capsys.readouterr()
        metrics.add_dimension(name="step", value="report")
        published_metrics.publish(build(given, JobMetrics(), {}, list_prices(), []))
        metrics.flush_metrics()
        found = {}
        for line in map(json.loads, capsys.readouterr().out.splitlines()):
            (directive,) = line["_aws"]["CloudWatchMetrics"]
            (dimensions,) = directive["Dimensions"]
            for metric in directive["Metrics"]:
                (value,) = line[metric["Name"]]
                tags = {name: line[name] for name in dimensions}
                found[metric["Name"]] = {"unit": metric["Unit"], "value": value, **tags}
        return found

    return publish


def test_a_training_is_measured_by_dataset(published: Any) -> None:
    found = published()
    tags = {"service": "lexline", "dataset": "sotu"}
    assert found["TrainingSeconds"] == {"unit": "Seconds", "value": 610, **tags}
    assert found["BillableSeconds"] == {"unit": "Seconds", "value": 183, **tags}
    assert found["TestPerplexity"] == {"unit": "None", "value": 208.3, **tags}
    assert found["TestUnknownShare"] == {"unit": "None", "value": 0.021, **tags}
    assert found["WordsPerSecond"] == {"unit": "Count/Second", "value": 1432, **tags}


def test_runs_are_counted_by_outcome_and_not_by_dataset(published: Any) -> None:
    tags = {"service": "lexline", "step": "report"}
    assert published()["RunsSucceeded"] == {"unit": "Count", "value": 1, **tags}


def test_a_training_that_diverged_has_no_perplexity(published: Any, results: Json) -> None:
    results["evaluated"]["metrics"]["test_perplexity"] = float("inf")
    expected = {"TrainingSeconds", "BillableSeconds", "TestUnknownShare", "WordsPerSecond", "RunsSucceeded"}
    assert published().keys() == expected


def test_a_run_that_did_not_train_is_only_counted(published: Any) -> None:
    skipped = {"Error": "Unchanged", "Cause": "It serves already.", "Step": "Champion"}
    assert published(skipped=skipped, trained=None, evaluated=None).keys() == {"RunsUnchanged"}
