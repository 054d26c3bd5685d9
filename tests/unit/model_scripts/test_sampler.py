"""Words are drawn with the model's probabilities, and a text does not depend on other texts."""

import copy
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import sampler as engine
from continuous_cache import History, Settings
from language_model import LanguageModel, Shape
from sampler import Choice, Memory, Sampler
from tests.unit.model_scripts.conftest import Patch
from vocabulary import UNKNOWN_ID

CUT = Shape(70, 12, 16, 2, tied=True, cutoffs=(10, 30), widths=(6, 3))
SHAPES = {
    "tied": CUT,
    "untied": Shape(70, 12, 16, 1, tied=False, cutoffs=(10, 30), widths=(6, 3)),
    "no tails": Shape(70, 12, 16, 2, tied=True),
}


def a_model(shape: Shape, liveliness: float = 6.0, seed: int = 0) -> LanguageModel:
    """Random weights, large enough that words differ in probability and texts in memory."""
    torch.manual_seed(seed)
    model = LanguageModel(shape).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(liveliness)
        model.decoder.bias.normal_()
        for bias in model.decoder.tail_bias:
            bias.normal_(std=2.0)
    return model


def after(sampler: Sampler, words: Sequence[int]) -> Memory:
    """The memory (1, memory_width) after some words."""
    memory = sampler.start()[None]
    for word in words:
        memory = sampler.read([word], memory)
    return memory


def exact_logs(model: LanguageModel, words: Sequence[int]) -> torch.Tensor:
    """The model's own log probabilities (vocabulary), in float64."""
    precise = copy.deepcopy(model).double()
    with torch.no_grad():
        activations, _ = precise.read(torch.tensor(words)[:, None], precise.start(1))
        return precise.decoder.log_probabilities(activations[-1])[0]


def exact(model: LanguageModel, words: Sequence[int]) -> torch.Tensor:
    """The model's own probabilities (vocabulary), in float64, given that the next word is not <unk>."""
    logs = exact_logs(model, words)
    logs[UNKNOWN_ID] = -torch.inf
    return logs.softmax(0)


def drawn_counts(
    sampler: Sampler, memory: Memory, draws: int, vocabulary_size: int, **choice: Any
) -> torch.Tensor:
    chance = np.random.Generator(np.random.Philox(1)).random
    how = Choice(**{"temperature": 1.0, "top_k": None, "top_p": None, "random": chance, **choice})
    texts = 1000
    many = memory.repeat(texts, 0)
    words = [word for _ in range(draws // texts) for word in sampler.draw(many, [how] * texts)]
    return torch.tensor(words).bincount(minlength=vocabulary_size)


def assert_drawn_from(counts: torch.Tensor, probabilities: torch.Tensor) -> None:
    """Check that each count, and all together (chi squared), are within 5 standard deviations.

    The counts of words that are expected less than once have no normal distribution, and get 3 more.
    """
    expected = probabilities * counts.sum()
    deviation = (expected * (1 - probabilities)).sqrt()
    assert ((counts - expected).abs() <= 5 * deviation + 3).all()
    often = expected >= 5
    surprise = float(((counts - expected) ** 2 / expected)[often].sum())
    words = int(often.sum())
    assert surprise < words + 5 * (2 * words) ** 0.5


@pytest.mark.parametrize("name", SHAPES)
def test_the_distribution_over_all_words_is_the_models(name: str) -> None:
    model = a_model(SHAPES[name])
    sampler = Sampler(model)
    for words in ([1], [1, 5, 20, 69, 3, 30, 29], [1, *range(2, 70)]):
        ours = torch.tensor(sampler.log_weights(after(sampler, words))[0]).softmax(0)
        expected = exact(model, words)
        assert torch.allclose(ours, expected, rtol=2e-5, atol=0)
        assert ours[UNKNOWN_ID] == 0


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 100.0])
def test_words_are_drawn_as_often_as_they_are_probable(name: str, temperature: float) -> None:
    model = a_model(SHAPES[name])
    sampler, words = Sampler(model), [1, 40, 7]
    counts = drawn_counts(sampler, after(sampler, words), 40_000, 70, temperature=temperature)
    assert_drawn_from(counts, (exact(model, words).log() / temperature).softmax(0))


