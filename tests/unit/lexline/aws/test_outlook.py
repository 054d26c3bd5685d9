"""What is known of a run beforehand, from the last report and the price table."""

import json
from typing import Any

import pytest

from lexline.aws import outlook
from lexline.aws.outlook import Outlook
from lexline.aws.reports import Stored
from lexline.aws.stack import Stack
from tests.unit.lexline.conftest import Patch
from tests.unit.lexline.pipeline import Report
from tests.unit.lexline.samples import JOB, ONE, SUCCEEDED, THREE, TWO, WHEN

PLAN: dict[str, Any] = {
    **{"name": JOB, "work": "train", "dataset": "sotu"},
    "training": {"instance_type": "ml.m5.xlarge", "instance_count": 2},
}
DOCUMENT = json.loads(
    Report.model_validate({**SUCCEEDED, "hyperparameters": {"epochs": 6}}).model_dump_json()
)


@pytest.fixture
def reports(patch: Patch) -> dict[str, Any]:
    """The reports' documents by run, newest first."""
    documents: dict[str, Any] = {}

    def newest_first(stack: Stack) -> list[Stored]:
        return [Stored(run, f"s3://b/reports/{run}.html", WHEN) for run in documents]

    patch("aws.reports.newest_first", newest_first)
    patch("aws.reports.document", lambda stack, run: documents[run])
    patch("aws.prices.current", {"training": {"ml.m5.xlarge": 0.23}})
    return documents


def test_the_last_training_of_the_dataset_tells_the_durations_and_the_cost(
    stack: Stack, reports: dict[str, Any]
) -> None:
    other = {**DOCUMENT, "dataset": {**DOCUMENT["dataset"], "dataset": "sotu-2"}}
    reports |= {
        "lexline--other-999999999999": DOCUMENT,
        THREE: {**DOCUMENT, "job": None},
        TWO: other,
        ONE: DOCUMENT,
        JOB: {**DOCUMENT, "status": "Rejected"},
    }
    found = outlook.of(stack, PLAN)
    assert found.training_per_hour == pytest.approx(0.46)
    former = found.former
    assert former is not None
    assert (former.id, former.status, former.ended) == ("1" * 12, "Succeeded", WHEN)
    assert (former.durations, former.total) == ({"read_uploads": 2.0, "create_model": 0.4}, 200.0)
    assert (former.training_cost, former.words) == (0.00473, 9000)
    assert former.hyperparameters == {"epochs": 6}


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"dataset": {"dataset": "sotu"}},
        {**DOCUMENT, "durations": {}},
        {**DOCUMENT, "durations": {"total": "long"}},
        {**DOCUMENT, "durations": 3},
        {**DOCUMENT, "dataset": ["sotu"]},
        {**DOCUMENT, "dataset": {"outcome": "waiting", "dataset": "sotu"}},
    ],
)
def test_a_report_that_does_not_tell_is_passed_over(
    stack: Stack, reports: dict[str, Any], document: Any
) -> None:
    reports |= {TWO: document}
    assert outlook.of(stack, PLAN).former is None
    reports |= {ONE: DOCUMENT}
    assert outlook.of(stack, PLAN).former is not None


def test_a_report_of_an_earlier_version_tells_too(stack: Stack, reports: dict[str, Any]) -> None:
    reports[ONE] = {
        name: value for name, value in DOCUMENT.items() if name not in ("hyperparameters", "headline")
    }
    former = outlook.of(stack, PLAN).former
    assert former is not None
    assert former.hyperparameters == {}


@pytest.mark.parametrize(
    "change", [{"work": "deploy"}, {"dataset": None}, {"training": None}, {"training": "fast"}]
)
def test_a_run_that_trains_nothing_has_no_outlook(
    stack: Stack, reports: dict[str, Any], change: dict[str, Any]
) -> None:
    assert outlook.of(stack, {**PLAN, **change}) == Outlook()


def test_an_unknown_instance_type_has_no_price(stack: Stack, reports: dict[str, Any]) -> None:
    plan = {**PLAN, "training": {"instance_type": "ml.z9.large", "instance_count": 1}}
    assert outlook.of(stack, plan).training_per_hour is None
