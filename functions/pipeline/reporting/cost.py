"""What a run cost and what its endpoint goes on costing: an estimate from a dated table of list prices.

`prices.json` holds AWS's list prices for us-east-1. A table of the same shape for another region, or with
prices of one's own, takes its place. Where the table has no price, the estimate is None and a note says so:
nothing unknown counts as free.

No estimate includes tax, data transfer, free tiers or discounts.
"""

from __future__ import annotations

import datetime
import functools
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from contracts.base import Contract, InstanceType
from contracts.report import EndpointCost, RunCost
from core.errors import InvalidInput
from core.text import sentence

HOURS_PER_MONTH = 730
"""A year's 8,760 hours over 12, as AWS's pricing calculator counts a month."""

Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# SageMaker takes 1 to 6 GB in steps of 1 GB (ServerlessMemorySizeInMB, CreateEndpointConfig's reference).
ServerlessMemory = Annotated[int, Field(ge=1024, le=6144, multiple_of=1024)]


class PriceTable(Contract):
    """List prices on one day in one region, in US dollars.

    `training` and `hosting`: per instance-hour by instance type. `serverless`: per second of inference by
    memory in MB. `storage_per_gb_month`: S3 Standard. `lambda_per_gb_second`: the functions.
    `step_functions_per_1000_transitions`: the state machine. `source` says where the prices are from,
    `notes` what else to know of them.
    """

    date: datetime.date
    currency: Literal["USD"]
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")
    source: str = Field(min_length=1)
    notes: list[str] = Field(default=[])
    training: dict[InstanceType, Price]
    hosting: dict[InstanceType, Price]
    serverless: dict[ServerlessMemory, Price]
    storage_per_gb_month: Price
    lambda_per_gb_second: Price
    step_functions_per_1000_transitions: Price

    @classmethod
    def load(cls, text: str | bytes) -> PriceTable:
        """The table in a JSON document; InvalidInput names each wrong field."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InvalidInput(f"The price table is refused. {sentence(error)}") from error


@functools.cache
def list_prices() -> PriceTable:
    """The table that comes with these functions."""
    return PriceTable.load(Path(__file__).with_name("prices.json").read_bytes())


def run_cost(
    prices: PriceTable,
    *,
    region: str,
    instance_type: str,
    instance_count: int,
    training_seconds: int,
    billable_seconds: int,
    spot: bool,
    transitions: int | None = None,
    function_gb_seconds: float | None = None,
) -> RunCost:
    """A run in `region` whose training job DescribeTrainingJob tells these seconds of.

    `transitions` are the state machine's, `function_gb_seconds` the functions' memory x time; None leaves
    them out.
    """
    notes = _notes(prices, region)
    price = prices.training.get(instance_type)
    if price is None:
        notes.append(_unpriced(prices, f"training on {instance_type}"))
    training = None if price is None else price * instance_count * billable_seconds / 3600
    saving = _spot_saving(training_seconds, billable_seconds) if spot else None
    orchestration = None
    if transitions is not None or function_gb_seconds is not None:
        orchestration = (transitions or 0) / 1000 * prices.step_functions_per_1000_transitions + (
            function_gb_seconds or 0
        ) * prices.lambda_per_gb_second
    notes.append(f"What stays in S3 is not counted: {money(prices.storage_per_gb_month)} per GB and month.")
    return RunCost(
        prices_date=prices.date,
        prices_region=prices.region,
        notes=notes,
        instance_type=instance_type,
        instance_count=instance_count,
        training_seconds=training_seconds,
        billable_seconds=billable_seconds,
        price_per_hour=price,
        training=training,
        spot=spot,
        spot_saving=saving,
        spot_saved=(
            None
            if price is None or saving is None
            else price * instance_count * saving * training_seconds / 3600
        ),
        orchestration=orchestration,
        total=None if training is None else training + (orchestration or 0),
    )


def _spot_saving(training_seconds: int, billable_seconds: int) -> float | None:
    """The share saved by managed spot training: 1 - billable / training (DescribeTrainingJob's reference).

    SageMaker expresses spot's lower price in fewer billable seconds, so the price per hour stays that of the
    list.
    """
    return max(0.0, 1 - billable_seconds / training_seconds) if training_seconds > 0 else None


def endpoint_cost(
    prices: PriceTable, *, region: str, instance_type: str, instance_count: int
) -> EndpointCost:
    """A real-time endpoint, which bills each instance by the hour, asked or not."""
    notes = _notes(prices, region)
    price = prices.hosting.get(instance_type)
    if price is None:
        notes.append(_unpriced(prices, f"hosting on {instance_type}"))
    per_hour = None if price is None else price * instance_count
    return EndpointCost(
        prices_date=prices.date,
        prices_region=prices.region,
        notes=notes,
        kind="real-time",
        instance_type=instance_type,
        instance_count=instance_count,
        per_hour=per_hour,
        per_day=None if per_hour is None else per_hour * 24,
        per_month=None if per_hour is None else per_hour * HOURS_PER_MONTH,
    )


def serverless_cost(
    prices: PriceTable, *, region: str, memory_mb: int, seconds_per_request: float = 1.0
) -> EndpointCost:
    """A serverless endpoint, which bills the seconds its requests take."""
    notes = _notes(prices, region)
    price = prices.serverless.get(memory_mb)
    if price is None:
        notes.append(_unpriced(prices, f"serverless inference with {memory_mb:,} MB"))
    return EndpointCost(
        prices_date=prices.date,
        prices_region=prices.region,
        notes=notes,
        kind="serverless",
        memory_mb=memory_mb,
        per_hour=0.0,
        per_day=0.0,
        per_month=0.0,
        seconds_per_request=seconds_per_request,
        per_1000_requests=None if price is None else 1000 * seconds_per_request * price,
    )


def _notes(prices: PriceTable, region: str) -> list[str]:
    if region == prices.region:
        return []
    return [f"These are prices of {prices.region}; those of {region}, where the run was, may differ."]


def _unpriced(prices: PriceTable, what: str) -> str:
    return f"The price table of {prices.date} has no price for {what}; add it to have it estimated."


def money(dollars: float) -> str:
    """US dollars as people write them: $0.0041, $0.115, $1.23, $84, $1,234."""
    if dollars >= 9.995:
        return f"${dollars:,.0f}"
    if dollars >= 0.9995:
        return f"${dollars:.2f}"
    if dollars >= 0.0001:
        exact = f"{float(f'{dollars:.3g}'):.7f}".rstrip("0")
        whole, cents = exact.split(".")
        return f"${whole}.{cents:0<2}"
    return "under $0.0001" if dollars > 0 else "$0"
