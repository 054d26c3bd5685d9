"""Draw words for many texts at once. Each text is the same as if it were drawn alone.

A sum of floating-point numbers depends on the order of the additions. In a matrix product, that order depends
on the number of texts, so a text would depend on the other texts in its batch. Here each text is multiplied
with a matrix by itself, in float32: numpy multiplies one row at a time, always with the same shapes. The
words of a tail are weighed for one text at a time, too. The weights of the head's words, which are added up
for all texts together, are whole numbers with sums below 2^53, so every order gives the same sum. All other
operations are element-wise and run in numpy. (torch's element-wise functions compute the last elements of an
array with other code than the rest.)

The words of a tail are scored only if the draw falls on that tail, at any temperature (_Drawing).

    adaptive softmax    Grave et al., arXiv 1609.04309
    top_k               Fan et al., arXiv 1805.04833
    top_p               Holtzman et al., arXiv 1904.09751
    min_p               Nguyen et al., arXiv 2407.01082
    continuous cache    Grave et al., arXiv 1612.04426 (continuous_cache.py)
    repetition_penalty  Keskar et al., arXiv 1909.05858; here the power of a probability, because an adaptive
                        softmax has no common scale of scores
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from continuous_cache import History
from language_model import LanguageModel, WordVectors
from vocabulary import UNKNOWN_ID

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Memory = Floats
Weights = npt.NDArray[np.int64]

SUM_BITS = 52
"""The bits of a sum of weights: one fewer than float64 has."""

WORDS_KEPT = 2048
"""The number of frequent words, which make up most of a text, whose products with layer 1 are cached."""

MOST_REDRAWS = 2
"""How often a word is drawn from all words again before it is drawn from those ahead of a rejected one."""

FAR_ABOVE = 50.0
"""A tail e^50 times as probable as a word may have any number of words ahead of it. e^710 would overflow."""


@dataclass(frozen=True)
class Choice:
    """How to draw the next word of a text.

    Attributes:
        temperature: Above 0. At temperature t, probabilities are proportional to p^(1/t).
        top_k: Draw only from this many of the most probable words.
        top_p: Draw only from the fewest words that have this share of the probability, at the temperature
            and after top_k. Of equally probable words, the more frequent one (lower number) comes first.
        random: Returns a number from 0 to below 1. Each text has its own generator.
        min_p: Draw only words whose probability at the temperature is at least this share of the most
            probable word's.
        repetition_penalty: The words in `repeated` have the probability p^repetition_penalty in place of p.
            This comes before everything else.
        repeated: The words that the text has already. The text may add words to this set.
        cache: The words of a continuous cache. Its mixture with the model's distribution takes the place of
            that distribution, before everything else. The text may add words.
    """

    temperature: float
    top_k: int | None
    top_p: float | None
    random: Callable[[], float]
    min_p: float | None = None
    repetition_penalty: float = 1.0
    repeated: set[int] = field(default_factory=set)
    cache: History | None = None

    @property
    def penalises(self) -> bool:
        """Return whether the penalty changes a word's probability."""
        return self.repetition_penalty != 1 and bool(self.repeated)


