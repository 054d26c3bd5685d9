"""A new model's word vectors tell which words have the same neighbours."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

import initial_vectors
from initial_vectors import CLOSENESS, SMOOTHING, add, count, decompose, mutual_information, set_vectors
from language_model import LanguageModel, Shape
from vocabulary import TokenIds

SIZE = 40


def text_of_two_kinds(length: int = 4_000) -> TokenIds:
    """Return one column in which words below 20 follow words from 20 on, and the other way round."""
    chance = np.random.default_rng(1)
    low, high = chance.integers(0, 20, length), chance.integers(20, SIZE, length)
    return np.where(np.arange(length) % 2, high, low).astype(np.int32)[:, None]


def pairs_one_by_one(columns: TokenIds) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for column in columns.T.tolist():
        for distance, closeness in CLOSENESS.items():
            for pair in zip(column, column[distance:], strict=False):
                found[pair] += closeness
    return found


def test_pairs_are_counted_within_columns() -> None:
    columns = np.random.default_rng(2).integers(0, 7, (30, 4)).astype(np.int32)
    found = count(columns, 7)
    assert dict(zip(found.numbers.tolist(), found.counts.tolist(), strict=True)) == {
        first * 7 + second: number for (first, second), number in pairs_one_by_one(columns).items()
    }


def test_the_ranks_columns_add_up_to_those_of_one_rank() -> None:
    columns = np.random.default_rng(3).integers(0, 50, (200, 5)).astype(np.int32)
    whole, parts = count(columns, 50), add([count(columns[:, :2], 50), count(columns[:, 2:], 50)])
    assert np.array_equal(whole.numbers, parts.numbers)
    assert np.array_equal(whole.counts, parts.counts)


def test_columns_of_two_rows_are_enough() -> None:
    found = count(np.array([[3, 1], [4, 1]], np.int32), 5)
    assert found.numbers.tolist() == [1 * 5 + 1, 3 * 5 + 4]


def test_mutual_information_is_that_of_its_definition() -> None:
    columns = np.random.default_rng(4).integers(0, 6, (60, 2)).astype(np.int32)
    ordered = pairs_one_by_one(columns)
    both = {(v, w): ordered[v, w] + ordered[w, v] for v in range(6) for w in range(6)}
    own = [sum(both[v, w] for w in range(6)) for v in range(6)]
    smoothed = [number**SMOOTHING for number in own]
    expected = [
        [
            max(0.0, math.log(both[v, w] / (own[v] * smoothed[w] / sum(smoothed)))) if both[v, w] else 0.0
            for w in range(6)
        ]
        for v in range(6)
    ]
    assert mutual_information(count(columns, 6), 6).to_dense().numpy() == pytest.approx(
        np.array(expected), abs=1e-5
    )


def test_words_with_the_same_neighbours_have_similar_vectors() -> None:
    torch.manual_seed(1)
    vectors = decompose(mutual_information(count(text_of_two_kinds(), SIZE), SIZE), 8)
    alike = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
    within = (alike[:20, :20].mean() + alike[20:, 20:].mean()) / 2
    assert within > alike[:20, 20:].mean() + 0.3


def test_rare_words_beyond_the_limit_begin_with_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial_vectors, "MOST_WORDS", 30)
    model = LanguageModel(Shape(SIZE, 8, 8, 1, True, (10, 20, 35), (4, 4, 2)))
    set_vectors(model, text_of_two_kinds(), 1)
    vectors = model.encoder(torch.arange(SIZE))
    assert vectors[:30].abs().sum(1).min() > 0
    assert vectors[30:].abs().max() == 0


def test_a_tail_holds_the_best_approximation_of_its_words_vectors() -> None:
    torch.manual_seed(2)
    model = LanguageModel(Shape(SIZE, 8, 8, 1, True, (10, 20), (4, 2)))
    of_four_dimensions = torch.randn(10, 4) @ torch.randn(4, 8)
    found = torch.cat([torch.randn(10, 8), of_four_dimensions, torch.randn(20, 8)])
    initial_vectors._set(model.encoder, found)
    vectors = model.encoder(torch.arange(SIZE))
    torch.testing.assert_close(vectors[:20], found[:20], rtol=1e-4, atol=1e-4)
    left, values, right = torch.linalg.svd(found[20:], full_matrices=False)
    best = (left[:, :2] * values[:2]) @ right[:2]
    torch.testing.assert_close(vectors[20:], best, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_reads_and_predicts_with_the_vectors(tied: bool) -> None:
    model = LanguageModel(Shape(SIZE, 8, 8 if tied else 6, 1, tied, (10,), (4,)))
    set_vectors(model, text_of_two_kinds(), 1)
    for vectors, width in ((model.encoder, 8), (model.decoder.vectors, 8 if tied else 6)):
        head = vectors.head.detach()
        assert head.shape == (10, width)
        alike = torch.nn.functional.cosine_similarity(head[:, None], head[None], dim=-1)
        assert alike.mean() > 0.3, "words with the same neighbours"


def test_a_small_vocabulary_keeps_its_random_vectors() -> None:
    model = LanguageModel(Shape(SIZE, SIZE, SIZE, 1, True))
    before = model.encoder.head.detach().clone()
    set_vectors(model, text_of_two_kinds(), 1)
    assert torch.equal(model.encoder.head, before)


def test_a_text_in_which_no_word_has_neighbours_of_its_own_keeps_random_vectors() -> None:
    model = LanguageModel(Shape(SIZE, 4, 4, 1, True))
    before = model.encoder.head.detach().clone()
    set_vectors(model, np.ones((50, 1), np.int32), 1)
    assert torch.equal(model.encoder.head, before)
