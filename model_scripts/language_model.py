"""A word-level LSTM language model, and its artifact's weights and configuration.

    word numbers (rows, columns) -> embedding -> LSTM layers -> linear -> a score for each word there is

Rows are time; columns are independent texts read side by side. The architecture and the initial weights are
those of PyTorch's word_language_model example (Zaremba et al., arXiv 1409.2329, is the idea; tying is Press
and Wolf, arXiv 1608.05859).
"""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]

WEIGHTS = "model.pt"
VOCABULARY = "vocabulary"
CONFIG = "config.json"


@dataclass(frozen=True)
class Shape:
    """What fixes the sizes of the model's weights."""

    vocabulary_size: int
    emsize: int
    nhid: int
    nlayers: int
    tied: bool


class LanguageModel(nn.Module):
    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        if shape.tied and shape.emsize != shape.nhid:
            raise ValueError(f"tied weights need emsize == nhid, not {shape.emsize} and {shape.nhid}")
        self.shape = shape
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.Embedding(shape.vocabulary_size, shape.emsize)
        # nn.LSTM drops out between its layers, and warns when there is nothing between.
        self.lstm = nn.LSTM(
            shape.emsize, shape.nhid, shape.nlayers, dropout=dropout if shape.nlayers > 1 else 0.0
        )
        self.decoder = nn.Linear(shape.nhid, shape.vocabulary_size)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        if shape.tied:
            self.decoder.weight = self.encoder.weight

    def read(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Hidden activations (rows, columns, nhid) after each of `words` (rows, columns), and the state
        after."""
        hidden, state = self.lstm(self.dropout(self.encoder(words)), state)
        return self.dropout(hidden), state

    def forward(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores (rows * columns, vocabulary) for the word that follows each of `words`, and the state
        after."""
        hidden, state = self.read(words, state)
        return self.decoder(hidden.flatten(0, 1)), state

    def start(self, columns: int) -> State:
        """The state before any word: zeros, (nlayers, columns, nhid)."""
        zeros = self.decoder.bias.new_zeros(self.shape.nlayers, columns, self.shape.nhid)
        return zeros, zeros

    def count_parameters(self) -> int:
        """Trained numbers; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())


def save_weights(model: LanguageModel, path: Path) -> None:
    """Plain CPU tensors by name, put in place whole: a job stopped mid-write keeps the previous file.

    The copy, rather than a tensor-by-tensor move, keeps tied matrices one matrix on disk.
    """
    state = dict(copy.deepcopy(model).cpu().state_dict())
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_weights(model: LanguageModel, path: Path) -> None:
    """Fill the model from `save_weights`'s file, on whatever device the model is. Runs no code from the
    file."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def save_config(path: Path, shape: Shape, tokenizer: str, extra: dict[str, Any]) -> None:
    document = {**extra, **asdict(shape), "tokenizer": tokenizer}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def load(directory: Path) -> tuple[LanguageModel, dict[str, Any]]:
    """The model of an artifact, ready to read with, and its configuration."""
    config: dict[str, Any] = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    model = LanguageModel(Shape(**{name: config[name] for name in Shape.__dataclass_fields__}))
    load_weights(model, directory / WEIGHTS)
    model.eval()
    return model, config
