"""Draw words for many texts at once. Each text is the same as if it were drawn alone.

A sum of floating-point numbers depends on the order of the additions. In a matrix product, that order depends
on the number of texts and of threads, so a text would depend on the other texts in its batch. Here every sum
is one of whole numbers, held in float64 or int64, that cannot exceed 2^53: every order gives the same result.

    activations     are multiples of about 2^-24 of their largest possible value
    weights         are multiples of a unit so small that no sum of products with activations exceeds 2^53
    probabilities   are multiples of a unit so small that all outcomes together stay below 2^53

This is about as precise as the float32 in which models are trained. All other operations are element-wise and
run in numpy. (torch's element-wise functions compute the last elements of an array with other code than the
rest.) numpy also multiplies the matrices, a third faster than torch for a few texts and a large matrix.

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
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from continuous_cache import History
from language_model import LanguageModel, WordVectors
from vocabulary import UNKNOWN_ID

Numbers = npt.NDArray[np.float64]
Memory = npt.NDArray[np.float32]
Weights = npt.NDArray[np.int64]

SUM_BITS = 52
"""One bit fewer than float64 has, because rounding to whole numbers may enlarge a sum."""

WORDS_KEPT = 2048
"""The number of frequent words, which make up most of a text, whose products with layer 1 are cached."""

MOST_REDRAWS = 2
"""How often a word is drawn from all words again before it is drawn from those ahead of a rejected one."""


class Scale(NamedTuple):
    """The unit of activations: they are multiples of `step`, a power of two, and at most `limit`."""

    step: float
    limit: float

    @classmethod
    def up_to(cls, limit: float) -> "Scale":
        """Return the scale for activations of at most `limit`, most of which are far smaller."""
        return cls(_power_of_two(limit, 27), limit)


HIDDEN = Scale(step=2.0**-24, limit=1.0)
"""The scale of an LSTM's outputs. float32 can hold them as multiples of the step."""


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

    The caller keeps the texts' states, `memory` (texts, memory_width): for each layer its hidden activations,
    as multiples of HIDDEN.step, and its cell activations.
    """

    @torch.no_grad()
    def __init__(self, model: LanguageModel) -> None:
        first, *others = model.layers
        self._words = _Words(model.encoder, _Gates(first).of_inputs)
        self._layers = [_Layer(_Gates(first), self._words.largest)]
        for lstm in others:
            self._layers.append(_Layer(_Gates(lstm), below=self._layers[-1]))
        self.memory_width = self._layers[-1].cell.stop
        self._words.count_in(self._layers[0].unit)

        decoder, rows = model.decoder, model.decoder.vectors
        head: list[Tensor] = [rows.head] if decoder.clusters is None else [rows.head, decoder.clusters]
        self._softmax = _Softmax(
            _Outcomes(torch.cat(head), decoder.bias, HIDDEN),
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
        hidden: Memory = memory[:, self._layers[-1].hidden] * np.float32(HIDDEN.step)
        return hidden

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
        # All words but <unk> can be drawn.
        self.drawable = vocabulary_size - 1
        ends = [*(tail.start for tail in tails[1:]), vocabulary_size]
        self.sizes = np.array([end - tail.start for tail, end in zip(tails, ends, strict=False)], np.float64)

    def log_probabilities(self, hidden: Numbers) -> Numbers:
        """Return the log probabilities (n, vocabulary) of all words, <unk> included."""
        head = self.head.log_probabilities(self.head(hidden))
        parts = [head[:, : self.head_words]]
        for column, tail in enumerate(self.tails, start=self.head_words):
            parts.append(head[:, column, None] + tail.log_probabilities(tail(hidden)))
        return np.concatenate(parts, axis=1)

    def log_probabilities_of(self, hidden: Numbers, words: npt.NDArray[np.int64]) -> list[float]:
        """Return the log probability of one word for each row of activations.

        Score only the tails of these words.
        """
        head = self.head.log_probabilities(self.head(hidden))
        starts = np.array([tail.start for tail in self.tails], np.int64)
        of_tail = np.searchsorted(starts, words, side="right") - 1  # -1 for a word of the head
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

    def draw_from_best(self, hidden: Numbers, activations: Memory, choice: Choice) -> int:
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
        scored: The tails that have been scored, each by its rows.
    """

    def __init__(self, softmax: _Softmax, hidden: Numbers, choices: Sequence[Choice]) -> None:
        self.softmax, self.choices, self._hidden = softmax, choices, hidden
        self._powers = np.array([1 / choice.temperature for choice in choices])
        self._factors = self._powers * softmax.head.unit
        self.scores = softmax.head(hidden)
        self.scores[:, UNKNOWN_ID] = -math.inf
        self.of_tails = self.scores[:, softmax.head_words :].copy()
        self.bounds = np.zeros((len(choices), len(softmax.tails)))
        if self._powers.min() < 1:
            self.bounds[:] = np.maximum(0, 1 - self._powers)[:, None] * np.log(softmax.sizes)
            self.scores[:, softmax.head_words :] += self.bounds / self._factors[:, None]
        self._floors = np.full(len(choices), -math.inf)
        self._set_floors()
        self.weights = _weights(self.scores, self._factors)
        self._ends = self.weights.cumsum(1)
        self.scored: list[dict[int, _Scored]] = [{} for _ in softmax.tails]

    def words(self) -> list[int]:
        """Return the words."""
        words = [UNKNOWN_ID] * len(self.choices)
        self._draw(range(len(words)), words)
        rows = [row for row, choice in enumerate(self.choices) if self.softmax.is_restricted(choice)]
        for _ in range(MOST_REDRAWS):
            rows = self._doubtful(rows, words)
            ranks = self._decided([_Rank(self, row, words[row]) for row in rows])
            rows = [rank.row for rank in ranks if not rank.allowed()]
            if not rows:
                return words
            self._draw(rows, words)
        rows = self._doubtful(rows, words)
        ranks = self._decided([_Rank(self, row, words[row]) for row in rows])
        while ranks := [rank for rank in ranks if not rank.allowed()]:
            for rank in self._decided(ranks, _Rank.possibly_ahead):
                words[rank.row] = rank.draw_ahead()
            ranks = self._decided([_Rank(self, rank.row, words[rank.row]) for rank in ranks])
        return words

    def score(self, number: int, rows: Sequence[int]) -> None:
        """Score all words of a tail for the given rows for which it is not scored yet."""
        scored = self.scored[number]
        rows = [row for row in rows if row not in scored]
        if not rows:
            return
        tail, powers, floors = self.softmax.tails[number], self._powers[rows], self._floors[rows]
        scores = tail(self._hidden[rows])
        best = scores.max(1)
        weights = _weights(scores, powers * tail.unit, best)
        totals = weights.sum(1)
        sums_at_power = np.log(totals / 2.0 ** _weight_bits(scores.shape[1]))
        is_plain = powers == 1
        sums = sums_at_power if is_plain.all() else tail.log_sums(scores, np.ones(len(rows)))
        power_sums = np.where(is_plain, 0, sums_at_power - powers * sums)
        if floors.max() > -math.inf:
            logs_of_best = self.of_tails[rows, number] * self.softmax.head.unit - sums
            weights *= scores >= ((floors - logs_of_best) / tail.unit + best)[:, None]
            left = weights.sum(1)
            with np.errstate(divide="ignore"):
                power_sums += np.log(left / totals)
            totals = left
        columns = (best.tolist(), sums.tolist(), power_sums.tolist(), totals.tolist())
        scored.update(zip(rows, map(_Scored, scores, weights, *columns), strict=True))

    def _set_floors(self) -> None:
        """Exclude the words that are below what the head's words allow."""
        head_words, unit = self.softmax.head_words, self.softmax.head.unit
        head = self.scores[:, :head_words]
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
            least = head[of_min_p].max(1) + np.array(below_best) / self._factors[of_min_p]
            floors[of_min_p] = np.maximum(floors[of_min_p], least)
        if of_top_k or of_min_p:
            self._floors = floors * unit
            head[head < floors[:, None]] = -math.inf
            self.scores[:, head_words:][self.of_tails < floors[:, None]] = -math.inf

    def _draw(self, rows: Sequence[int], words: list[int]) -> None:
        """Draw a word from all words for each of the given rows."""
        head_words = self.softmax.head_words
        undrawn = [*rows]
        while undrawn:
            in_tail: list[list[int]] = [[] for _ in self.scored]
            for row in undrawn:
                outcome = _drawn(self._ends[row], self.choices[row])
                if outcome < head_words:
                    words[row] = outcome
                else:
                    in_tail[outcome - head_words].append(row)
            undrawn = []
            for number, here in enumerate(in_tail):
                self.score(number, here)
                for row in here:
                    scored, chance = self.scored[number][row], self.choices[row]
                    excess = scored.log_power_sum - self.bounds[row, number]
                    if chance.random() < math.exp(excess):
                        within = _drawn(scored.weights.cumsum(), chance)
                        words[row] = self.softmax.tails[number].start + within
                    else:
                        self.scores[row, head_words + number] += excess / self._factors[row]
                        self.bounds[row, number] = scored.log_power_sum
                        undrawn.append(row)
            if undrawn:
                self.weights[undrawn] = _weights(self.scores[undrawn], self._factors[undrawn])
                self._ends[undrawn] = self.weights[undrawn].cumsum(1)

    def _doubtful(self, rows: Sequence[int], words: Sequence[int]) -> list[int]:
        """Return the rows whose word may be excluded, as far as the head tells: most words are allowed.

        This is what a rank finds before any tail is scored, for all rows at once.
        """
        head_words, unit = self.softmax.head_words, self.softmax.head.unit
        here = np.array([row for row in rows if words[row] < head_words], np.int64)
        if not len(here):
            return [*rows]
        scores, weights = self.scores[here, :head_words], self.weights[here]
        own = scores[np.arange(len(here)), [words[row] for row in here]]
        # Equal scores count as ahead, and so does the word itself.
        is_ahead = scores >= own[:, None]
        above = self.of_tails[here] - own[:, None]
        is_heavier = above > 0
        most = is_ahead.sum(1) - 1 + (np.exp(np.where(is_heavier, above, 0) * unit) * is_heavier).sum(1)
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
            least = (
                own[place] * unit - math.log(choice.min_p) * choice.temperature if choice.min_p else math.inf
            )
            if (
                not (top_k and top_p)
                and (top_k is None or most[place] < top_k)
                and (top_p is None or ahead[place] < top_p * (mass[place] + in_tails[place]))
                and best[place] * unit <= least
            ):
                surely.add(row)
        return [row for row in rows if row not in surely]

    def _decided(
        self, ranks: list["_Rank"], missing: Callable[["_Rank"], list[int]] | None = None
    ) -> list["_Rank"]:
        """Return the ranks, after the tails that they miss have been scored.

        By default a rank misses tails, the heaviest first, until it knows whether its word is allowed.
        """
        missing = missing or _Rank.undecided
        waiting = ranks
        while waiting:
            wanted: list[list[_Rank]] = [[] for _ in self.scored]
            for rank in waiting:
                for number in missing(rank):
                    wanted[number].append(rank)
            for number, here in enumerate(wanted):
                self.score(number, [rank.row for rank in here])
                for rank in here:
                    rank.add_tail(number)
            waiting = [rank for rank in waiting if any(rank in here for here in wanted)]
        return ranks


