"""The recipes: three ways to train the same kind of model.

classic   PyTorch's word_language_model example: one softmax over the whole vocabulary, ordinary dropout,
          SGD whose rate is divided by 4 after an epoch that does not improve on valid.
fast      The default. Adaptive word vectors and an adaptive softmax, with which a batch costs a tenth;
          vectors that begin with what the text's neighbouring words tell (initial_vectors.py); dropout and
          activation regularisation that rise; Adam, whose rate falls to zero at the end of the last epoch.
awd       AWD-LSTM (Merity et al., arXiv 1708.02182): weight-dropped recurrent matrices, locked dropout,
          word dropout, activation regularisation, and SGD that averages its weights once valid stops
          improving. For the best perplexity, on a GPU.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from hyperparameters import BATCH_SIZE, Hyperparameters
from language_model import Dropout, LanguageModel, Shape


@dataclass(frozen=True)
class Recipe:
    """The parts of a recipe that are no hyperparameters.

    Attributes:
        optimiser: See optimisation.py.
        adaptive: Whether rare words get narrow vectors and a softmax of their own.
        alpha: Weight of the mean square of the last layer's activations (Merity et al.'s AR).
        beta: Weight of the mean square of their change from one word to the next (their TAR).
        decay: Weight decay, relative to the learning rate.
        varied_windows: Whether the length of back-propagation varies from batch to batch.
        rising: Over how many epochs dropout, alpha and beta rise from zero. A text that is read for the first
            time cannot be learnt by heart.
        informed: Whether a new model predicts each word as often as it occurs in train, and begins with the
            vectors of initial_vectors.py.
        rare_steps: In a training of more steps than this, the rate of the vectors and biases of the words in
            tails is multiplied by sqrt(rare_steps / steps).
        gpu_columns: The default batch_size on a GPU, if the text is long enough.
    """

    optimiser: Literal["sgd", "adam", "asgd"]
    adaptive: bool = False
    alpha: float = 0.0
    beta: float = 0.0
    decay: float = 0.0
    varied_windows: bool = False
    rising: float = 0.0
    informed: bool = False
    rare_steps: float = math.inf
    gpu_columns: int = BATCH_SIZE


BY_NAME = {
    "classic": Recipe("sgd"),
    # Adam's step is largest for a weight whose gradients are rare. In a long training, one occurrence of a
    # rare word would make it several times as probable in that place; a short one needs these steps.
    "fast": Recipe(
        "adam",
        adaptive=True,
        alpha=2.0,
        beta=1.0,
        rising=2.0,
        informed=True,
        rare_steps=540,
        gpu_columns=80,
    ),
    "awd": Recipe("asgd", alpha=2.0, beta=1.0, decay=1.2e-6, varied_windows=True, gpu_columns=80),
}

GPU_STEPS = 250
"""The fewest steps of an epoch for which a wider batch is worth it: a short text needs its steps."""

# Where the adaptive recipe cuts the vocabulary, and the width of the vectors in each tail: emsize divided by
# this. The cost of a tail grows with its length and with how often its words occur, so large vocabularies are
# cut more often, above a million words in proportion: each cut is 1.3 times the one before. With two million
# words and the cuts at 1.3 and 1.7 million, a step takes half as long as without them.
CUTOFFS = (
    *(400, 2_000, 6_000, 14_000, 40_000, 70_000, 120_000, 200_000, 350_000, 600_000, 1_000_000),
    *(1_300_000, 1_700_000, 2_200_000, 2_900_000, 3_700_000, 4_800_000, 6_300_000, 8_200_000),
)
DIVISORS = (2, 4, 8, 8, *[16] * (len(CUTOFFS) - 4))

# The shares that AWD-LSTM drops on WikiText-2 when its output dropout, the hyperparameter `dropout`, is 0.4.
AWD_OUTPUTS = 0.4
AWD_SHARES = {"words": 0.1, "inputs": 0.65, "between": 0.2, "weights": 0.5}
LARGEST_SHARE = 0.9


def model(hparams: Hyperparameters, counts: npt.NDArray[np.int64]) -> LanguageModel:
    """Return a new model, with random word vectors.

    Args:
        hparams: The job's hyperparameters.
        counts: How often each word occurs in the training text (vocabulary).
    """
    made = LanguageModel(shape(hparams, len(counts)), dropout(hparams))
    if BY_NAME[hparams.recipe].informed:
        made.decoder.set_frequencies(torch.from_numpy(counts).double())
    return made


def for_gpu(hparams: Hyperparameters, tokens: int) -> Hyperparameters:
    """Return the hyperparameters for a GPU, which 20 columns leave idle: more columns, and a higher rate.

    Adam's rate grows with the square root of the columns (Malladi et al., arXiv 2205.10287). The rate of awd
    stays: it was published for 80 columns, as that of classic for 20. A batch_size or lr that was given turns
    the rule off.

    Args:
        hparams: The job's hyperparameters.
        tokens: The length of the training text.
    """
    recipe = BY_NAME[hparams.recipe]
    columns = min(recipe.gpu_columns, tokens // (hparams.bptt * GPU_STEPS))
    if columns <= hparams.batch_size or not (
        hparams.is_by_recipe("batch_size") and hparams.is_by_recipe("lr")
    ):
        return hparams
    growth = math.sqrt(columns / hparams.batch_size) if recipe.optimiser == "adam" else 1.0
    return replace(hparams, batch_size=columns, lr=hparams.lr * growth)


def shape(hparams: Hyperparameters, vocabulary_size: int) -> Shape:
    """Return the sizes of the model. A vocabulary below the first cutoff gets a full softmax."""
    cutoffs = tuple(cutoff for cutoff in CUTOFFS if cutoff < vocabulary_size)
    if not BY_NAME[hparams.recipe].adaptive:
        cutoffs = ()
    return Shape(
        vocabulary_size=vocabulary_size,
        emsize=hparams.emsize,
        nhid=hparams.nhid,
        nlayers=hparams.nlayers,
        tied=hparams.tied,
        cutoffs=cutoffs,
        widths=tuple(max(1, hparams.emsize // divisor) for divisor in DIVISORS[: len(cutoffs)]),
    )


def risen(recipe: Recipe, passes: float) -> float:
    """Return how much of the regularisation applies, from 0 to 1 (Recipe.rising).

    passes: How often train was read so far, with fractions.
    """
    return min(1.0, passes / recipe.rising) if recipe.rising else 1.0


def dropout(hparams: Hyperparameters, passes: float = math.inf) -> Dropout:
    """Return the shares to drop, all scaled by the one hyperparameter `dropout`.

    passes: How often train was read so far, with fractions.
    """
    share = hparams.dropout * risen(BY_NAME[hparams.recipe], passes)
    if hparams.recipe != "awd":
        return Dropout(inputs=share, between=share, outputs=share)
    scaled = {name: min(own / AWD_OUTPUTS * share, LARGEST_SHARE) for name, own in AWD_SHARES.items()}
    return Dropout(outputs=share, locked=True, **scaled)


def window(hparams: Hyperparameters, generator: torch.Generator) -> int:
    """Return the number of rows of the next batch, which is how far gradients flow back.

    AWD-LSTM draws the length of each batch from a normal distribution around bptt or, one time in twenty,
    around bptt / 2. So a word is not always the first of its window.
    """
    if not BY_NAME[hparams.recipe].varied_windows:
        return hparams.bptt
    mean = hparams.bptt if torch.rand((), generator=generator) < 0.95 else hparams.bptt / 2
    drawn = torch.normal(torch.tensor(mean, dtype=torch.float64), 5.0, generator=generator)
    return max(5, round(float(drawn)))
