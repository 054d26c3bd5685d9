"""What all contracts share: the base class, and the types of names, URIs and durations."""

import re
import unicodedata
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

# JSON has no infinity and no NaN. As strings they can be written, and pydantic reads them back.
_CONFIG = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings", protected_namespaces=())


# At most 30 characters, so that endpoint, dataset (18) and hash (12) fit into SageMaker's names of 63
# characters. No two hyphens in a row: in a run's name these end the endpoint's name (core.names.prefix).
EndpointName = Annotated[str, Field(pattern=r"^[a-z0-9](-?[a-z0-9]){0,29}$", max_length=30)]


# The name is part of S3 keys, and of what people type.
_DATASET_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


def is_dataset_name(name: str) -> bool:
    """Return whether a dataset, which is a folder under uploads/, may have this name."""
    return re.fullmatch(_DATASET_NAME.rstrip("$"), name) is not None


def similar_dataset_name(name: str) -> str:
    """Return the name of a dataset that is like `name`, for an error that says what works instead."""
    plain = unicodedata.normalize("NFKD", name[:200]).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("._-")[:63].rstrip("._-") or "my-dataset"


DATASET_NAMES = (
    "the name of a dataset has at most 63 letters without accents, digits, dots, underscores and hyphens, "
    "and begins with a letter or a digit"
)


def _names_a_dataset(value: object) -> object:
    # pydantic would only name the pattern.
    if isinstance(value, str) and not is_dataset_name(value):
        raise ValueError(f'{DATASET_NAMES}; a name that works: "{similar_dataset_name(value)}"')
    return value


DatasetName = Annotated[str, BeforeValidator(_names_a_dataset), Field(pattern=_DATASET_NAME)]


InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$", max_length=63)]


# A bucket's name has at most 63 characters. A key has at most 1,024, and may contain line breaks.
S3Uri = Annotated[str, Field(pattern=r"^s3://[^/]+/(?s:.+)$", max_length=5 + 63 + 1 + 1024)]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Contract(BaseModel):
    """A document that crosses a step: immutable, and without unknown fields."""

    model_config = _CONFIG


def _duration_is_text(value: object) -> object:
    # pydantic would read a number as seconds. A person who writes 8 may mean hours, so refuse numbers.
    if isinstance(value, timedelta) or (isinstance(value, str) and value.startswith("P")):
        return value
    raise ValueError("give an ISO 8601 duration, such as PT8H or P1D")


Duration = Annotated[
    timedelta, BeforeValidator(_duration_is_text), Field(ge=timedelta(seconds=1), le=timedelta(days=366))
]


def iso8601(duration: timedelta) -> str:
    """Return the duration as an ISO 8601 text, as documents have it."""
    return str(TypeAdapter(timedelta).dump_python(duration, mode="json"))


RunName = Annotated[str, Field(pattern=r"^[a-z0-9](-*[a-z0-9])*$", max_length=63)]
