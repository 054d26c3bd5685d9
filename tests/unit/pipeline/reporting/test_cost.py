"""cost: what a run cost and what its endpoint costs, by a table of prices."""

import datetime
from typing import Any

import pytest

from contracts.report import RunCost
from contracts.request import HostingResources
from contracts.training import Trained
from reporting import cost
from reporting.prices import PriceTable
from tests.unit.pipeline.documents import Documents
from tests.unit.pipeline.reporting.test_prices import TABLE

HERE = TABLE["region"]
PRICES = PriceTable.model_validate(TABLE)
HOSTING = HostingResources(instance_type="ml.m5.large")
SERVERLESS = HostingResources(endpoint_type="serverless", serverless_memory_mb=3072)


@pytest.fixture
def run(documents: Documents) -> Any:
    """run(**changes): the cost of a run whose job had 1,000 seconds, not on spot instances."""

    def estimate(region: str = HERE, **changes: Any) -> RunCost:
        job = {"spot": False, "training_seconds": 1000, "billable_seconds": 1000, **changes}
        return cost.of_run(PRICES, region, Trained.model_validate(documents.trained | job))

    return estimate


def test_training_costs_billable_time_times_instances_times_price(run: Any) -> None:
    estimate = run(instance_count=4, billable_seconds=500)
    assert estimate.total == pytest.approx(1.0 * 4 * 500 / 3600)
    assert (estimate.spot_saving, estimate.spot_saved) == (None, None)
    assert "leaves out S3 ($0.02 per GB and month), Lambda ($10 per 1,000,000" in estimate.notes[-1]


@pytest.mark.parametrize(
    ("training", "billable", "saving"),
    [
        # DescribeTrainingJob's reference: 100 billable of 500 training seconds save 80 %.
        (500, 100, 0.8),
        (1000, 1001, 0.0),
        # A job that was stopped before it trained.
        (0, 0, None),
    ],
)
def test_the_saving_by_spot_is_counted_as_sagemaker_counts_it(
    run: Any, training: int, billable: int, saving: float | None
) -> None:
    estimate = run(spot=True, training_seconds=training, billable_seconds=billable)
    assert estimate.spot_saving == (saving if saving is None else pytest.approx(saving))
    assert estimate.spot_saved == (saving if saving is None else pytest.approx(saving * training / 3600))
    assert estimate.total == pytest.approx(billable / 3600)


def test_a_training_instance_without_a_price_does_not_make_the_run_free(run: Any) -> None:
    estimate = run(instance_type="ml.z9.xlarge", spot=True, billable_seconds=100)
    assert (estimate.total, estimate.spot_saved) == (None, None)
    assert estimate.spot_saving == pytest.approx(0.9)
    assert "The price table of 2026-09-01 has no price for training on ml.z9.xlarge" in estimate.notes[0]


def test_a_real_time_endpoint_costs_the_hours_of_its_instances() -> None:
    estimate = cost.of_endpoint(PRICES, HERE, HOSTING, 3)
    assert (estimate.per_hour, estimate.per_day, estimate.per_month) == (6.0, 144.0, 4380.0)
    assert (estimate.kind, estimate.per_1000_requests, estimate.notes) == ("real-time", None, [])


def test_a_serverless_endpoint_costs_only_the_seconds_of_its_requests() -> None:
    estimate = cost.of_endpoint(PRICES, HERE, SERVERLESS, 0)
    assert (estimate.kind, estimate.per_hour, estimate.per_month) == ("serverless", 0.0, 0.0)
    assert (estimate.per_1000_requests, estimate.seconds_per_request) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("hosting", "resource"),
    [
        (HostingResources(instance_type="ml.m5.xlarge"), "hosting on ml.m5.xlarge"),
        (SERVERLESS.model_copy(update={"serverless_memory_mb": 6144}), "serverless inference with 6,144 MB"),
    ],
)
def test_hosting_without_a_price_does_not_make_the_endpoint_free(
    hosting: HostingResources, resource: str
) -> None:
    estimate = cost.of_endpoint(PRICES, HERE, hosting, 1)
    assert estimate.per_1000_requests is None
    assert not estimate.per_hour
    assert estimate.notes == [
        f"The price table of 2026-09-01 has no price for {resource}; add it to get an estimate."
    ]


def test_every_estimate_tells_the_prices_date_and_when_they_are_another_regions(run: Any) -> None:
    estimates = [
        run("us-east-1"),
        *(cost.of_endpoint(PRICES, "us-east-1", h, 1) for h in (HOSTING, SERVERLESS)),
    ]
    for estimate in estimates:
        assert (estimate.prices_date, estimate.prices_region) == (datetime.date(2026, 9, 1), "eu-west-1")
        assert estimate.notes[0] == (
            "The prices are those of eu-west-1; prices in us-east-1, the run's region, may differ."
        )
