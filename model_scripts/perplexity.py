"""Perplexity: each token of a split is predicted exactly once, <eos> included.

The split is read in up to 20 columns, for speed:

    a b c d e f g h i, 2 columns   ->   inputs    targets
                                        <eos> e   a f       The first input is <eos>; the second column's is
                                        a     f   b g       the true word before it. Each column starts with
                                        b     g   c h       an empty state, which can only make the figure
                                        c     h   d i       worse.
                                        d     -   e -       The last target is not counted.

The number of columns depends on the length of the split alone, and matrices are multiplied in FP32 on every
device. So the same weights and text give the same figure everywhere, up to rounding: other processors and
GPUs add the same numbers in another order.

A word outside the vocabulary counts as <unk>, so figures compare only between models with the same
vocabulary. The share of <unk> stands beside each figure. The exact perplexity charges these words as
comparison.py does, which compares models whose vocabularies differ: the set of words is then the model's
vocabulary and the distinct words of test.
"""

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import distributed
import machine
from language_model import LanguageModel
from numbered_text import Tokens
from vocabulary import END_OF_LINE_ID, TokenIds

MOST_COLUMNS = 20
FEWEST_ROWS = 1000  # in so long a column, the empty state at its start does not matter
ROWS_AT_ONCE = 35
NOT_COUNTED = -100


def perplexity(loss: float) -> float:
    """Return exp of a mean loss in nats, or infinity if that exceeds the range of a float."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def mean_loss(model: LanguageModel, tokens: Tokens | TokenIds) -> float:
    """Return the mean negative log likelihood of a text that is not empty, in nats per token.

    Under torchrun every rank calls this, reads its share of the columns and gets the figure of all.
    """
    return distributed.sum_over_ranks(own_loss(model, tokens)) / len(tokens)


def own_loss(model: LanguageModel, tokens: Tokens | TokenIds) -> Tensor:
    """Return the negative log likelihood of this rank's columns, in nats and summed (float64, 0-d).

    This function does not wait for other ranks. It keeps the model's mode, training or evaluation.
    """
    was_training = model.training
    model.eval()
    device = model.decoder.bias.device
    _, columns = size(len(tokens))
    own = distributed.own_columns(columns)
    total = torch.zeros((), dtype=torch.float64, device=device)
    with _evaluation():
        for hidden, predicted in _read(model, tokens, own):
            counted = predicted != NOT_COUNTED
            total += model.decoder.loss(hidden[counted], predicted[counted])
    model.train(was_training)
    return total


def token_losses(model: LanguageModel, tokens: TokenIds) -> npt.NDArray[np.float32]:
    """Return the negative log likelihood of each token, in nats, as `own_loss` sums them on a single rank.

    Call eval() first.
    """
    return losses_and_activations(model, tokens)[0]


def losses_and_activations(
    model: LanguageModel, tokens: Tokens | TokenIds
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return each token's loss as `token_losses` does, and the activations (n, width) that predict it.

    Call eval() first. A single rank reads all columns.
    """
    _, columns = size(len(tokens))
    losses, activations = [], []
    with _evaluation():
        for hidden, predicted in _read(model, tokens, slice(0, columns)):
            found = model.decoder.losses(hidden.flatten(0, 1), predicted.clamp(min=0).flatten())
            losses.append(found.view(predicted.shape).cpu())
            activations.append(hidden.cpu())
    # The columns, one after another, are the text.
    by_place = torch.cat(activations).transpose(0, 1).flatten(0, 1)[: len(tokens)]
    return torch.cat(losses).T.flatten().numpy()[: len(tokens)], by_place.numpy()


@contextlib.contextmanager
def _evaluation() -> Iterator[None]:
    """Compute in full precision, without gradients.

    There is no inference_mode() here: cuDNN may move an LSTM's weights in a forward pass, and weights that
    are trained further must not move to a tensor of that mode.
    """
    with torch.no_grad(), machine.full_precision():
        yield


def _read(model: LanguageModel, tokens: Tokens | TokenIds, columns: slice) -> Iterator[tuple[Tensor, Tensor]]:
    """Read some columns, and yield the activations of ROWS_AT_ONCE rows and the words that follow them."""
    device = model.decoder.bias.device
    rows, _ = size(len(tokens))
    state = model.start(columns.stop - columns.start)
    for row in range(0, rows if columns.stop > columns.start else 0, ROWS_AT_ONCE):
        inputs, targets = layout(tokens, range(row, min(row + ROWS_AT_ONCE, rows)), columns)
        hidden, state = model.read(inputs.to(device), state)
        yield hidden, targets.to(device).long()


def size(length: int) -> tuple[int, int]:
    """Return the rows and columns in which a text of so many tokens is read."""
    columns = max(1, min(MOST_COLUMNS, length // FEWEST_ROWS))
    return math.ceil(length / columns), columns


def own_tokens(length: int) -> range:
    """Return the places of the tokens that this rank reads: its columns, and the token before them."""
    rows, columns = size(length)
    own = distributed.own_columns(columns)
    return range(max(0, own.start * rows - 1), min(own.stop * rows, length))


def layout(tokens: Tokens | TokenIds, rows: range, columns: slice) -> tuple[Tensor, Tensor]:
    """Return some rows and columns of the inputs and targets drawn at the head of this module."""
    length = len(tokens)
    height, _ = size(length)
    shape = (columns.stop - columns.start, len(rows))
    inputs = np.full(shape, END_OF_LINE_ID, dtype=np.int32)
    targets = np.full(shape, NOT_COUNTED, dtype=np.int32)
    for column in range(columns.start, columns.stop):
        begin = column * height + rows.start
        end = min(begin + len(rows), length)
        if begin < end:
            targets[column - columns.start, : end - begin] = tokens[begin:end]
            first = 1 if begin == 0 else 0
            inputs[column - columns.start, first : end - begin] = tokens[begin - 1 + first : end - 1]
    return torch.from_numpy(inputs.T.copy()), torch.from_numpy(targets.T.copy())