class Sampler:
    """A model prepared for drawing.

    The caller keeps the texts' states, `memory` (texts, memory_width): for each layer its hidden activations
    and its cell activations.
    """

    @torch.no_grad()
    def __init__(self, model: LanguageModel) -> None:
        first, *others = model.layers
        self._words = _Words(model.encoder, _Gates(first).of_inputs)
        self._layers = [_Layer(_Gates(first))]
        for lstm in others:
            self._layers.append(_Layer(_Gates(lstm), below=self._layers[-1]))
        self.memory_width = self._layers[-1].cell.stop

        decoder, rows = model.decoder, model.decoder.vectors
        head: list[Tensor] = [rows.head] if decoder.clusters is None else [rows.head, decoder.clusters]
        self._softmax = _Softmax(
            _Outcomes(torch.cat(head), decoder.bias),
            [
                _Tail(widen, words, tail_bias, start)
                for widen, words, tail_bias, (start, _, _) in zip(
                    rows.widen, rows.tails, decoder.tail_bias, model.shape.tails, strict=True
                )
            ],
            model.shape.head,
            model.shape.vocabulary_size,
        )

    def start(self) -> Memory:
        """Return the state (memory_width) before any word."""
        return np.zeros(self.memory_width, np.float32)

    def read(self, words: Sequence[int], memory: Memory) -> Memory:
        """Return the states after one more word of each text."""
        after = np.empty_like(memory)
        first, *others = self._layers
        first(memory, after, self._words(np.array(words)))
        for layer in others:
            layer(memory, after)
        return after

    def activations(self, memory: Memory) -> Memory:
        """Return the activations (texts, width) that predict the next words, from -1 to 1."""
        return memory[:, self._layers[-1].hidden].copy()

    def draw(self, memory: Memory, choices: Sequence[Choice]) -> list[int]:
        """Draw the next word of each text from the model's distribution, given that it is not <unk>."""
        words = [UNKNOWN_ID] * len(choices)
        hidden = self._layers[-1].outputs(memory)
        needs_scores = [self._softmax.needs_all_scores(choice) for choice in choices]
        for row, choice in enumerate(choices):
            if choice.cache is not None and not needs_scores[row]:
                words[row] = _drawn_from_cache(self.activations(memory[row : row + 1])[0], choice)
        of_all = [row for row, word in enumerate(words) if word == UNKNOWN_ID and not needs_scores[row]]
        if of_all:
            drawing = _Drawing(
                self._softmax,
                hidden if len(of_all) == len(choices) else hidden[of_all],
                [choices[row] for row in of_all],
            )
            for row, word in zip(of_all, drawing.words(), strict=True):
                words[row] = word
        for row, choice in enumerate(choices):
            if needs_scores[row]:
                activations = self.activations(memory[row : row + 1])[0]
                words[row] = self._softmax.draw_from_best(hidden[row], activations, choice)
        return words

    def log_probabilities(self, memory: Memory, words: Sequence[int]) -> list[float]:
        """Return the log probability that the model gives to the next word of each text, which may be <unk>.

        It is that of the model itself, at temperature 1 and of all words.
        """
        return self._softmax.log_probabilities_of(self._layers[-1].outputs(memory), np.array(words))

    def most_probable(self, memory: Memory, count: int) -> list[list[tuple[int, float]]]:
        """Return the most probable next words of each text with their log probabilities, the best first.

        They are the figures of `log_probabilities`.
        """
        logs = self._softmax.log_probabilities(self._layers[-1].outputs(memory))
        best = (_by_falling_weight(row, count) for row in logs)
        return [
            [(int(word), float(row[word])) for word in words] for row, words in zip(logs, best, strict=True)
        ]

    def log_weights(self, memory: Memory) -> Numbers:
        """Return log probabilities (texts, vocabulary) of the next words, up to a constant for each text.

        That of <unk> is minus infinity.
        """
        logs = self._softmax.log_probabilities(self._layers[-1].outputs(memory))
        logs[:, UNKNOWN_ID] = -math.inf
        return logs


class _Softmax:
    """The distribution over the vocabulary: a head of frequent words, and tails."""

    def __init__(
        self, head: "_Outcomes", tails: Sequence["_Tail"], head_words: int, vocabulary_size: int
    ) -> None:
        self.head, self.tails, self.head_words = head, tails, head_words
        self.head_numbers = np.arange(head_words)
        self.starts = [tail.start for tail in tails]
        # All words but <unk> can be drawn.
        self.drawable = vocabulary_size - 1
        ends = [*(tail.start for tail in tails[1:]), vocabulary_size]
        self.sizes = np.array([end - tail.start for tail, end in zip(tails, ends, strict=False)], np.float64)

    def log_probabilities(self, hidden: Floats) -> Numbers:
        """Return the log probabilities (n, vocabulary) of all words, <unk> included."""
        head = self.head.log_probabilities(self.head(hidden))
        parts = [head[:, : self.head_words]]
        for column, tail in enumerate(self.tails, start=self.head_words):
            parts.append(head[:, column, None] + tail.log_probabilities(tail(hidden)))
        return np.concatenate(parts, axis=1)

    def log_probabilities_of(self, hidden: Floats, words: npt.NDArray[np.int64]) -> list[float]:
        """Return the log probability of one word for each row of activations.

        Score only the tails of these words.
        """
        head = self.head.log_probabilities(self.head(hidden))
        # -1 for a word of the head.
        of_tail = np.array(self.starts, np.int64).searchsorted(words, side="right") - 1
        outcomes = np.where(of_tail < 0, words, self.head_words + of_tail)
        logs = head[np.arange(len(words)), outcomes]
        for number, tail in enumerate(self.tails):
            here = np.flatnonzero(of_tail == number)
            if len(here):
                within = tail.log_probabilities(tail(hidden[here]))
                logs[here] += within[np.arange(len(here)), words[here] - tail.start]
        return [float(log) for log in logs]

    def is_restricted(self, choice: Choice) -> bool:
        """Return whether a choice excludes words."""
        drawable = self.drawable
        return (choice.top_k or drawable) < drawable or (choice.top_p or 1) < 1 or (choice.min_p or 0) > 0

    def needs_all_scores(self, choice: Choice) -> bool:
        """Return whether a word can be drawn only after all words are scored."""
        is_changed = choice.temperature != 1 or self.is_restricted(choice)
        return choice.penalises or (choice.cache is not None and is_changed)

    def draw_from_best(self, hidden: Floats, activations: Memory, choice: Choice) -> int:
        """Draw a word after all words are scored, given activations (width)."""
        logs = self.log_probabilities(hidden[None])[0]
        if choice.cache is not None:
            logs = choice.cache.mixed(logs, activations)
        if choice.penalises:
            repeated = [*choice.repeated]
            logs[repeated] *= choice.repetition_penalty
        logs[UNKNOWN_ID] = -math.inf
        weights = _weights(logs[None], np.array([1 / choice.temperature]))[0]
        best = _best(logs, weights, choice)
        return int(best[_drawn(weights[best].cumsum(), choice)])


