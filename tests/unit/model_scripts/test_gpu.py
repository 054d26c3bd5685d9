"""Training on a GPU, as far as a machine without one can test it.

torch's device `meta` stands for the GPU: its tensors have a shape and no values, so it refuses every
operation for which the host would wait for a GPU.
"""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

import recipes
from epoch_loop import DeferredSigterm, Training
from hyperparameters import Hyperparameters
from language_model import LanguageModel
from metrics import Metrics
from tests.unit.model_scripts.conftest import Patch

META = torch.device("meta")

VOCABULARY = 7_000
"""So many words that recipe fast cuts the vocabulary into a head and three tails."""


def a_model(hparams: Hyperparameters) -> LanguageModel:
    torch.manual_seed(1)
    return recipes.model(hparams, np.arange(VOCABULARY, 0, -1))


def a_training(model: LanguageModel, hparams: Hyperparameters) -> Training:
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, 2_000, dtype=np.int32)
    no_metrics = cast("Metrics", None)
    return Training(model, tokens, tokens, hparams, no_metrics, Path("unused"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wait",
    [Tensor.item, Tensor.nonzero, Tensor.cpu, Tensor.tolist, bool, float, lambda one: one[one > 0]],
)
def test_the_stand_in_for_a_gpu_refuses_what_would_wait(wait: Callable[[Tensor], object]) -> None:
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        wait(torch.ones(1, device=META))


@pytest.mark.parametrize("recipe", ["classic", "fast", "awd"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_step_never_waits_for_the_gpu(recipe: str, tied: bool, monkeypatch: Patch) -> None:
    pinned: list[Tensor] = []

    def pin_memory(one: Tensor) -> Tensor:
        pinned.append(one)
        return one

    # Pinning needs a GPU.
    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    hparams = Hyperparameters(recipe=recipe, tied=tied, emsize=16, nhid=16, batch_size=5)
    training = a_training(a_model(hparams).to(META), hparams)
    for steps in range(1, 4):
        loss, _, _ = training._step(DeferredSigterm())
        assert loss.device == META
        # A batch goes to the GPU in one copy, from memory that cannot be swapped out.
        assert len(pinned) == steps
        training.optimisation.averages = [one.detach().clone() for one in training.optimisation.parameters]


@pytest.mark.parametrize("recipe", ["fast", "classic"])
def test_a_batch_knows_the_places_of_each_tails_words(recipe: str) -> None:
    hparams = Hyperparameters(recipe=recipe, batch_size=5)
    training = a_training(a_model(hparams), hparams)
    batch = training.batch(0, 30)
    for words, found in ((batch.words, batch.word_places), (batch.targets, batch.target_places)):
        tails = training.model.shape.tails
        assert len(found) == len(tails) == (3 if recipe == "fast" else 0)
        for (start, end, _), places in zip(tails, found, strict=True):
            in_tail = [n for n, word in enumerate(words.flatten().tolist()) if start <= word < end]
            assert places.tolist() == in_tail
            assert in_tail