class _Scored(NamedTuple):
    """The words of a tail, scored for one text.

    Attributes:
        scores: Their scores, as multiples of the tail's unit.
        weights: Their weights at the temperature, as whole numbers.
        best: The best score.
        log_sum: The logarithm of the sum of exp(score - best score).
        log_power_sum: The logarithm of the sum of P(word | tail)^a.
        total: The sum of the weights.
    """

    scores: Numbers
    weights: Weights
    best: float
    log_sum: float
    log_power_sum: float
    total: int


class _Rank:
    """The words ahead of a drawn word: more probable, or as probable with a lower number.

    The head's words are known. For a tail that is not scored, the tail's own probability gives bounds: if it
    is below the word's, no word of the tail is ahead; otherwise at most P(tail) / P(word) words are.

    Logs of probabilities lack a constant, the same for all words. A mass is a sum of weights at the
    temperature.
    """

    def __init__(self, drawing: _Drawing, row: int, word: int) -> None:
        softmax, self.row, self._word = drawing.softmax, row, word
        self._drawing, self._choice, self._unit = drawing, drawing.choices[row], softmax.head.unit
        head = softmax.head_words
        self._of_tails: list[float] = (drawing.of_tails[row] * self._unit).tolist()
        self._unscored: dict[int, float] = dict(enumerate(drawing.weights[row, head:].tolist()))
        scores, weights = drawing.scores[row, :head], drawing.weights[row, :head]
        if word < head:
            score = float(scores[word])
            self._log = score * self._unit
        else:
            number = bisect_right([tail.start for tail in softmax.tails], word) - 1
            tail, scored = softmax.tails[number], drawing.scored[number][row]
            within = float(scored.scores[word - tail.start] - scored.best) * tail.unit
            self._log = self._of_tails[number] + within - scored.log_sum
            score = self._log / self._unit
        is_ahead = _is_ahead(scores, score, word)
        self._ahead = int(np.count_nonzero(is_ahead))
        self._best = float(scores.max()) * self._unit
        self._is_shared = (self._choice.top_p or 1) < 1
        if self._is_shared:
            self._mass_ahead, self._mass = float(weights[is_ahead].sum()), float(weights.sum())
        self._masses: list[tuple[int, npt.NDArray[np.bool_], Weights, float]] = [(0, is_ahead, weights, 1.0)]
        for number in [*self._unscored]:
            if row in drawing.scored[number]:
                self.add_tail(number)

    def add_tail(self, number: int) -> None:
        """Count the words of a tail that has been scored."""
        bound = self._unscored.pop(number)
        drawing = self._drawing
        tail, scored = drawing.softmax.tails[number], drawing.scored[number][self.row]
        log_of_best = self._of_tails[number] - scored.log_sum
        place = self._word - tail.start
        if 0 <= place < len(scored.scores):
            score = float(scored.scores[place])
        else:
            score = (self._log - log_of_best) / tail.unit + scored.best
        is_ahead = _is_ahead(scored.scores, score, place)
        self._ahead += int(np.count_nonzero(is_ahead))
        self._best = max(self._best, log_of_best)
        total = scored.total
        mass = bound * math.exp(scored.log_power_sum - drawing.bounds[self.row, number]) if total else 0.0
        unit = mass / (total or 1)
        if self._is_shared:
            self._mass_ahead += unit * int(scored.weights[is_ahead].sum())
            self._mass += mass
        self._masses.append((tail.start, is_ahead, scored.weights, unit))

    def undecided(self) -> list[int]:
        """Return the tail to score next to know whether the word is allowed; none if that is known."""
        return [max(self._unscored, key=self._unscored.__getitem__)] if self.allowed() is None else []

    def possibly_ahead(self) -> list[int]:
        """Return the tails that are not scored and may have words ahead."""
        return [number for number in self._unscored if self._of_tails[number] > self._log]

    def draw_ahead(self) -> int:
        """Draw one of the words ahead, all of which are scored."""
        words, masses = [], []
        for start, is_ahead, weights, unit in self._masses:
            here = np.flatnonzero(is_ahead)
            words.append(here + start)
            masses.append(weights[here] * unit)
        ends = np.concatenate(masses).cumsum()
        place = int(ends.searchsorted(self._choice.random() * ends[-1], side="right"))
        return int(np.concatenate(words)[min(place, len(ends) - 1)])

    def allowed(self) -> bool | None:
        """Return whether the choice allows the word, or None if a tail must be scored to know."""
        choice = self._choice
        heavier = {number: self._unscored[number] for number in self.possibly_ahead()}
        verdicts: list[bool | None] = []
        if choice.min_p:
            least = self._log - math.log(choice.min_p) * choice.temperature
            best = max([self._best, *(self._of_tails[number] for number in heavier)])
            verdicts.append(_between(self._best <= least, best <= least))
        if choice.top_k:
            most = sum(math.exp(self._of_tails[number] - self._log) for number in heavier)
            verdicts.append(_between(self._ahead < choice.top_k, self._ahead + most < choice.top_k))
        if self._is_shared and choice.top_p and False not in verdicts:
            unknown, ahead = sum(self._unscored.values()), sum(heavier.values())
            if choice.top_k and choice.top_k < self._drawing.softmax.drawable:
                kept = self._kept_mass(choice.top_k)
                most_kept, least_kept = kept + unknown, kept
            else:
                most_kept, least_kept = self._mass + unknown, self._mass + ahead
            verdicts.append(
                _between(
                    self._mass_ahead < choice.top_p * most_kept,
                    self._mass_ahead + ahead < choice.top_p * least_kept,
                )
            )
        if False in verdicts:
            return False
        return None if None in verdicts else True

    def _kept_mass(self, top_k: int) -> float:
        """Return the mass of the `top_k` most probable words, of those that are scored."""
        # numpy's partition is slow among many zeros.
        known = np.concatenate([weights[weights > 0] * unit for _, _, weights, unit in self._masses])
        if top_k < len(known):
            known = np.partition(known, -top_k)[-top_k:]
        return float(known.sum())


