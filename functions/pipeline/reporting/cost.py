"""Estimates of what a run cost and what its endpoint costs, from a price table.

If the table lacks a price, the estimate is None and a note says so: an unknown price never counts as free.
Estimates do not include tax, data transfer, free tiers or discounts.
"""

from collections.abc import Sequence
from typing import Any

from contracts.report import EndpointCost, RunCost
from contracts.request import HostingResources
from contracts.training import Trained
from reporting.formatting import money
from reporting.prices import PriceTable

HOURS_PER_MONTH = 730
"""The 8,760 hours of a year / 12, as AWS's pricing calculator counts a month."""
_SECONDS_PER_REQUEST = 1.0


def of_run(prices: PriceTable, region: str, job: Trained, notes: Sequence[str] = ()) -> RunCost:
    """Return the cost of a run in `region`, from the seconds of its training job.

    `notes` are put behind the estimate's own.
    """
    price = prices.training.get(job.instance_type)
    hourly = price and price * job.instance_count
    # 1 - billable / training seconds (DescribeTrainingJob's reference). SageMaker expresses the lower price
    # of spot instances in fewer billable seconds, so the price per hour is the list's.
    has_saving = job.spot and job.training_seconds
    saving = max(0.0, 1 - job.billable_seconds / job.training_seconds) if has_saving else None
    left_out = (
        f"The estimate leaves out S3 ({money(prices.storage_per_gb_month)} per GB and month), Lambda "
        f"({money(1e6 * prices.lambda_per_gb_second)} per 1,000,000 GB-seconds) and Step Functions "
        f"({money(prices.step_functions_per_1000_transitions)} per 1,000 transitions)."
    )
    training = hourly and hourly * job.billable_seconds / 3600
    return RunCost(
        **_basis(prices, region, price, f"training on {job.instance_type}", [left_out, *notes]),
        instance_type=job.instance_type,
        instance_count=job.instance_count,
        training_seconds=job.training_seconds,
        billable_seconds=job.billable_seconds,
        price_per_hour=price,
        spot=job.spot,
        spot_saving=saving,
        spot_saved=hourly and saving and hourly * saving * job.training_seconds / 3600,
        training=training,
        total=training,
    )


def of_endpoint(
    prices: PriceTable, region: str, hosting: HostingResources, instances: int, notes: Sequence[str] = ()
) -> EndpointCost:
    """Return the cost of an endpoint in `region`.

    AWS bills a real-time endpoint by the hour for each of its `instances`, and a serverless endpoint by the
    second of each request. `notes` are put behind the estimate's own.
    """
    if hosting.endpoint_type == "serverless":
        memory = hosting.serverless_memory_mb
        per_second = prices.serverless.get(memory)
        return EndpointCost(
            **_basis(prices, region, per_second, f"serverless inference with {memory:,} MB", notes),
            kind="serverless",
            memory_mb=memory,
            per_hour=0.0,
            per_day=0.0,
            per_month=0.0,
            seconds_per_request=_SECONDS_PER_REQUEST,
            per_1000_requests=per_second and 1000 * _SECONDS_PER_REQUEST * per_second,
        )
    price = prices.hosting.get(hosting.instance_type)
    hourly = price and price * instances
    return EndpointCost(
        **_basis(prices, region, price, f"hosting on {hosting.instance_type}", notes),
        kind="real-time",
        instance_type=hosting.instance_type,
        instance_count=instances,
        per_hour=hourly,
        per_day=hourly and hourly * 24,
        per_month=hourly and hourly * HOURS_PER_MONTH,
    )


def _basis(
    prices: PriceTable, region: str, price: float | None, resource: str, notes: Sequence[str]
) -> dict[str, Any]:
    """Return the fields that all estimates share."""
    own = []
    if region != prices.region:
        own.append(
            f"The prices are those of {prices.region}; prices in {region}, the run's region, may differ."
        )
    if price is None:
        own.append(
            f"The price table of {prices.date} has no price for {resource}; add it to get an estimate."
        )
    return {"prices_date": prices.date, "prices_region": prices.region, "notes": [*own, *notes]}
