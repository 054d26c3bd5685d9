"""The price table of the estimates: the user's own in the bucket, or the list prices beside this module.

`prices.json` holds AWS's list prices for us-east-1. A table for another region, or with other prices, has the
same shape.
"""

from __future__ import annotations

import datetime
import functools
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from contracts.base import Contract, InstanceType
from core import aws, environment
from core.errors import InvalidInput
from core.logging import logger
from core.text import cut, sentence

KEY = "prices.json"
_LONGEST_NOTE = 1000

Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# SageMaker takes 1 to 6 GB in steps of 1 GB (ServerlessMemorySizeInMB, CreateEndpointConfig's reference).
ServerlessMemory = Annotated[int, Field(ge=1024, le=6144, multiple_of=1024)]


class PriceTable(Contract):
    """List prices of one day in one region, in US dollars.

    `training` and `hosting` are prices per instance and hour by instance type. `serverless` is the price per
    second of inference by memory in MB. No estimate includes `storage_per_gb_month` (S3 Standard),
    `lambda_per_gb_second` and `step_functions_per_1000_transitions`; a note of the report names them.
    `source` and `notes` say where the prices come from.
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
        """Return the table in a JSON document.

        Raises:
            InvalidInput: The document is not a price table; the message names each invalid field.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InvalidInput(f"The price table is invalid. {sentence(error, cls)}") from error


@functools.cache
def list_prices() -> PriceTable:
    """Return the table that is part of the deployment."""
    return PriceTable.load(Path(__file__).with_name("prices.json").read_bytes())


def current() -> tuple[PriceTable, list[str]]:
    """Return the table to use, and notes for the report: the bucket's table, or the list prices.

    An invalid table in the bucket is not used, and a note says so: a run does not fail over its report.
    """
    bucket = environment.bucket()
    response = aws.or_none(lambda: aws.s3().get_object(Bucket=bucket, Key=KEY), aws.is_missing_object)
    if response is None:
        return list_prices(), []
    try:
        return PriceTable.load(response["Body"].read()), []
    except InvalidInput as error:
        logger.warning("The price table in the bucket is not used", reason=str(error))
        return list_prices(), [cut(f"{KEY} in the bucket is not used. {error}", _LONGEST_NOTE)]