def restricted(logs: torch.Tensor, temperature: float, **how: Any) -> torch.Tensor:
    """The probabilities (vocabulary) of the words that a choice allows, straight from its definition."""
    logs = logs.clone()
    if repeated := how.get("repeated"):
        logs[[*repeated]] *= how["repetition_penalty"]
    logs[UNKNOWN_ID] = -torch.inf
    expected = (logs / temperature).softmax(0)
    left = expected.argsort(descending=True, stable=True)[: how.get("top_k")]
    if top_p := how.get("top_p"):
        before = expected[left].cumsum(0) - expected[left]
        left = left[before < top_p * expected[left].sum()]
    left = left[expected[left] >= how.get("min_p", 0) * expected.max()]
    narrowed = torch.zeros(len(logs), dtype=torch.float64)
    narrowed[left] = expected[left] / expected[left].sum()
    return narrowed


@pytest.mark.parametrize("name", ["tied", "no tails"])
@pytest.mark.parametrize(
    ("temperature", "how"),
    [
        (1.0, {"top_k": 1}),
        (1.0, {"top_k": 5}),
        (1.0, {"top_p": 0.6}),
        (2.0, {"top_k": 30, "top_p": 0.8}),
        (0.5, {"top_k": 69, "top_p": 0.95}),
        (1.0, {"top_k": 1_000_000, "top_p": 1.0}),
        (1.0, {"min_p": 0.1}),
        (2.5, {"min_p": 0.5}),
        (1.0, {"min_p": 1.0}),
        (1.0, {"min_p": 0.0}),
        (1.3, {"top_k": 40, "top_p": 0.9, "min_p": 0.05}),
        (1.0, {"repetition_penalty": 1.5, "repeated": {2, 3, 12, 40, 41}}),
        (0.8, {"repetition_penalty": 0.5, "repeated": {5, 35, 60}, "top_k": 20}),
        (1.0, {"repetition_penalty": 3.0, "repeated": {1, 2, 3}, "top_p": 0.7, "min_p": 0.01}),
    ],
)
def test_only_allowed_words_are_drawn_as_often_as_they_are_probable(
    name: str, temperature: float, how: dict[str, Any]
) -> None:
    model = a_model(SHAPES[name])
    sampler, words = Sampler(model), [1, 40, 7]
    expected = restricted(exact_logs(model, words), temperature, **how)
    memory = after(sampler, words)
    counts = drawn_counts(sampler, memory, 5_000, 70, temperature=temperature, **how)
    assert_drawn_from(counts, expected)
    assert not counts[expected == 0].any()


HISTORY = [40, 7, 40, UNKNOWN_ID, 13, 1, 7, 40, 66]
CACHE = Settings(theta=0.4, share=0.35, size=7)


def remembered(sampler: Sampler, settings: Settings = CACHE) -> tuple[Memory, History]:
    """The memory after the words of HISTORY, and a cache of them."""
    history, memory = History(settings), after(sampler, [1])
    for word in HISTORY:
        history.add(sampler.activations(memory)[0], word)
        memory = sampler.read([word], memory)
    return memory, history


def with_cache(model: LanguageModel, settings: Settings = CACHE) -> torch.Tensor:
    """The log probabilities (vocabulary) of the mixture up to a constant, straight from its definition."""
    precise = copy.deepcopy(model).double()
    with torch.no_grad():
        read, _ = precise.read(torch.tensor([1, *HISTORY])[:, None], precise.start(1))
    cached = torch.zeros(model.shape.vocabulary_size, dtype=torch.float64)
    for place, word in enumerate(HISTORY):
        if place >= len(HISTORY) - settings.size and word != UNKNOWN_ID:
            cached[word] += (settings.theta * (read[-1, 0] @ read[place, 0])).exp()
    probabilities = exact_logs(model, [1, *HISTORY]).exp()
    known = 1 - probabilities[UNKNOWN_ID]
    return ((1 - settings.share) * probabilities + settings.share * known * cached / cached.sum()).log()