def _between(possible: bool, certain: bool) -> bool | None:
    """Return a verdict: None if it is possible, but not certain."""
    return certain or (None if possible else False)


def _is_ahead(scores: Numbers, score: float, place: int) -> npt.NDArray[np.bool_]:
    """Return which scores are above `score`, or equal to it and before `place`."""
    is_ahead: npt.NDArray[np.bool_] = scores > score
    if place > 0:
        is_ahead[:place] = scores[:place] >= score
    return is_ahead


class _Matrix:
    """A matrix (outputs, inputs) as whole numbers.

    The outputs are whole multiples of `unit`. With a bias, a 1 must follow the inputs, as in `_side_by_side`.

    Args:
        matrix: (outputs, inputs).
        bias: (outputs), or None.
        scales: The scale of all inputs, or one for each.
        largest_added: The largest sizes (outputs) of numbers that the caller adds to the outputs.
    """

    def __init__(
        self, matrix: Tensor, bias: Tensor | None, *scales: Scale, largest_added: Tensor | None = None
    ) -> None:
        steps, limits = torch.tensor(scales, dtype=torch.float64).t()
        matrix = matrix.double()
        largest = (matrix * limits).abs_().sum(1)
        if largest_added is not None:
            largest += largest_added
        if bias is not None:
            largest += bias.double().abs()
        self.unit = _power_of_two(float(largest[largest.isfinite()].max()), SUM_BITS)
        counted = matrix * (steps / self.unit)
        if bias is not None:
            counted = torch.cat([counted, bias.double()[:, None] / self.unit], 1)
        self._weight: Numbers = counted.round_().t().contiguous().numpy()

    def product(self, inputs: Numbers) -> Numbers:
        """Return outputs (n, outputs) from inputs (n, inputs, and 1 if there is a bias)."""
        outputs: Numbers = inputs @ self._weight
        return outputs


