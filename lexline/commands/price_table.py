"""Check a price table before `lexline cost --prices` uploads it.

If the pipeline cannot read a table, it uses the one that it came with. So this module has the same rules as
the pipeline (PriceTable there), and its errors name the invalid fields.
"""

from __future__ import annotations

import datetime
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from lexline.core import paths
from lexline.core.errors import UsageError

_InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$", max_length=63)]
_Memory = Annotated[int, Field(ge=1024, le=6144, multiple_of=1024)]
_Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_MAX_ERRORS = 5


class PriceTable(BaseModel):
    """List prices of one region on one day, in US dollars.

    Attributes:
        date: The day of the prices.
        currency: Always USD.
        region: AWS region.
        source: Where the prices come from.
        notes: Sentences about the prices.
        training: Price per instance-hour by instance type.
        hosting: Price per instance-hour by instance type.
        serverless: Price per second of serverless inference by memory in MB.
        storage_per_gb_month: Price of S3 storage.
        lambda_per_gb_second: Price of Lambda functions.
        step_functions_per_1000_transitions: Price of the state machine.
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


def load(path: Path) -> tuple[PriceTable, bytes]:
    """Return the table in a file, and the file's content.

    Raises:
        UsageError: The file cannot be read, or fields are invalid; the message names them.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The file {path} cannot be read: {error.strerror}.", "Give --prices the path of a price table."
        ) from error
    try:
        return PriceTable.model_validate_json(content), content
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        lines = [f"  {'.'.join(map(str, each['loc'])) or 'the file'}: {_message(each)}" for each in errors]
        more = [f"  and {len(lines) - _MAX_ERRORS} more"] if len(lines) > _MAX_ERRORS else []
        raise UsageError(
            "\n".join([f"{path} is not a valid price table:", *lines[:_MAX_ERRORS], *more]),
            f"Correct these fields. {paths.PRICE_TABLE} is an example of a valid table.",
        ) from error


def _message(problem: ErrorDetails) -> str:
    """Return what is wrong with a field. pydantic's own messages are for programmers."""
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "extra_forbidden":
        near = get_close_matches(str(problem["loc"][-1]), PriceTable.model_fields, 1)
        return f"is not a field here; did you mean {near[0]}?" if near else "is not a field here"
    return re.sub(r"^\w+ should ", "must ", problem["msg"])