class _Drawing:
    """One word for each of many texts, from all words or from those that top_k, top_p and min_p allow.

    A word is drawn from all words by rejection sampling, which scores a tail only when it is drawn. At
    temperature t, with a = 1/t:

        weight of a word of the head   P(word)^a
        weight of a tail of n words    P(tail)^a * sum over its words of P(word | tail)^a
        bound of that sum              max(1, n^(1-a))

    First draw among the head's words and the tails, with the bounds for the sums. If the draw falls on a
    tail, compute its sum and accept the tail with probability sum / bound. If it is rejected, draw again
    with the sum in place of the bound. The accepted words have exactly the probabilities that scoring
    every tail would give.

    If top_k or min_p exclude words, the words of the head alone give a floor: words below the k-th best, or
    below min_p times the best, are excluded in any case. They get no weight; those of a tail lose it when the
    tail is scored.

    A drawn word that top_k, top_p or min_p exclude is rejected, too. The words ahead of it, which are more
    probable, decide that (_Rank). Then draw again, from all words or from those ahead of the rejected word.
    The words after it are excluded, too, so the accepted words have the right probabilities.

    Attributes:
        softmax: The distribution.
        choices: How to draw the word of each row.
        scores: The scores of the head's words and, with the bounds, of the tails (rows, outcomes).
        of_tails: The scores of the tails (rows, tails).
        bounds: The logarithms of the bounds of the tails' sums, or of sums that are known (rows, tails).
        weights: exp(a * (score - best score)), as whole numbers (rows, outcomes).
        scored: For each row the tails that have been scored.
    """

    def __init__(self, softmax: _Softmax, hidden: Floats, choices: Sequence[Choice]) -> None:
        self.softmax, self.choices, self._hidden = softmax, choices, hidden
        self._powers = np.array([1 / choice.temperature for choice in choices])
        scores = softmax.head(hidden)
        scores[:, UNKNOWN_ID] = -math.inf
        self.scores = scores.astype(np.float64)
        self.of_tails = self.scores[:, softmax.head_words :].copy()
        self.bounds = np.zeros((len(choices), len(softmax.tails)))
        if self._powers.min() < 1:
            self.bounds[:] = np.maximum(0, 1 - self._powers)[:, None] * np.log(softmax.sizes)
            self.scores[:, softmax.head_words :] += self.bounds / self._powers[:, None]
        self.scored: list[dict[int, _Scored]] = [{} for _ in choices]
        self._floors = np.full(len(choices), -math.inf)
        self._set_floors(scores[:, : softmax.head_words])
        self.weights = _weights(self.scores, self._powers)
        self._ends = self.weights.cumsum(1)

    def words(self) -> list[int]:
        """Return the words."""
        words = [UNKNOWN_ID] * len(self.choices)
        self._draw(range(len(words)), words)
        rows = [row for row, choice in enumerate(self.choices) if self.softmax.is_restricted(choice)]
        for _ in range(MOST_REDRAWS):
            rows = [
                row for row in self._doubtful(rows, words) if not _Rank(self, row, words[row]).is_allowed()
            ]
            if not rows:
                return words
            self._draw(rows, words)
        for row in self._doubtful(rows, words):
            rank = _Rank(self, row, words[row])
            while not rank.is_allowed():
                words[row] = rank.draw_ahead()
                rank = _Rank(self, row, words[row])
        return words

    def score(self, row: int, number: int) -> "_Scored":
        """Return a tail's words that are not below the row's floor. Score them, unless that is done."""
        if number in self.scored[row]:
            return self.scored[row][number]
        tail, power, floor = self.softmax.tails[number], float(self._powers[row]), float(self._floors[row])
        below = tail.scores(self._hidden[row])
        below -= below.max()
        weights = np.exp(below)
        log_sum = log_total = math.log(weights.sum())
        log_of_best, words = float(self.of_tails[row, number]) - log_sum, tail.numbers
        if floor > -math.inf:
            (words,) = (below >= floor - log_of_best).nonzero()
            below, weights = below[words], weights[words]
        if power != 1:
            weights = np.exp(below * np.float32(power))
        if floor > -math.inf or power != 1:
            log_total = math.log(weights.sum()) if len(words) else -math.inf
        scored = _Scored(words, below, weights, log_of_best, log_total - power * log_sum)
        self.scored[row][number] = scored
        return scored

    def _set_floors(self, head: Floats) -> None:
        """Exclude the words that are below what the head's words allow, given their scores."""
        head_words = self.softmax.head_words
        floors = np.full(len(head), -math.inf)
        of_top_k: dict[int, list[int]] = {}
        for row, choice in enumerate(self.choices):
            if choice.top_k and choice.top_k < head_words:
                of_top_k.setdefault(choice.top_k, []).append(row)
        for top_k, rows in of_top_k.items():
            here = head if len(rows) == len(head) else head[rows]
            floors[rows] = np.partition(here, -top_k, axis=1)[:, -top_k]
        # top_p is a share of the words before min_p.
        of_min_p = [
            row for row, choice in enumerate(self.choices) if choice.min_p and (choice.top_p or 1) == 1
        ]
        if of_min_p:
            below_best = [math.log(self.choices[row].min_p or 1) for row in of_min_p]
            least = head[of_min_p].max(1) + np.array(below_best) / self._powers[of_min_p]
            floors[of_min_p] = np.maximum(floors[of_min_p], least)
        if of_top_k or of_min_p:
            self._floors = floors
            self.scores[:, :head_words][head < floors[:, None]] = -math.inf
            self.scores[:, head_words:][self.of_tails < floors[:, None]] = -math.inf

    def _draw(self, rows: Sequence[int], words: list[int]) -> None:
        """Draw a word from all words for each of the given rows."""
        head_words = self.softmax.head_words
        undrawn = [*rows]
        while undrawn:
            rejected = []
            outcomes = _drawn_each(self._ends[undrawn], [self.choices[row] for row in undrawn])
            for row, outcome in zip(undrawn, outcomes, strict=True):
                if outcome < head_words:
                    words[row] = outcome
                    continue
                number, chance = outcome - head_words, self.choices[row]
                scored = self.score(row, number)
                excess = scored.log_power_sum - float(self.bounds[row, number])
                if chance.random() < math.exp(excess):
                    place = int(scored.words[_drawn_by_share(scored.weights, chance)])
                    words[row] = self.softmax.tails[number].start + place
                else:
                    self.scores[row, outcome] += excess / self._powers[row]
                    self.bounds[row, number] = scored.log_power_sum
                    rejected.append(row)
            undrawn = rejected
            if undrawn:
                self.weights[undrawn] = _weights(self.scores[undrawn], self._powers[undrawn])
                self._ends[undrawn] = self.weights[undrawn].cumsum(1)

    def _doubtful(self, rows: Sequence[int], words: Sequence[int]) -> list[int]:
        """Return the rows whose word may be excluded, as far as the head tells: most words are allowed.

        This is what a rank finds before any tail is scored, for all rows at once.
        """
        head_words = self.softmax.head_words
        here = np.array([row for row in rows if words[row] < head_words], np.int64)
        if not len(here):
            return [*rows]
        scores, weights = self.scores[here, :head_words], self.weights[here]
        own = scores[np.arange(len(here)), [words[row] for row in here]]
        # Equal scores count as ahead, and so does the word itself.
        is_ahead = scores >= own[:, None]
        above = self.of_tails[here] - own[:, None]
        is_heavier = above > 0
        most = is_ahead.sum(1) - 1 + (np.exp(above.clip(0, FAR_ABOVE)) * is_heavier).sum(1)
        in_tails = (weights[:, head_words:] * is_heavier).sum(1)
        mass = weights[:, :head_words].sum(1)
        ahead = (weights[:, :head_words] * is_ahead).sum(1) + in_tails
        best = np.maximum(
            scores.max(1), np.where(is_heavier, self.of_tails[here], -math.inf).max(1, initial=-math.inf)
        )
        surely = set()
        for place, row in enumerate(here.tolist()):
            choice = self.choices[row]
            top_k = choice.top_k if (choice.top_k or math.inf) < self.softmax.drawable else None
            top_p = choice.top_p if (choice.top_p or 1) < 1 else None
            least = own[place] - math.log(choice.min_p) * choice.temperature if choice.min_p else math.inf
            if (
                not (top_k and top_p)
                and (top_k is None or most[place] < top_k)
                and (top_p is None or ahead[place] < top_p * (mass[place] + in_tails[place]))
                and best[place] <= least
            ):
                surely.add(row)
        return [row for row in rows if row not in surely]


