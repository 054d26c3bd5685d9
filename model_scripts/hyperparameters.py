"""The training job's hyperparameters, checked before any data is read.

    python train.py --help            lists them
    python train.py --recipe classic --batch_size 40 --tied False

SageMaker's training toolkit turns {"batch_size": "20", "tied": "false"} into the arguments
`--batch_size 20 --tied False`: JSON booleans arrive in Python's spelling.

To add one, see its row in CONTRIBUTING.md. Tests compare the names here with those of the request
(functions/pipeline/contracts/request.py) and of template.yaml.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from user_error import UserError

MAX_VOCABULARY = 250_000
FEWEST_WORDS = 3
"""The size of the smallest vocabulary: <unk>, <eos> and a word."""

TOKENIZERS = ("auto", "prose", "tokenized", "joined")
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class RecipeDefaults(NamedTuple):
    """The hyperparameters whose default depends on the recipe."""

    lr: float  # initial learning rate; each optimiser needs another magnitude
    clip: float  # largest norm of the gradient
    epochs: int
    dropout: float


RECIPES = {
    "classic": RecipeDefaults(lr=20.0, clip=0.25, epochs=40, dropout=0.2),
    "fast": RecipeDefaults(lr=0.005, clip=0.25, epochs=10, dropout=0.2),
    "awd": RecipeDefaults(lr=30.0, clip=0.25, epochs=750, dropout=0.4),
}
"""The recipes and their defaults. recipes.py implements them."""

BATCH_SIZE = 20
"""The default on processors. recipes.py widens it for a GPU."""

BY_RECIPE: Any = None
"""Placeholder for a number that the recipe provides. `Hyperparameters` replaces it."""


def _hyperparameter(default: Any, description: str) -> Any:
    return field(default=default, metadata={"help": description})


@dataclass(frozen=True)
class Hyperparameters:
    """Checked hyperparameters. Raises UserError if a value is not allowed.

    The default sizes are those of PyTorch's word_language_model example.
    """

    recipe: str = _hyperparameter("fast", f"how to train: {', '.join(RECIPES)}")
    emsize: int = _hyperparameter(200, "width of a word vector")
    nhid: int = _hyperparameter(200, "hidden units of an LSTM layer")
    nlayers: int = _hyperparameter(2, "number of LSTM layers")
    lr: float = _hyperparameter(BY_RECIPE, "initial learning rate")
    clip: float = _hyperparameter(BY_RECIPE, "largest norm of the gradient")
    epochs: int = _hyperparameter(BY_RECIPE, "passes over the training text")
    batch_size: int = _hyperparameter(BY_RECIPE, "columns that the training text is cut into")
    bptt: int = _hyperparameter(35, "words that gradients flow back through")
    dropout: float = _hyperparameter(BY_RECIPE, "share of activations that are dropped")
    tied: bool = _hyperparameter(True, "use one matrix to read words and to predict them")
    seed: int = _hyperparameter(1111, "seed of all random numbers")
    log_interval: int = _hyperparameter(200, "steps between two lines of the log")
    tokenizer: str = _hyperparameter("auto", f"how text is cut into words: {', '.join(TOKENIZERS)}")
    max_vocabulary: int = _hyperparameter(
        MAX_VOCABULARY, "words that the model may know, <unk> and <eos> included; rarer words become <unk>"
    )

    def __post_init__(self) -> None:
        for name, allowed in (("recipe", RECIPES), ("tokenizer", TOKENIZERS)):
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}.")
        defaults = {**RECIPES[self.recipe]._asdict(), "batch_size": BATCH_SIZE}
        own = {name: value for name, value in defaults.items() if getattr(self, name) is BY_RECIPE}
        for name, value in own.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_by_recipe", frozenset(own))
        for name in ("emsize", "nhid", "nlayers", "epochs", "batch_size", "bptt", "log_interval"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.max_vocabulary < FEWEST_WORDS:
            raise UserError(
                f"max_vocabulary must be at least {FEWEST_WORDS} (<unk>, <eos> and a word), "
                f"not {self.max_vocabulary}."
            )
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be a finite number above 0, not {getattr(self, name)}.")
        if self.recipe == "fast" and self.lr > 1:
            raise UserError(
                f"lr must be at most 1 for recipe fast, whose optimiser is Adam, not {self.lr:g}: "
                "leave lr out, or choose recipe classic or awd."
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, not {self.dropout}.")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}.")

    def is_by_recipe(self, name: str) -> bool:
        """Return whether the recipe provided a value, because none was given."""
        by_recipe: frozenset[str] = self.__dict__["_by_recipe"]
        return name in by_recipe


def parse(arguments: Sequence[str]) -> Hyperparameters:
    """Parse `--name value` or `--name=value` arguments; a boolean without a value is true.

    A hyphen in a name counts as an underscore. Names that begin with sagemaker_ are the toolkit's own and
    are ignored.

    Raises:
        UserError: A name is unknown or occurs twice, or a value is missing or not allowed.
    """
    parser = argparse.ArgumentParser(
        description="Train a word-level LSTM language model.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        exit_on_error=False,
    )
    for one in fields(Hyperparameters):
        default = "the recipe's" if one.default is BY_RECIPE else one.default
        parser.add_argument(
            f"--{one.name}",
            *([f"--{one.name.replace('_', '-')}"] if "_" in one.name else []),
            action=_StoreOnce,
            **_BOOLEAN if one.type is bool else {"type": one.type},
            help=f"{one.metadata['help']} (default: {default})",
        )
    try:
        values, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        name = str(error.argument_name).partition("/")[0].lstrip("-")
        raise UserError(f"{name}: {error.message}.") from None
    ignored = False
    for argument in unknown:
        name = argument.lstrip("-").partition("=")[0].replace("-", "_")
        if argument.startswith("--"):
            ignored = name.startswith("sagemaker_")
        if not ignored:
            known = ", ".join(one.name for one in fields(Hyperparameters))
            raise UserError(f"Unknown hyperparameter {name!r}. Write --name value; the names are {known}.")
    return Hyperparameters(**vars(values))


class _StoreOnce(argparse.Action):
    def __call__(self, _parser: object, namespace: argparse.Namespace, value: Any, _: object = None) -> None:
        if hasattr(namespace, self.dest):
            raise argparse.ArgumentError(self, "occurs twice")
        setattr(namespace, self.dest, value)


def _boolean(text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(BOOLEANS)}, not {text!r}")
    return BOOLEANS[text.lower()]


_BOOLEAN: dict[str, Any] = {"type": _boolean, "nargs": "?", "const": True}
