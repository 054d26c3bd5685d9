"""The training job's hyperparameters, checked before any data is read.

The SageMaker training toolkit turns {"batch_size": "20", "tied": "false"} into the arguments
`--batch_size 20 --tied False`: values come as text, JSON booleans in Python's spelling. Names may be written
with a hyphen or an underscore.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from user_error import UserError

TOKENIZERS = ("auto", "prose", "tokenized")
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Hyperparameters:
    """Defaults are those of the notebook this system replaces, which had them from PyTorch's
    word_language_model example."""

    emsize: int = 200  # width of a word vector
    nhid: int = 200  # hidden units per LSTM layer
    nlayers: int = 2
    lr: float = 20.0  # initial learning rate of plain SGD
    clip: float = 0.25  # largest gradient norm
    epochs: int = 40
    batch_size: int = 20  # columns the corpus is cut into
    bptt: int = 35  # words gradients flow back through
    dropout: float = 0.2
    tied: bool = False  # one matrix for reading words and for predicting them
    seed: int = 1111
    log_interval: int = 200  # steps between two lines of the log
    tokenizer: str = "auto"

    def __post_init__(self) -> None:
        for name in ("emsize", "nhid", "nlayers", "epochs", "batch_size", "bptt", "log_interval"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be a finite number above 0, not {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, not {self.dropout}.")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}.")
        if self.tokenizer not in TOKENIZERS:
            raise UserError(f"tokenizer must be one of {', '.join(TOKENIZERS)}, not {self.tokenizer!r}.")
        if self.tied and self.emsize != self.nhid:
            raise UserError(
                f"tied=true shares one matrix between emsize ({self.emsize}) and nhid ({self.nhid}): "
                "make the two equal, or set tied=false."
            )


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