def _side_by_side(*activations: Memory) -> Numbers:
    """Return activations (n, width) side by side, and a 1 for the bias."""
    ends = [*accumulate(part.shape[1] for part in activations)]
    together = np.ones((len(activations[0]), ends[-1] + 1))
    for part, end in zip(activations, ends, strict=True):
        together[:, end - part.shape[1] : end] = part
    return together


class _Words:
    """The first layer's products with the vectors of words.

    A tail has narrow vectors and a matrix that widens them. That matrix and the layer's are multiplied once,
    so a rare word needs the product of its narrow vector only. The products of frequent words are kept.

    Attributes:
        largest: The largest sizes (outputs) of the products.
    """

    def __init__(self, vectors: WordVectors, matrix: Tensor) -> None:
        """Multiply the matrices.

        Args:
            vectors: The word vectors.
            matrix: The layer's matrix (outputs, width of a vector), in float64.
        """
        head = vectors.head.detach()
        scale = Scale.up_to(max(float(part.abs().max()) for part in (head, *vectors.widen)))
        of_wide = _Matrix(matrix, None, scale)
        self._starts = np.array([0, *(start for start, _, _ in vectors.shape.tails)])
        self._vectors = [head.numpy(), *(tail.numpy(force=True) for tail in vectors.tails)]
        self._scales, self._matrices = [scale], [of_wide]
        bounds = [_largest_products(head, matrix)]
        for tail, widen in zip(vectors.tails, vectors.widen, strict=True):
            widened = of_wide.product(np.rint(widen.double().numpy() / scale.step)) * of_wide.unit
            both = torch.from_numpy(widened).t()
            self._scales.append(Scale.up_to(float(tail.abs().max())))
            self._matrices.append(_Matrix(both, None, self._scales[-1]))
            bounds.append(_largest_products(tail, both))
        self.largest = torch.stack(bounds).amax(0)
        self._unit = 1.0
        self._of_frequent = np.empty((0, len(matrix)))

    def count_in(self, unit: float) -> None:
        """Count products in multiples of `unit`, and compute those of the frequent words."""
        self._unit = unit
        vocabulary_size = self._starts[-1] + len(self._vectors[-1])
        self._of_frequent = self._products(np.arange(min(WORDS_KEPT, vocabulary_size)))

    def __call__(self, words: npt.NDArray[np.int64]) -> Numbers:
        """Return the products (n, outputs) of words (n)."""
        products: Numbers = self._of_frequent.take(words, axis=0, mode="clip")
        rare = np.flatnonzero(words >= len(self._of_frequent))
        if len(rare):
            products[rare] = self._products(words[rare])
        return products

    def _products(self, words: npt.NDArray[np.int64]) -> Numbers:
        products = np.empty((len(words), len(self.largest)))
        parts = self._starts.searchsorted(words, side="right") - 1
        for part in {*parts.tolist()}:
            here = np.flatnonzero(parts == part)
            vectors = self._vectors[part][words[here] - self._starts[part]]
            matrix = self._matrices[part]
            counted = matrix.product(np.rint(vectors.astype(np.float64) / self._scales[part].step))
            counted *= matrix.unit / self._unit
            products[here] = np.rint(counted, out=counted)
        return products