class _Scored(NamedTuple):
    """A tail, scored for one text.

    Attributes:
        words: The places in the tail of those words that are not below the text's floor, in rising order.
        below: Their scores, less the best score of the tail.
        weights: Their weights at the temperature, relative to the best word of the tail.
        log_of_best: The log of the best word, up to a constant for each text.
        log_power_sum: The logarithm of the sum of P(word | tail)^a over the words.
    """

    words: npt.NDArray[np.intp]
    below: Floats
    weights: Floats
    log_of_best: float
    log_power_sum: float


class _Mass(NamedTuple):
    """Words of the head or of a tail, and their weights at the temperature as multiples of `unit`."""

    words: npt.NDArray[np.intp]
    weights: Floats | Weights
    unit: float


class _Rank:
    """The words ahead of a drawn word: more probable, or as probable with a lower number.

    The head's words are known. For a tail that is not scored, the tail's own probability gives bounds: if it
    is below the word's, no word of the tail is ahead; otherwise at most P(tail) / P(word) words are.

    Logs of probabilities lack a constant, the same for all words. A mass is a sum of weights at the
    temperature.
    """

    def __init__(self, drawing: _Drawing, row: int, word: int) -> None:
        softmax, self.row, self._word = drawing.softmax, row, word
        self._drawing, self._choice = drawing, drawing.choices[row]
        head = softmax.head_words
        self._of_tails: list[float] = drawing.of_tails[row].tolist()
        self._unscored: dict[int, float] = dict(enumerate(drawing.weights[row, head:].tolist()))
        scores, weights = drawing.scores[row, :head], drawing.weights[row, :head]
        if word < head:
            self._log = float(scores[word])
        else:
            number = bisect_right(softmax.starts, word) - 1
            scored = drawing.scored[row][number]
            place = int(scored.words.searchsorted(word - softmax.tails[number].start))
            self._log = scored.log_of_best + float(scored.below[place])
        is_ahead = _is_ahead(scores, self._log, word)
        self._ahead = int(np.count_nonzero(is_ahead))
        self._best = float(scores.max())
        self._is_shared = (self._choice.top_p or 1) < 1
        if self._is_shared:
            self._mass_ahead, self._mass = float((weights * is_ahead).sum()), float(weights.sum())
        self._is_ahead: dict[int | None, npt.NDArray[np.bool_]] = {None: is_ahead}
        for number in [*self._unscored]:
            if number in drawing.scored[row]:
                self._add_tail(number)

    def _add_tail(self, number: int) -> None:
        """Count the words of a tail, after scoring it."""
        del self._unscored[number]
        tail, scored = self._drawing.softmax.tails[number], self._drawing.score(self.row, number)
        if 0 <= self._word - tail.start < len(tail.numbers):
            place = int(scored.words.searchsorted(self._word - tail.start))
            below = float(scored.below[place])
        else:
            place = len(scored.words) if self._word >= tail.start else 0
            below = self._log - scored.log_of_best
        is_ahead = _is_ahead(scored.below, below, place)
        self._ahead += int(np.count_nonzero(is_ahead))
        self._best = max(self._best, scored.log_of_best)
        self._is_ahead[number] = is_ahead
        if self._is_shared:
            mass = self._mass_of(number)
            self._mass_ahead += mass.unit * float((mass.weights * is_ahead).sum())
            self._mass += mass.unit * float(mass.weights.sum())

    def _mass_of(self, number: int | None) -> _Mass:
        """Return the mass of a scored tail, or of the head."""
        drawing, row, head = self._drawing, self.row, self._drawing.softmax.head_words
        if number is None:
            return _Mass(drawing.softmax.head_numbers, drawing.weights[row, :head], 1.0)
        scored, start = drawing.scored[row][number], drawing.softmax.starts[number]
        if not len(scored.words):
            return _Mass(scored.words, scored.weights, 0.0)
        bound = float(drawing.weights[row, head + number])
        total = bound * math.exp(scored.log_power_sum - drawing.bounds[row, number])
        return _Mass(scored.words + start, scored.weights, total / float(scored.weights.sum()))

    def is_allowed(self) -> bool:
        """Return whether the choice allows the word. Score tails, the heaviest first, until that is known."""
        while (allowed := self._verdict()) is None:
            self._add_tail(max(self._unscored, key=self._unscored.__getitem__))
        return allowed

    def _possibly_ahead(self) -> list[int]:
        """Return the tails that are not scored and may have words ahead.

        A tail as probable as the word may have one word only that is, too.
        """
        return [number for number in self._unscored if self._of_tails[number] >= self._log]

    def draw_ahead(self) -> int:
        """Draw one of the words ahead."""
        for number in self._possibly_ahead():
            self._add_tail(number)
        parts = [(self._mass_of(number), is_ahead) for number, is_ahead in self._is_ahead.items()]
        words = [mass.words[is_ahead] for mass, is_ahead in parts]
        masses = [mass.weights[is_ahead] * mass.unit for mass, is_ahead in parts]
        ends = np.concatenate(masses).cumsum()
        place = int(ends.searchsorted(self._choice.random() * ends[-1], side="right"))
        return int(np.concatenate(words)[min(place, len(ends) - 1)])

    def _verdict(self) -> bool | None:
        """Return whether the choice allows the word, or None if a tail must be scored to know."""
        choice, heavier, is_certain = self._choice, self._possibly_ahead(), True
        if not self._ahead and not heavier:
            return True  # The best word always is, even if the bound of a tail has left it no weight.
        if choice.top_k:
            if self._ahead >= choice.top_k:
                return False
            most = sum(math.exp(min(self._of_tails[number] - self._log, FAR_ABOVE)) for number in heavier)
            is_certain = self._ahead + most < choice.top_k
        if choice.min_p:
            least = self._log - math.log(choice.min_p) * choice.temperature
            if self._best > least:
                return False
            is_certain = is_certain and all(self._of_tails[number] <= least for number in heavier)
        if self._is_shared and choice.top_p:
            unknown = sum(self._unscored.values())
            ahead = sum(self._unscored[number] for number in heavier)
            if choice.top_k and choice.top_k < self._drawing.softmax.drawable:
                kept = self._kept_mass(choice.top_k)
                most_kept, least_kept = kept + unknown, kept
            else:
                most_kept, least_kept = self._mass + unknown, self._mass + ahead
            if self._ahead and self._mass_ahead >= choice.top_p * most_kept:
                return False
            is_certain = is_certain and self._mass_ahead + ahead < choice.top_p * least_kept
        return True if is_certain else None

    def _kept_mass(self, top_k: int) -> float:
        """Return the mass of the `top_k` most probable words, of those that are scored."""
        # numpy's partition is slow among many zeros.
        masses = map(self._mass_of, self._is_ahead)
        known = np.concatenate([mass.weights[mass.weights > 0] * mass.unit for mass in masses])
        if top_k < len(known):
            known = np.partition(known, -top_k)[-top_k:]
        return float(known.sum())


