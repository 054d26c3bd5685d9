"""What `recipe` means: three ways to train the same kind of model.

classic  the plain loop of PyTorch's word_language_model example: one softmax over the whole vocabulary,
         ordinary dropout, stochastic gradient descent whose rate is divided by 4 after an epoch that does not
         improve on valid.
fast     the default. Frequent words first: adaptive word vectors and an adaptive softmax, so that a batch
         costs a tenth; Adam, with a rate that falls to zero over exactly the epochs asked for.
awd      AWD-LSTM (Merity et al., arXiv 1708.02182): weight-dropped recurrent matrices, locked dropout,
         dropped words, activation regularisation, and SGD that averages its weights once valid stops
         improving. For those who rent a GPU and want the best perplexity.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from hyperparameters import Hyperparameters
from language_model import Dropout, LanguageModel, Shape


@dataclass(frozen=True)
class Recipe:
    """The parts of a recipe that are no hyperparameters.

    optimiser: "sgd" anneals on valid, "adam" follows a schedule, "asgd" averages once valid stops improving.
    adaptive: whether rare words are cheap.
    activation, slowness: weights of the mean square of the last layer's activations, and of their change from
        one word to the next (Merity et al.'s alpha and beta).
    decay: weight decay per step, relative to the learning rate.
    varied_windows: whether the length of back-propagation varies from batch to batch.
    expecting: whether the model begins with each word as likely as it is frequent.
    """

    optimiser: Literal["sgd", "adam", "asgd"]
    adaptive: bool = False
    activation: float = 0.0
    slowness: float = 0.0
    decay: float = 0.0
    varied_windows: bool = False
    expecting: bool = False


BY_NAME = {
    "classic": Recipe("sgd"),
    "fast": Recipe("adam", adaptive=True, expecting=True),
    "awd": Recipe("asgd", activation=2.0, slowness=1.0, decay=1.2e-6, varied_windows=True),
}

# Words by rank, and the width of their vectors relative to emsize, in the adaptive recipe. What a tail costs
# grows with its length and with how often it is meant, so large vocabularies are cut more often.
CUTOFFS = (400, 2_000, 6_000, 14_000, 40_000, 70_000, 120_000, 200_000, 350_000, 600_000, 1_000_000)
SHARES = (2, 4, 8, 8, *[16] * 7)

# The published settings for WikiText-2, relative to `dropout`, which is AWD-LSTM's output dropout (0.4).
AWD_WORDS, AWD_INPUTS, AWD_BETWEEN, AWD_WEIGHTS = 0.1 / 0.4, 0.65 / 0.4, 0.2 / 0.4, 0.5 / 0.4
MOST_DROPPED = 0.9


def model(settings: Hyperparameters, counts: npt.NDArray[np.int64]) -> LanguageModel:
    """A new model for a vocabulary whose words occur `counts` (vocabulary) times in the training text."""
    made = LanguageModel(shape(settings, len(counts)), dropout(settings))
    if BY_NAME[settings.recipe].expecting:
        made.decoder.expect(torch.from_numpy(counts).double())
    return made


def shape(settings: Hyperparameters, vocabulary_size: int) -> Shape:
    """The sizes of the model for a vocabulary; one too small to be cut has a full softmax in every recipe."""
    cutoffs = tuple(cutoff for cutoff in CUTOFFS if cutoff < vocabulary_size)
    if not BY_NAME[settings.recipe].adaptive:
        cutoffs = ()
    return Shape(
        vocabulary_size=vocabulary_size,
        emsize=settings.emsize,
        nhid=settings.nhid,
        nlayers=settings.nlayers,
        tied=settings.tied,
        cutoffs=cutoffs,
        widths=tuple(max(1, settings.emsize // share) for share in SHARES[: len(cutoffs)]),
    )


def dropout(settings: Hyperparameters) -> Dropout:
    """What is dropped while training, scaled by the one hyperparameter `dropout`."""
    share = settings.dropout
    if settings.recipe != "awd":
        return Dropout(inputs=share, between=share, outputs=share)
    return Dropout(
        words=min(AWD_WORDS * share, MOST_DROPPED),
        inputs=min(AWD_INPUTS * share, MOST_DROPPED),
        between=min(AWD_BETWEEN * share, MOST_DROPPED),
        outputs=share,
        weights=min(AWD_WEIGHTS * share, MOST_DROPPED),
        locked=True,
    )


def window(settings: Hyperparameters, chance: torch.Generator) -> int:
    """How many rows the next batch reads, and so how far its gradients reach.

    AWD-LSTM draws it anew for each batch, so that no word is always the first of its window: from a normal
    distribution around bptt, or one time in twenty around its half.
    """
    if not BY_NAME[settings.recipe].varied_windows:
        return settings.bptt
    mean = settings.bptt if torch.rand((), generator=chance) < 0.95 else settings.bptt / 2
    return max(5, round(float(torch.normal(torch.tensor(mean, dtype=torch.float64), 5.0, generator=chance))))
