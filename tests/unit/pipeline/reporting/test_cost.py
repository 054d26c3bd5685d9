"""cost: what a run cost and what its endpoint goes on costing, by a dated table of list prices."""

import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import botocore
import pytest

from contracts.request import HostingResources, TrainingResources
from core.errors import InvalidInput
from reporting.cost import (
    EndpointCost,
    PriceTable,
    RunCost,
    endpoint_cost,
    list_prices,
    money,
    run_cost,
    serverless_cost,
)

TABLE: dict[str, Any] = {
    "date": "2026-09-22",
    "currency": "USD",
    "region": "us-east-1",
    "source": "https://example.com/prices",
    "training": {"ml.m5.xlarge": 0.36},
    "hosting": {"ml.m5.large": 0.1},
    "serverless": {"2048": 0.00004},
    "storage_per_gb_month": 0.023,
    "lambda_per_gb_second": 0.00001,
    "step_functions_per_1000_transitions": 0.025,
}
TODAY = {"region": "us-east-1"}
JOB = {"instance_type": "ml.m5.xlarge", "instance_count": 1, "training_seconds": 1000}


@pytest.fixture
def prices() -> PriceTable:
    return PriceTable.load(json.dumps(TABLE))


# --- the table ---------------------------------------------------------------------------------------


def test_the_own_table_has_a_price_for_what_runs_use_by_default() -> None:
    prices = list_prices()
    assert TrainingResources().instance_type in prices.training
    assert HostingResources().instance_type in prices.hosting
    assert list(prices.serverless) == [1024, 2048, 3072, 4096, 5120, 6144]
    assert prices.region == "us-east-1"


def test_the_own_table_names_only_instance_types_that_sagemaker_has() -> None:
    model = Path(botocore.__file__).parent / "data/sagemaker/2017-07-24/service-2.json.gz"
    shapes = json.loads(gzip.decompress(model.read_bytes()))["shapes"]
    assert set(list_prices().training) <= set(shapes["TrainingInstanceType"]["enum"])
    assert set(list_prices().hosting) <= set(shapes["ProductionVariantInstanceType"]["enum"])


def test_in_the_own_table_twice_the_machine_costs_about_twice_as_much() -> None:
    # Only the GPU families have sizes that add processors to one GPU, and cost less than the double.
    for table in (list_prices().training, list_prices().hosting):
        for small, large in (("large", "xlarge"), ("xlarge", "2xlarge"), ("2xlarge", "4xlarge")):
            for family in ("m5", "m7i", "c5", "c6i", "c7i"):
                one, two = table.get(f"ml.{family}.{small}"), table.get(f"ml.{family}.{large}")
                assert one is None or two is None or two == pytest.approx(2 * one, rel=0.01)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("date", "22.9.2026", "date"),
        ("currency", "EUR", "currency"),
        ("region", "Frankfurt", "region"),
        ("source", "", "source"),
        ("training", {"ml.m5.xlarge": -1}, "training.ml.m5.xlarge"),
        ("training", {"m5.xlarge": 1}, "training.m5.xlarge"),
        ("hosting", {"ml.m5.large": 0}, "hosting.ml.m5.large"),
        ("hosting", {"ml.m5.large": "NaN"}, "hosting.ml.m5.large"),
        ("serverless", {"1000": 0.1}, "serverless.1000"),
        ("storage_per_gb_month", None, "storage_per_gb_month"),
        ("storage", 1, "storage"),
    ],
)
def test_a_wrong_table_is_refused_by_the_fields_name(field: str, value: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^The price table is refused\. {named}\b"):
        PriceTable.load(json.dumps({**TABLE, field: value}))


@pytest.mark.parametrize("text", ["", "{", "[]", b"\xff"])
def test_a_table_that_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidInput, match="price table is refused"):
        PriceTable.load(text)


def test_a_table_of_ones_own_takes_the_place_of_the_list(prices: PriceTable) -> None:
    own = PriceTable.load(prices.model_copy(update={"region": "eu-west-1"}).model_dump_json())
    estimate = endpoint_cost(own, region="eu-west-1", instance_type="ml.m5.large", instance_count=1)
    assert (estimate.prices_region, estimate.notes) == ("eu-west-1", [])


# --- a run -------------------------------------------------------------------------------------------


def test_training_costs_billable_time_times_instances_times_price(prices: PriceTable) -> None:
    job = {**JOB, "instance_count": 4}
    estimate = run_cost(prices, **TODAY, **job, billable_seconds=500, spot=False)
    assert estimate.training == pytest.approx(0.36 * 4 * 500 / 3600)
    assert estimate.total == estimate.training
    assert (estimate.spot_saving, estimate.spot_saved, estimate.orchestration) == (None, None, None)


def test_what_spot_saves_is_counted_as_sagemaker_counts_it(prices: PriceTable) -> None:
    job = {**JOB, "training_seconds": 500}
    estimate = run_cost(prices, **TODAY, **job, billable_seconds=100, spot=True)
    # DescribeTrainingJob's reference: 100 billable of 500 training seconds save 80 %.
    assert estimate.spot_saving == pytest.approx(0.8)
    assert estimate.training == pytest.approx(0.36 * 100 / 3600)
    assert estimate.spot_saved == pytest.approx(0.36 * 400 / 3600)