def _is_ahead(scores: Floats | Numbers, score: float, place: int) -> npt.NDArray[np.bool_]:
    """Return which scores are above `score`, or equal to it and before `place`."""
    is_ahead: npt.NDArray[np.bool_] = scores > score
    if place > 0:
        is_ahead[:place] = scores[:place] >= score
    return is_ahead


class _Matrix:
    """A matrix (outputs, inputs), multiplied with one text at a time.

    With a bias, a 1 must follow the inputs, as in `_side_by_side`.
    """

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        if bias is not None:
            matrix = torch.cat([matrix, bias[:, None]], 1)
        self._weight: Floats = matrix.float().t().contiguous().numpy(force=True)

    def product(self, inputs: Floats) -> Floats:
        """Return outputs (..., outputs) from inputs (..., inputs, and 1 if there is a bias)."""
        outputs: Floats = (inputs[..., None, :] @ self._weight)[..., 0, :]
        return outputs


def _side_by_side(*activations: Floats) -> Floats:
    """Return activations (n, width) side by side, and a 1 for the bias."""
    return np.concatenate([*activations, np.ones((len(activations[0]), 1), np.float32)], axis=1)


class _Words:
    """The first layer's products with the vectors of words.

    A tail has narrow vectors and a matrix that widens them. That matrix and the layer's are multiplied once,
    so a rare word needs the product of its narrow vector only. The products of frequent words are kept.
    """

    def __init__(self, vectors: WordVectors, matrix: Tensor) -> None:
        """Multiply the matrices.

        Args:
            vectors: The word vectors.
            matrix: The layer's matrix (outputs, width of a vector), in float64.
        """
        self._starts = np.array([0, *(start for start, _, _ in vectors.shape.tails)])
        self._vectors = [part.numpy(force=True) for part in (vectors.head, *vectors.tails)]
        widened = [matrix @ widen.detach().double().t() for widen in vectors.widen]
        self._matrices = [_Matrix(matrix), *map(_Matrix, widened)]
        self._outputs = len(matrix)
        self._of_frequent = self._products(np.arange(min(WORDS_KEPT, vectors.shape.vocabulary_size)))

    def __call__(self, words: npt.NDArray[np.int64]) -> Floats:
        """Return the products (n, outputs) of words (n)."""
        products: Floats = self._of_frequent.take(words, axis=0, mode="clip")
        rare = np.flatnonzero(words >= len(self._of_frequent))
        if len(rare):
            products[rare] = self._products(words[rare])
        return products

    def _products(self, words: npt.NDArray[np.int64]) -> Floats:
        products = np.empty((len(words), self._outputs), np.float32)
        parts = self._starts.searchsorted(words, side="right") - 1
        for part in {*parts.tolist()}:
            here = np.flatnonzero(parts == part)
            vectors = self._vectors[part][words[here] - self._starts[part]]
            products[here] = self._matrices[part].product(vectors)
        return products


