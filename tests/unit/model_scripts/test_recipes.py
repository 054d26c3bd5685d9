from itertools import pairwise

import numpy as np
import pytest
import torch

import hyperparameters
import recipes
from hyperparameters import Hyperparameters


def test_every_recipe_that_can_be_asked_for_is_known_here() -> None:
    assert set(recipes.BY_NAME) == set(hyperparameters.RECIPES)


def test_classic_has_one_softmax_over_the_whole_vocabulary() -> None:
    shape = recipes.shape(Hyperparameters(recipe="classic"), 33_278)
    assert (shape.cutoffs, shape.widths, shape.head) == ((), (), 33_278)


def test_fast_cuts_the_vocabulary_and_narrows_what_is_rare() -> None:
    for words, cutoffs in ((33_278, recipes.CUTOFFS[:4]), (2_000_000, recipes.CUTOFFS[:13])):
        shape = recipes.shape(Hyperparameters(recipe="fast"), words)
        assert shape.cutoffs == cutoffs
        assert len(shape.widths) == len(shape.cutoffs)
        assert list(shape.widths) == sorted(shape.widths, reverse=True)
        assert shape.tails[-1][1] == words


def test_large_vocabularies_are_cut_in_proportion() -> None:
    large = [cutoff for cutoff in recipes.CUTOFFS if cutoff >= 1_000_000]
    assert large[-1] > 8_000_000
    assert all(1.25 < after / before < 1.35 for before, after in pairwise(large))


@pytest.mark.parametrize("vocabulary_size", [3, 400, 401, 2_000, 2_001, 14_001])
def test_every_tail_has_words_however_small_the_vocabulary(vocabulary_size: int) -> None:
    shape = recipes.shape(Hyperparameters(emsize=3), vocabulary_size)
    assert all(start < end and width >= 1 for start, end, width in shape.tails)


def test_ordinary_recipes_drop_activations_alone() -> None:
    for recipe in ("classic", "fast"):
        drop = recipes.dropout(Hyperparameters(recipe=recipe, dropout=0.3))
        assert (drop.inputs, drop.between, drop.outputs) == (0.3, 0.3, 0.3)
        assert (drop.words, drop.weights, drop.locked) == (0, 0, False)


def test_awd_has_the_published_regularisation_at_its_own_dropout() -> None:
    drop = recipes.dropout(Hyperparameters(recipe="awd"))
    assert drop.locked
    assert (drop.words, drop.inputs, drop.between, drop.outputs, drop.weights) == pytest.approx(
        (0.1, 0.65, 0.2, 0.4, 0.5)
    )
    assert max(vars(recipes.dropout(Hyperparameters(recipe="awd", dropout=0.99))).values()) < 1.01


def test_windows_are_bptt_long_but_for_awd() -> None:
    chance = torch.Generator().manual_seed(1)
    settings = Hyperparameters(recipe="fast", bptt=35)
    assert {recipes.window(settings, chance) for _ in range(20)} == {35}
    settings = Hyperparameters(recipe="awd", bptt=70)
    lengths = [recipes.window(settings, chance) for _ in range(500)]
    assert min(lengths) >= 5
    assert 60 < sum(lengths) / 500 < 75
    assert any(length < 50 for length in lengths)


def test_fast_begins_with_word_frequencies_and_the_others_as_published() -> None:
    counts = np.array([50, 30, 15, 5])
    for recipe, expected in (("fast", [0.5, 0.3, 0.15, 0.05]), ("classic", [0.25] * 4), ("awd", [0.25] * 4)):
        model = recipes.model(Hyperparameters(recipe=recipe), counts)
        with torch.no_grad():
            found = model.decoder.log_probabilities(torch.zeros(1, 200)).exp()[0].tolist()
        assert found == pytest.approx(expected, rel=1e-5)
