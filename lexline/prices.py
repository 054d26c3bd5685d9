"""Checks a price table before it is put where the pipeline reads it.

The pipeline does not fail over a table it cannot read: it goes on by the one it came with. So what is wrong
has to be said before, and by the same rules (functions/pipeline/cost.py).
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lexline.errors import UsageError

_InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$", max_length=63)]
_Memory = Annotated[int, Field(ge=1024, le=6144, multiple_of=1024)]
_Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_MOST_TOLD = 5


class PriceTable(BaseModel):
    """Prices on one day in one region, in US dollars: per instance-hour, and per second of serverless
    inference by memory in MB.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: datetime.date
    currency: Literal["USD"]
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")
    source: str = Field(min_length=1)
    notes: list[str] = []
    training: dict[_InstanceType, _Price]
    hosting: dict[_InstanceType, _Price]
    serverless: dict[_Memory, _Price]
    storage_per_gb_month: _Price
    lambda_per_gb_second: _Price
    step_functions_per_1000_transitions: _Price


def read(path: Path) -> tuple[PriceTable, bytes]:
    """The table in a file, and the file as it is. Raises UsageError naming each wrong field."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return PriceTable.model_validate_json(content), content
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=False, include_input=False)
        wrong = [
            f"  {'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in told[:_MOST_TOLD]
        ]
        more = [f"  and {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
        raise UsageError(
            "\n".join([f"{path} is no price table:", *wrong, *more]),
            "functions/pipeline/prices.json is one to start from.",
        ) from error
