"""Perplexity, counted honestly: every token of a split is predicted exactly once, <eos> included.

The split is read in a few columns side by side, for speed. State flows down each column from its first row
to its last. The first token of the text is predicted from an <eos>, the first of each later column from the
true word before it with an empty memory, so cutting into columns makes the figure worse if anything. The
number of columns depends on the length of the split alone: the same weights and text give the same figure
wherever it is computed.

A word the vocabulary does not hold counts as <unk>. Figures therefore compare only between models with the
same vocabulary; metrics.json tells each split's share of <unk>. comparison.py puts models with different
vocabularies on common terms.
"""

import math

import numpy as np
import torch
from torch import Tensor

import distributed
from language_model import LanguageModel
from vocabulary import END_OF_LINE_ID, TokenIds

MOST_COLUMNS = 20
FEWEST_ROWS = 1000  # a column this long hides the cost of its cold start
ROWS_AT_ONCE = 35
NOT_COUNTED = -100


def perplexity(loss: float) -> float:
    """exp of a mean loss in nats; infinite where that exceeds the range of a float."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def mean_loss(model: LanguageModel, tokens: TokenIds) -> float:
    """Mean negative log likelihood, in nats per token, of a non-empty run of tokens. Restores the model's
    mode.

    Under torchrun every rank calls this, reads its share of the columns, and gets the figure of all.
    """
    return distributed.total(own_loss(model, tokens)) / len(tokens)


def own_loss(model: LanguageModel, tokens: TokenIds) -> Tensor:
    """The negative log likelihood, in nats and summed, of this rank's share of the columns: float64, 0-d.

    No rank waits here for another one.
    """
    was_training = model.training
    model.eval()
    device = model.decoder.bias.device
    inputs, targets = (distributed.share(columns).to(device) for columns in layout(tokens))
    state = model.start(inputs.shape[1])
    total = torch.zeros((), dtype=torch.float64, device=device)
    rows = len(inputs) if inputs.shape[1] else 0
    with torch.inference_mode():
        for row in range(0, rows, ROWS_AT_ONCE):
            hidden, state = model.read(inputs[row : row + ROWS_AT_ONCE], state)
            wanted = targets[row : row + ROWS_AT_ONCE].long()
            counted = wanted != NOT_COUNTED
            total += model.decoder.loss(hidden[counted], wanted[counted])
    model.train(was_training)
    return total


def layout(tokens: TokenIds) -> tuple[Tensor, Tensor]:
    """Inputs and targets (rows, columns): targets hold every token once, top to bottom, column after column.

    The last column is filled up with targets that are not counted.
    """
    columns = max(1, min(MOST_COLUMNS, len(tokens) // FEWEST_ROWS))
    rows = math.ceil(len(tokens) / columns)
    targets = np.full(rows * columns, NOT_COUNTED, dtype=np.int32)
    targets[: len(tokens)] = tokens
    inputs = np.full(rows * columns, END_OF_LINE_ID, dtype=np.int32)
    inputs[1 : len(tokens)] = tokens[:-1]
    return (
        torch.from_numpy(np.ascontiguousarray(inputs.reshape(columns, rows).T)),
        torch.from_numpy(np.ascontiguousarray(targets.reshape(columns, rows).T)),
    )