@pytest.mark.parametrize("name", ["tied", "no tails"])
@pytest.mark.parametrize(
    ("temperature", "how"),
    [
        (1.0, {}),
        (0.6, {}),
        (3.0, {}),
        (1.0, {"top_k": 3}),
        (1.0, {"top_p": 0.7}),
        (1.4, {"top_k": 40, "top_p": 0.9, "min_p": 0.05}),
        (1.0, {"repetition_penalty": 1.5, "repeated": {7, 12, 40}}),
    ],
)
def test_with_a_cache_words_are_drawn_from_the_mixture(
    name: str, temperature: float, how: dict[str, Any]
) -> None:
    model = a_model(SHAPES[name])
    sampler = Sampler(model)
    memory, history = remembered(sampler)
    expected = restricted(with_cache(model), temperature, **how)
    counts = drawn_counts(sampler, memory, 5_000, 70, temperature=temperature, cache=history, **how)
    assert_drawn_from(counts, expected)
    assert not counts[expected == 0].any()


def test_a_cache_without_known_words_changes_no_probability() -> None:
    model = a_model(CUT)
    sampler = Sampler(model)
    memory, empty = after(sampler, [1, 40, 7]), History(CACHE)
    counts = drawn_counts(sampler, memory, 5_000, 70, cache=empty)
    assert_drawn_from(counts, exact(model, [1, 40, 7]))
    empty.add(sampler.activations(memory)[0], UNKNOWN_ID)
    counts = drawn_counts(sampler, memory, 5_000, 70, cache=empty, temperature=2.0)
    assert_drawn_from(counts, (exact(model, [1, 40, 7]).log() / 2).softmax(0))


def test_texts_that_begin_alike_have_a_cache_each() -> None:
    sampler = Sampler(a_model(CUT))
    memory, history = remembered(sampler)
    activations = sampler.activations(memory)[0]
    before, twin = history.entries(activations)[0].tolist(), history.copy()
    twin.add(activations, 5)
    assert history.entries(activations)[0].tolist() == before == [40, 13, 1, 7, 40, 66]
    assert twin.entries(activations)[0].tolist() == [13, 1, 7, 40, 66, 5]


@pytest.mark.parametrize("name", SHAPES)
def test_log_probabilities_are_the_models_own_with_the_unknown_word(name: str) -> None:
    model = a_model(SHAPES[name])
    sampler, words = Sampler(model), [1, 5, 69]
    expected = exact_logs(model, words)
    many = after(sampler, words).repeat(70, 0)
    ours = sampler.log_probabilities(many, range(70))
    assert torch.allclose(torch.tensor(ours, dtype=torch.float64), expected, rtol=0, atol=2e-5)
    # In any company, the bits are the same.
    for word in (0, 5, 20, 69):
        assert sampler.log_probabilities(many[:1], [word]) == [ours[word]]
    best = sampler.most_probable(many[:2], 9)
    assert best[0] == best[1] == [(word, ours[word]) for word, _ in best[0]]
    assert [word for word, _ in best[0]] == expected.argsort(descending=True, stable=True)[:9].tolist()
    assert len(sampler.most_probable(many[:1], 1000)[0]) == 70


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
@pytest.mark.parametrize(
    ("narrowed", "the_same"),
    [
        ({}, [{"top_k": 69}, {"top_k": 70}, {"top_k": 10**6}, {"top_p": 1.0}, {"top_k": 69, "top_p": 1.0}]),
        ({"top_k": 5}, [{"top_k": 5, "top_p": 1.0}]),
        ({"top_p": 0.6}, [{"top_k": 69, "top_p": 0.6}, {"top_k": 70, "top_p": 0.6}]),
        ({"cache": True}, [{"cache": True, "top_k": 69, "top_p": 1.0}, {"cache": True, "top_k": 70}]),
        ({"penalty": 1.5}, [{"penalty": 1.5, "top_k": 69}, {"penalty": 1.5, "top_p": 1.0}]),
    ],
)
def test_a_top_k_of_all_words_and_a_top_p_of_1_change_no_word(
    narrowed: dict[str, Any], the_same: list[dict[str, Any]], temperature: float
) -> None:
    sampler = Sampler(a_model(CUT, liveliness=3.0))

    def text(**top: Any) -> list[int]:
        chance = np.random.Generator(np.random.Philox(3)).random
        cache = remembered(sampler)[1] if top.get("cache") else None
        penalty: dict[str, Any] = {"repetition_penalty": top.get("penalty", 1.0), "repeated": {2, 5, 40}}
        choice = Choice(temperature, top.get("top_k"), top.get("top_p"), chance, cache=cache, **penalty)
        memory, words = sampler.start()[None], [1]
        for _ in range(40):
            memory = sampler.read(words[-1:], memory)
            words += sampler.draw(memory, [choice])
        return words

    expected = text(**narrowed)
    for top in the_same:
        assert text(**top) == expected, top