def _largest_products(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return the largest sizes (outputs) of products of rows (n, inputs) with a matrix (outputs, inputs).

    Cauchy-Schwarz: the product of two vectors is at most that of their norms.
    """
    largest: Tensor = rows.norm(dim=1).max().double() * matrix.norm(dim=1)
    return largest


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
        largest_added: For the first layer: the largest sizes of the products of words.
        below: For others: the layer whose outputs this one reads.
    """

    def __init__(
        self, gates: _Gates, largest_added: Tensor | None = None, below: "_Layer | None" = None
    ) -> None:
        start: int = below.cell.stop if below else 0
        self._below, self._width = below, gates.width
        self.hidden = slice(start, start + gates.width)
        self.cell: slice = slice(self.hidden.stop, self.hidden.stop + gates.width)
        weight = torch.cat([gates.of_inputs, gates.of_hidden], 1) if below else gates.of_hidden
        self._matrix = _Matrix(weight, gates.bias, HIDDEN, largest_added=largest_added)
        self.unit: float = self._matrix.unit

    def outputs(self, memory: Memory) -> Numbers:
        """Return the hidden activations, and a 1 for a bias (n, width + 1)."""
        return _side_by_side(memory[:, self.hidden])

    def __call__(self, memory: Memory, after: Memory, of_words: Numbers | None = None) -> None:
        """Write the state that follows `memory` into `after`.

        Args:
            memory: The states before (n, memory_width).
            after: Gets the states after (n, memory_width). It has those of the layer below.
            of_words: For the first layer: its products with the words that were read (n, 4 * width).
        """
        width = self._width
        below = [after[:, self._below.hidden]] if self._below else []
        counted = self._matrix.product(_side_by_side(*below, memory[:, self.hidden]))
        if of_words is not None:
            counted += of_words
        counted *= self.unit
        gates = counted.astype(np.float32)
        np.tanh(gates, out=gates)
        doubled = gates[:, : 3 * width]
        doubled += 1
        cell = doubled[:, width : 2 * width] * memory[:, self.cell]
        cell += doubled[:, :width] * gates[:, 3 * width :]
        cell *= 0.5
        after[:, self.cell] = cell
        hidden = doubled[:, 2 * width :] * np.tanh(cell)
        hidden *= 0.5 / HIDDEN.step
        np.rint(hidden, out=after[:, self.hidden])


class _Outcomes(_Matrix):
    """The scores of a softmax's outcomes, as multiples of `unit`."""

    def __call__(self, hidden: Numbers) -> Numbers:
        """Return scores (n, outcomes) from hidden activations, with a 1 (n, width + 1)."""
        return self.product(hidden)

    def log_probabilities(self, scores: Numbers) -> Numbers:
        """Return the log probability of each outcome (n, outcomes), given their scores."""
        logs: Numbers = (scores - scores.max(1, keepdims=True)) * self.unit
        logs -= self.log_sums(scores, np.ones(len(scores)))[:, None]
        return logs

    def log_sums(self, scores: Numbers, powers: Numbers) -> Numbers:
        """Return the logarithm (n) of the sum of exp(power * (score - best score))."""
        sums = _weights(scores, powers * self.unit).sum(1)
        logs: Numbers = np.log(sums / 2.0 ** _weight_bits(scores.shape[1]))
        return logs


class _Tail(_Outcomes):
    """The words of a tail. The first has the number `start`."""

    def __init__(self, widen: Tensor, words: Tensor, bias: Tensor, start: int) -> None:
        self.start = start
        self._narrow = _Matrix(widen, torch.zeros(len(widen)), HIDDEN)
        self._scale = Scale.up_to(HIDDEN.limit * float(widen.abs().sum(1).max()))
        super().__init__(words, bias, self._scale)

    def __call__(self, hidden: Numbers) -> Numbers:
        """Return scores (n, words) from hidden activations, with a 1 (n, width + 1)."""
        return self.product(self.narrowed(hidden))

    def narrowed(self, hidden: Numbers) -> Numbers:
        """Return the narrow activations, with a 1."""
        counted = self._narrow.product(hidden)
        counted *= self._narrow.unit / self._scale.step
        narrow = np.ones((len(hidden), counted.shape[1] + 1))
        np.rint(counted, out=narrow[:, :-1])
        return narrow


def _power_of_two(largest: float, bits: int) -> float:
    """Return a power of two so that numbers up to `largest` are multiples of it below 2^bits."""
    return 2.0 ** (math.frexp(largest)[1] - bits)


def _weight_bits(outcomes: int) -> int:
    """Return the bits that a weight may have if `outcomes` of them must sum to less than 2^SUM_BITS."""
    return SUM_BITS - outcomes.bit_length()


def _weights(scores: Numbers, factors: Numbers, best: Numbers | None = None) -> Weights:
    """Return exp(factor * (score - best score)) as whole numbers (n, outcomes).

    The best outcome has the largest weight, so there is no overflow, and never are all weights 0.

    Args:
        scores: (n, outcomes).
        factors: (n).
        best: The best scores (n), if they are known.
    """
    below = scores - (scores.max(1) if best is None else best)[:, None]
    below *= factors[:, None]
    weights = below.astype(np.float32)
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
