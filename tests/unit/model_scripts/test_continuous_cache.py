"""The cache gives words of the text the probabilities that its definition gives, however the text is read."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from continuous_cache import CachedText, Numbers, mixed
from vocabulary import TokenIds

TOKENS, WIDTH, WORDS = 90, 12, 9


@pytest.fixture
def activations() -> Numbers:
    return np.random.default_rng(1).uniform(-1, 1, (TOKENS, WIDTH))


@pytest.fixture
def words() -> TokenIds:
    return np.random.default_rng(2).integers(0, WORDS, TOKENS).astype(np.int32)


def in_blocks(
    activations: Numbers, words: TokenIds, sizes: Sequence[int], size: int = 7, theta: float = 0.6
) -> Numbers:
    """Return C of each word of a text that is read in blocks of these sizes, and the rest at once."""
    text, found, begin = CachedText(size, [theta]), [], 0
    for end in [*np.cumsum(sizes).tolist(), len(words)]:
        found.append(text.probabilities(activations[begin:end], words[begin:end])[0])
        begin = end
    return np.concatenate(found)


def one_by_one(activations: Numbers, words: TokenIds, size: int, theta: float) -> list[float]:
    """Return C of each word, straight from its definition."""
    found = []
    for place, word in enumerate(words):
        weight_of: dict[int, float] = {}
        for earlier in range(max(0, place - size), place):
            dot = sum(
                float(a) * float(b) for a, b in zip(activations[place], activations[earlier], strict=True)
            )
            held = int(words[earlier])
            weight_of[held] = weight_of.get(held, 0.0) + math.exp(theta * dot)
        total = sum(weight_of.values())
        found.append(weight_of.get(int(word), 0.0) / total if total else math.nan)
    return found


@pytest.mark.parametrize("size", [1, 7, 89, 500])
@pytest.mark.parametrize("theta", [0.05, 0.6, 3.0])
def test_the_cache_is_its_definition(activations: Numbers, words: TokenIds, size: int, theta: float) -> None:
    expected = one_by_one(activations, words, size, theta)
    found = in_blocks(activations, words, [20, 20], size, theta)
    assert math.isnan(found[0])
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9, nan_ok=True)


def test_the_blocks_that_are_read_at_once_and_the_threads_change_no_bit(
    activations: Numbers, words: TokenIds
) -> None:
    whole = in_blocks(activations, words, [])
    for sizes in ([1] * 89, [3, 50, 2], [64]):
        for threads in (1, 2):
            with threadpool_limits(threads):
                assert np.array_equal(in_blocks(activations, words, sizes), whole, equal_nan=True)


def test_several_thetas_are_those_of_one_each(activations: Numbers, words: TokenIds) -> None:
    thetas = [0.1, 0.5, 2.0]
    together = CachedText(30, thetas).probabilities(activations, words)
    for theta, found in zip(thetas, together, strict=True):
        assert np.array_equal(found, in_blocks(activations, words, [], 30, theta), equal_nan=True)


def test_large_activations_and_thetas_are_no_trouble(words: TokenIds) -> None:
    """The largest weight is kept, whatever the smallest ones are."""
    wide = np.sign(np.random.default_rng(3).normal(size=(TOKENS, 1500)))
    found = in_blocks(wide, words, [40], 60, 50.0)
    assert np.isfinite(found[1:]).all()
    assert ((found[1:] >= 0) & (found[1:] <= 1)).all()


def test_the_probabilities_of_all_words_have_the_sum_1(activations: Numbers, words: TokenIds) -> None:
    """Each word of the vocabulary stands in turn at the end of the same text."""
    total = 0.0
    for word in range(WORDS):
        words[-1] = word
        total += float(in_blocks(activations, words, [])[-1])
    assert total == pytest.approx(1.0)


def test_the_mixture_has_the_share_and_is_the_models_where_the_cache_is_empty() -> None:
    logs, cached = np.log([0.5, 0.2, 0.3]), np.array([np.nan, 0.0, 0.6])
    assert np.exp(mixed(logs, cached, 0.1)) == pytest.approx([0.5, 0.18, 0.33])