@pytest.mark.parametrize(("top", "left"), [({"top_k": 3}, [1, 2, 3]), ({"top_p": 4 / 69}, [1, 2, 3, 4])])
def test_lower_numbers_come_first_at_equal_probability(top: dict[str, Any], left: list[int]) -> None:
    shape = Shape(70, 12, 16, 1, tied=True)
    model = a_model(shape, liveliness=0.0)
    with torch.no_grad():
        model.decoder.bias.zero_()
    sampler = Sampler(model)
    counts = drawn_counts(sampler, after(sampler, [1]), 1000, 70, **top)
    assert counts.nonzero().flatten().tolist() == left


@pytest.mark.parametrize(
    ("top", "left"), [({"top_k": 2}, [1, 2]), ({"top_p": 0.45}, [1, 2]), ({"top_k": 3, "top_p": 0.6}, [1, 2])]
)
def test_a_lower_number_comes_first_though_it_is_a_tail_of_its_own(
    top: dict[str, Any], left: list[int]
) -> None:
    model = a_model(Shape(20, 12, 16, 1, tied=True, cutoffs=(2, 3, 4), widths=(6, 3, 3)), liveliness=0.0)
    with torch.no_grad():
        model.decoder.bias.zero_()
    sampler = Sampler(model)
    # Words 1, 2 and 3 are equally probable. So are all of the others together.
    counts = drawn_counts(sampler, after(sampler, [1]), 1000, 20, **top)
    assert counts.nonzero().flatten().tolist() == left


@pytest.mark.parametrize("seed", range(6))
def test_the_lowest_temperature_takes_the_best_word_though_its_tail_may_not_be_the_best(seed: int) -> None:
    model = a_model(CUT, seed=seed)
    with torch.no_grad():
        # A tail that is more probable than any word of the head, by words of which each is less so.
        model.decoder.bias[CUT.head + seed % 2] += 4
    sampler = Sampler(model)
    best = int(exact(model, [1, 2]).argmax())
    counts = drawn_counts(sampler, after(sampler, [1, 2]), 1000, 70, temperature=0.001)
    assert counts[best] == 1000


def test_scores_of_any_size_are_drawn_from_at_any_temperature() -> None:
    model = a_model(CUT)
    with torch.no_grad():
        model.decoder.bias.mul_(1e4)
    sampler = Sampler(model)
    memory = after(sampler, [1, 2])
    for temperature in (0.001, 0.01, 1.0, 100.0):
        assert drawn_counts(sampler, memory, 1000, 70, temperature=temperature)[UNKNOWN_ID] == 0


@pytest.mark.parametrize(("top_k", "word"), [(66, 1), (60, 10)])
@pytest.mark.filterwarnings("error")
def test_a_word_may_be_any_number_of_times_less_probable_than_a_tail(top_k: int, word: int) -> None:
    model = a_model(CUT, liveliness=0.0)
    with torch.no_grad():
        model.decoder.bias.zero_()
        for bias in model.decoder.tail_bias:
            bias.zero_()
        # e^720 is more than a float holds. At temperature 100, the head's words are drawn all the same.
        model.decoder.bias[CUT.head :] = 720
    sampler = Sampler(model)
    # The first word that has any weight: a word of the head, if it is among the best 66.
    choice = Choice(100.0, top_k, None, lambda: 0.0)
    assert sampler.draw(after(sampler, [1]), [choice]) == [word]


def test_the_best_word_is_allowed_though_the_bound_of_a_tail_leaves_it_no_weight() -> None:
    model = a_model(Shape(20, 12, 16, 1, tied=True, cutoffs=(2, 3), widths=(6, 3)), liveliness=0.0)
    with torch.no_grad():
        # Word 2, alone in its tail, is the best word. The other tail is more probable, but has 17 words.
        model.decoder.bias.copy_(torch.tensor([0.0, -3.0, 0.0, 1.0]))
        model.decoder.tail_bias[1].zero_()
    sampler = Sampler(model)
    # At 0.01, that tail's bound is e^283 times too high. The number 0 accepts the tail all the same.
    choice = Choice(0.01, 1, 1e-6, lambda: 0.0)
    assert sampler.draw(after(sampler, [1]), [choice]) == [2]