def test_spot_never_saves_less_than_nothing(prices: PriceTable) -> None:
    estimate = run_cost(prices, **TODAY, **JOB, billable_seconds=1001, spot=True)
    assert (estimate.spot_saving, estimate.spot_saved) == (0.0, 0.0)


def test_a_job_that_was_stopped_before_it_trained_saved_nothing_known(prices: PriceTable) -> None:
    job = {**JOB, "training_seconds": 0}
    estimate = run_cost(prices, **TODAY, **job, billable_seconds=0, spot=True)
    assert (estimate.spot_saving, estimate.spot_saved, estimate.training) == (None, None, 0.0)


def test_the_state_machine_and_the_functions_are_added_where_they_are_counted(prices: PriceTable) -> None:
    counted = {"transitions": 40, "function_gb_seconds": 100.0}
    estimate = run_cost(prices, **TODAY, **JOB, billable_seconds=1000, spot=False, **counted)
    assert estimate.orchestration == pytest.approx(0.025 * 40 / 1000 + 0.00001 * 100)
    assert estimate.total == pytest.approx(0.1 + estimate.orchestration)


def test_a_training_instance_without_a_price_makes_no_run_free(prices: PriceTable) -> None:
    job = {**JOB, "instance_type": "ml.z9.xlarge"}
    estimate = run_cost(prices, **TODAY, **job, billable_seconds=100, spot=True, transitions=40)
    assert (estimate.training, estimate.spot_saved, estimate.total) == (None, None, None)
    assert estimate.spot_saving == pytest.approx(0.9)
    assert any("2026-09-22 has no price for training on ml.z9.xlarge" in note for note in estimate.notes)


# --- an endpoint -------------------------------------------------------------------------------------


def test_a_real_time_endpoint_costs_each_of_its_instances_all_the_time(prices: PriceTable) -> None:
    estimate = endpoint_cost(prices, **TODAY, instance_type="ml.m5.large", instance_count=3)
    assert estimate.per_hour == pytest.approx(0.3)
    assert estimate.per_day == pytest.approx(7.2)
    assert estimate.per_month == pytest.approx(219)
    assert (estimate.kind, estimate.per_1000_requests, estimate.notes) == ("real-time", None, [])


def test_a_hosting_instance_without_a_price_makes_no_endpoint_free(prices: PriceTable) -> None:
    estimate = endpoint_cost(prices, **TODAY, instance_type="ml.m5.xlarge", instance_count=1)
    assert (estimate.per_hour, estimate.per_day, estimate.per_month) == (None, None, None)
    assert estimate.notes == [
        "The price table of 2026-09-22 has no price for hosting on ml.m5.xlarge; add it to have it estimated."
    ]


def test_a_serverless_endpoint_costs_nothing_but_the_time_of_its_requests(prices: PriceTable) -> None:
    estimate = serverless_cost(prices, **TODAY, memory_mb=2048, seconds_per_request=0.5)
    assert (estimate.kind, estimate.per_hour, estimate.per_month) == ("serverless", 0.0, 0.0)
    assert estimate.per_1000_requests == pytest.approx(0.02)


def test_serverless_memory_without_a_price_makes_no_request_free(prices: PriceTable) -> None:
    estimate = serverless_cost(prices, **TODAY, memory_mb=6144)
    assert estimate.per_1000_requests is None
    assert "serverless inference with 6,144 MB" in estimate.notes[0]


# --- every estimate ----------------------------------------------------------------------------------


def test_every_estimate_tells_the_prices_date_and_when_they_are_another_regions(prices: PriceTable) -> None:
    elsewhere = {"region": "eu-west-1"}
    for estimate in (
        run_cost(prices, **elsewhere, **JOB, billable_seconds=1, spot=False),
        endpoint_cost(prices, **elsewhere, instance_type="ml.m5.large", instance_count=1),
        serverless_cost(prices, **elsewhere, memory_mb=2048),
    ):
        assert estimate.prices_date == datetime.date(2026, 9, 22)
        assert estimate.notes[0] == (
            "These are prices of us-east-1; those of eu-west-1, where the run was, may differ."
        )


def test_an_estimate_survives_the_trip_through_json(prices: PriceTable) -> None:
    run = run_cost(prices, **TODAY, **JOB, billable_seconds=100, spot=True)
    assert RunCost.model_validate_json(run.model_dump_json()) == run
    endpoint = endpoint_cost(prices, **TODAY, instance_type="ml.m5.large", instance_count=1)
    assert EndpointCost.model_validate_json(endpoint.model_dump_json()) == endpoint


@pytest.mark.parametrize(
    ("dollars", "written"),
    [
        (0, "$0"),
        (0.00003, "under $0.0001"),
        (0.0041, "$0.0041"),
        (0.010861, "$0.0109"),
        (0.05, "$0.05"),
        (0.115, "$0.115"),
        (0.5, "$0.50"),
        (0.9996, "$1.00"),
        (1.23, "$1.23"),
        (9.994, "$9.99"),
        (9.996, "$10"),
        (83.95, "$84"),
        (18433.44, "$18,433"),
    ],
)
def test_money_is_written_as_people_write_it(dollars: float, written: str) -> None:
    assert money(dollars) == written
