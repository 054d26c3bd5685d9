"""The training job's hyperparameters, checked before any data is read.

The SageMaker training toolkit turns {"batch_size": "20", "tied": "false"} into the arguments
`--batch_size 20 --tied False`: values come as text, JSON booleans in Python's spelling. Names may be written
with a hyphen or an underscore.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from user_error import UserError

TOKENIZERS = ("auto", "prose", "tokenized")
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Own(NamedTuple):
    """What a recipe decides where nothing else is asked for."""

    lr: float  # learning rate at the start, and another thing to each optimiser
    clip: float  # largest gradient norm
    epochs: int
    dropout: float


RECIPES = {
    "classic": Own(lr=20.0, clip=0.25, epochs=40, dropout=0.2),
    "fast": Own(lr=0.003, clip=0.25, epochs=10, dropout=0.2),
    "awd": Own(lr=30.0, clip=0.25, epochs=750, dropout=0.4),
}
"""Every recipe (recipes.py says what each does) and its own numbers."""

OWN: Any = None
"""Stands for the recipe's own number until the recipe is known."""


@dataclass(frozen=True)
class Hyperparameters:
    """The sizes are those of the notebook this system replaces. A field left at OWN becomes the recipe's
    number, so that a made object holds numbers only."""

    recipe: str = "fast"
    emsize: int = 200  # width of a word vector
    nhid: int = 200  # hidden units per LSTM layer
    nlayers: int = 2
    lr: float = OWN
    clip: float = OWN
    epochs: int = OWN
    batch_size: int = 20  # columns the corpus is cut into
    bptt: int = 35  # words gradients flow back through
    dropout: float = OWN
    tied: bool = True  # one matrix for reading words and for predicting them
    seed: int = 1111
    log_interval: int = 200  # steps between two lines of the log
    tokenizer: str = "auto"

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise UserError(f"recipe must be one of {', '.join(RECIPES)}, not {self.recipe!r}.")
        for name, value in RECIPES[self.recipe]._asdict().items():
            if getattr(self, name) is OWN:
                object.__setattr__(self, name, value)
        for name in ("emsize", "nhid", "nlayers", "epochs", "batch_size", "bptt", "log_interval"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be a finite number above 0, not {getattr(self, name)}.")
        if self.recipe == "fast" and self.lr > 1:
            raise UserError(
                f"lr {self.lr:g} is no rate for recipe fast, whose Adam takes 1 at the very most: "
                "leave lr out, or choose recipe classic or awd."
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, not {self.dropout}.")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}.")
        if self.tokenizer not in TOKENIZERS:
            raise UserError(f"tokenizer must be one of {', '.join(TOKENIZERS)}, not {self.tokenizer!r}.")


TYPES = {field.name: field.type for field in fields(Hyperparameters)}


def parse(arguments: Sequence[str]) -> Hyperparameters:
    """Hyperparameters from `--name value` or `--name=value` arguments; a boolean may stand alone and is then
    true.

    Raises UserError for an unknown name, a name given twice, a missing value, or a value that does not fit.
    Names that begin with sagemaker_ are the toolkit's own and are passed over.
    """
    values: dict[str, int | float | bool | str] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            raise UserError(f"Expected --name value, but found {argument!r}.")
        written, equals, value = argument[2:].partition("=")
        name = written.replace("-", "_")
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        elif not equals and TYPES.get(name) is bool:
            value = "true"
        elif not equals and name in TYPES:
            raise UserError(f"{name} has no value.")
        if name.startswith("sagemaker_"):
            continue
        if name not in TYPES:
            raise UserError(f"Unknown hyperparameter {written!r}; the known ones are {', '.join(TYPES)}.")
        if name in values:
            raise UserError(f"{name} is given twice.")
        values[name] = convert(name, value)
    return Hyperparameters(**values)  # type: ignore[arg-type]  # convert() gives each field its own type


def convert(name: str, text: str) -> int | float | bool | str:
    """The text of one value as its field's type, or UserError naming the field."""
    expected = TYPES[name]
    try:
        if expected is int:
            return int(text)
        if expected is float:
            return float(text)
        if expected is bool:
            return BOOLEANS[text.lower()]
    except ValueError:
        kind = "a whole number" if expected is int else "a number"
        raise UserError(f"{name} must be {kind}, not {text!r}.") from None
    except KeyError:
        raise UserError(f"{name} must be one of true, false, 1, 0, yes, no; not {text!r}.") from None
    return text