def test_all_weights_are_whole_numbers_whose_sum_is_below_2_to_the_53(monkeypatch: Patch) -> None:
    weigh, summed = engine._weights, []

    def checked_weights(scores: Any, powers: Any, best: Any = None) -> Any:
        weights = weigh(scores, powers, best)
        assert weights.dtype == np.int64
        summed.append(weights.sum(1).max())
        return weights

    sampler = Sampler(a_model(CUT))
    monkeypatch.setattr(engine, "_weights", checked_weights)
    how = Choice(0.2, None, None, np.random.Generator(np.random.Philox(1)).random)
    memory, words = after(sampler, [1]).repeat(50, 0), list(range(20, 70))
    for _ in range(20):
        memory = sampler.read(words, memory)
        words = sampler.draw(memory, [how] * 50)
    assert max(summed) <= 2**53


@pytest.mark.parametrize("name", SHAPES)
def test_a_word_is_read_with_the_same_bits_whether_or_not_its_product_is_kept(
    name: str, monkeypatch: Patch
) -> None:
    model = a_model(SHAPES[name])
    all_kept = Sampler(model)
    monkeypatch.setattr(engine, "WORDS_KEPT", 1)
    one_kept = Sampler(model)
    words = random.Random(1).sample(range(70), 70)
    before = all_kept.read([7] * 70, all_kept.start()[None].repeat(70, 0))
    after_them = all_kept.read(words, before)
    assert np.array_equal(one_kept.read(words, before), after_them)
    for row in range(0, 70, 9):
        alone = one_kept.read(words[row : row + 1], before[row : row + 1])
        assert np.array_equal(alone[0], after_them[row])


@pytest.mark.parametrize("function", [np.exp, np.tanh])
def test_numpy_computes_each_number_the_same_wherever_it_stands(function: Any) -> None:
    """torch.sigmoid does not: it computes the last numbers of an array with other code."""
    numbers = np.random.default_rng(0).normal(0, 8, 300).astype(np.float32)
    alone = np.array([function(numbers[i : i + 1])[0] for i in range(300)])
    for start in range(16):
        for end in range(start + 1, 300, 7):
            assert np.array_equal(function(numbers[start:end].copy()), alone[start:end])
            assert np.array_equal(function(numbers[start:end]), alone[start:end])


REAL = Shape(3000, 100, 120, 2, tied=True, cutoffs=(200, 1000), widths=(50, 20))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_text_has_the_same_bits_alone_and_in_any_company(threads: int) -> None:
    with threadpool_limits(threads, user_api="blas"):
        same_bits_alone_and_in_company(threads)


def same_bits_alone_and_in_company(seed: int) -> None:
    sampler = Sampler(a_model(REAL, liveliness=3.0))
    temperatures = [0.7, 1.0, 1.6]

    def choice(text: int) -> Choice:
        chance = np.random.Generator(np.random.Philox(text)).random
        narrowed = {2: (50, None), 3: (None, 0.8), 5: (90, 0.9), 6: (1, None)}.get(text % 8, (None, None))
        others: dict[str, Any] = {1: {"min_p": 0.05}, 7: {"repetition_penalty": 1.3, "repeated": {2, 900}}}
        return Choice(temperatures[text % 3], *narrowed, chance, **others.get(text % 8, {}))

    texts, length = 40, 12
    alone: list[list[tuple[int, bytes]]] = []
    for text in range(texts):
        how, memory, word, steps = choice(text), sampler.start()[None], 1, []
        for _ in range(length):
            memory = sampler.read([word], memory)
            (word,) = sampler.draw(memory, [how])
            steps.append((word, memory.tobytes()))
        alone.append(steps)

    shuffle = random.Random(seed)
    at = dict.fromkeys(range(texts), 0)
    choices = {text: choice(text) for text in range(texts)}
    memories = {text: sampler.start() for text in range(texts)}
    while unfinished := [text for text in range(texts) if at[text] < length]:
        batch = shuffle.sample(unfinished, shuffle.randint(1, len(unfinished)))
        words = [alone[text][at[text] - 1][0] if at[text] else 1 for text in batch]
        after_them = sampler.read(words, np.stack([memories[text] for text in batch]))
        drawn = sampler.draw(after_them, [choices[text] for text in batch])
        for text, memory, word in zip(batch, after_them, drawn, strict=True):
            assert (word, memory.tobytes()) == alone[text][at[text]]
            memories[text] = memory
            at[text] += 1