class _Gates:
    """The weights of an LSTM's gates, in float64.

    torch's order is input, forget, cell, output gate. With the three sigmoids side by side, one tanh computes
    all four gates: sigmoid(x) = (tanh(x / 2) + 1) / 2.

    Attributes:
        width: The number of hidden units.
        of_inputs: (4 * width, inputs).
        of_hidden: (4 * width, width).
        bias: (4 * width).
    """

    def __init__(self, lstm: nn.Module) -> None:
        of_inputs, of_hidden, bias, more_bias = (
            lstm.get_parameter(f"{name}_l0").detach()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.width = of_hidden.shape[1]
        i, f, g, o = torch.arange(4 * self.width).view(4, self.width)
        order = torch.cat([i, f, o, g])
        halved = torch.ones(4 * self.width, 1, dtype=torch.float64)
        halved[: 3 * self.width] /= 2
        self.of_inputs, self.of_hidden = of_inputs[order] * halved, of_hidden[order] * halved
        self.bias = (bias + more_bias)[order] * halved[:, 0]


class _Layer:
    """One LSTM layer. Its hidden and cell activations are the columns `hidden` and `cell` of a memory.

    Args:
        gates: Its weights.
        below: For others: the layer whose outputs this one reads.
    """

    def __init__(self, gates: _Gates, below: "_Layer | None" = None) -> None:
        start: int = below.cell.stop if below else 0
        self._below, self._width = below, gates.width
        self.hidden = slice(start, start + gates.width)
        self.cell: slice = slice(self.hidden.stop, self.hidden.stop + gates.width)
        weight = torch.cat([gates.of_inputs, gates.of_hidden], 1) if below else gates.of_hidden
        self._matrix = _Matrix(weight, gates.bias)

    def outputs(self, memory: Memory) -> Floats:
        """Return the hidden activations, and a 1 for a bias (n, width + 1)."""
        return _side_by_side(memory[:, self.hidden])

    def __call__(self, memory: Memory, after: Memory, of_words: Floats | None = None) -> None:
        """Write the state that follows `memory` into `after`.

        Args:
            memory: The states before (n, memory_width).
            after: Gets the states after (n, memory_width). It has those of the layer below.
            of_words: For the first layer: its products with the words that were read (n, 4 * width).
        """
        width = self._width
        below = [after[:, self._below.hidden]] if self._below else []
        gates = self._matrix.product(_side_by_side(*below, memory[:, self.hidden]))
        if of_words is not None:
            gates += of_words
        np.tanh(gates, out=gates)
        doubled = gates[:, : 3 * width]
        doubled += 1
        cell = doubled[:, width : 2 * width] * memory[:, self.cell]
        cell += doubled[:, :width] * gates[:, 3 * width :]
        cell *= 0.5
        after[:, self.cell] = cell
        hidden = doubled[:, 2 * width :] * np.tanh(cell)
        np.multiply(hidden, 0.5, out=after[:, self.hidden])


class _Outcomes(_Matrix):
    """The scores of a softmax's outcomes."""

    def __call__(self, hidden: Floats) -> Floats:
        """Return scores (n, outcomes) from hidden activations, with a 1 (n, width + 1)."""
        return self.product(hidden)

    def log_probabilities(self, scores: Floats) -> Numbers:
        """Return the log probability of each outcome (n, outcomes), given their scores."""
        logs: Numbers = np.subtract(scores, scores.max(1, keepdims=True), dtype=np.float64)
        logs -= self.log_sums(scores)[:, None]
        return logs

    def log_sums(self, scores: Floats, best: Floats | None = None) -> Numbers:
        """Return the logarithm (n) of the sum of exp(score - best score). best: as in `_weights`."""
        sums = _weights(scores, np.ones(len(scores)), best).sum(1)
        logs: Numbers = np.log(sums / 2.0 ** _weight_bits(scores.shape[1]))
        return logs


class _Tail(_Outcomes):
    """The words of a tail. The first has the number `start`.

    Attributes:
        numbers: The words' places in the tail.
    """

    def __init__(self, widen: Tensor, words: Tensor, bias: Tensor, start: int) -> None:
        self.start = start
        self.numbers = np.arange(len(words))
        # The last of the narrow activations is the 1 for the bias.
        one = torch.eye(1, len(widen) + 1).flip(1)[0]
        self._narrow = _Matrix(torch.cat([widen, torch.zeros(1, widen.shape[1])]), one)
        super().__init__(words, bias)

    def __call__(self, hidden: Floats) -> Floats:
        """Return scores (n, words) from hidden activations, with a 1 (n, width + 1)."""
        return self.product(self._narrow.product(hidden))

    def scores(self, hidden: Floats) -> Floats:
        """Return the scores (words) of one text, from its hidden activations, with a 1 (width + 1)."""
        return self.product(self._narrow.product(hidden))


def _weight_bits(outcomes: int) -> int:
    """Return the bits that a weight may have if `outcomes` of them must sum to less than 2^SUM_BITS."""
    return SUM_BITS - outcomes.bit_length()


def _weights(scores: Floats | Numbers, powers: Numbers, best: Floats | Numbers | None = None) -> Weights:
    """Return exp(power * (score - best score)) as whole numbers (n, outcomes).

    The best outcome has the largest weight, so there is no overflow, and never are all weights 0.

    Args:
        scores: (n, outcomes).
        powers: (n).
        best: The best scores (n), if they are known.
    """
    below = scores - (scores.max(1) if best is None else best)[:, None]
    weights = below.astype(np.float32, copy=False)
    if (powers != 1).any():
        weights *= powers.astype(np.float32)[:, None]
    np.exp(weights, out=weights)
    weights *= 2.0 ** _weight_bits(scores.shape[1])
    counted: Weights = weights.astype(np.int64)
    return counted


def _drawn(ends: Weights, choice: Choice) -> int:
    """Draw an outcome, given the cumulative sums of the outcomes' weights."""
    total = int(ends[-1])
    # Rounding may put the point at the end, one past the last outcome.
    point = min(int(choice.random() * total), total - 1)
    return int(ends.searchsorted(point, side="right"))


def _drawn_each(ends: Weights, choices: Sequence[Choice]) -> list[int]:
    """Draw an outcome for each row of cumulative sums (n, outcomes), as `_drawn` does for one."""
    if len(choices) == 1:
        return [_drawn(ends[0], choices[0])]
    totals = ends[:, -1]
    points = (np.array([choice.random() for choice in choices]) * totals).astype(np.int64)
    outcomes: list[int] = (ends <= np.minimum(points, totals - 1)[:, None]).sum(1).tolist()
    return outcomes


def _drawn_by_share(weights: Floats, choice: Choice) -> int:
    """Draw an outcome of one text, given weights."""
    ends = weights.cumsum(dtype=np.float64)
    place = int(ends.searchsorted(choice.random() * ends[-1], side="right"))
    return min(place, len(ends) - 1)


def _drawn_from_cache(activations: Memory, choice: Choice) -> int:
    """Draw a word from the cache with its share of the probability, or return <unk>: the model must draw."""
    if choice.cache is None or choice.random() >= choice.cache.share:
        return UNKNOWN_ID
    words, weights = choice.cache.entries(activations)
    return int(words[_drawn(weights.cumsum(), choice)]) if len(words) else UNKNOWN_ID


def _best(log: Numbers, weights: Weights, choice: Choice) -> npt.NDArray[np.intp]:
    """Return the words that top_k, top_p and min_p allow, given all words' log weights and weights."""
    words: npt.NDArray[np.intp] = np.arange(len(log))
    # All words but <unk> can be drawn.
    if choice.top_k is not None and choice.top_k < len(words) - 1:
        words = _by_falling_weight(log, choice.top_k)
    if choice.top_p is not None and choice.top_p < 1:
        wanted = choice.top_p * int(weights[words].sum())
        # Sorting all words would take longer than the model takes. Only the heaviest can be needed.
        least, heaviest = float(weights.max()), words[:0]
        while weights[heaviest].sum() < wanted:
            least /= 16
            heaviest = words[weights[words] >= least]
        heaviest = _sorted(log, heaviest)
        words = heaviest[: 1 + weights[heaviest].cumsum().searchsorted(wanted)]
    if choice.min_p:
        words = words[log[words] >= log.max() + math.log(choice.min_p) * choice.temperature]
    return words


def _by_falling_weight(log: Numbers, count: int) -> npt.NDArray[np.intp]:
    """Return the words with the largest logs, the largest first; of equal ones, the lower number first."""
    if count < len(log):
        last = np.partition(log, -count)[-count]
        return _sorted(log, np.flatnonzero(log >= last))[:count]
    return _sorted(log, np.arange(len(log)))


def _sorted(log: Numbers, words: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return words[np.argsort(-log[words], kind="stable")]
