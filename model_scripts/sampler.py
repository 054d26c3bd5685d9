"""Words drawn from a model for many texts at once, each text the same as if it were drawn alone.

A sum of floating-point numbers depends on its order, and the order in a matrix product on how many texts are
read together and by how many threads: a text would change with its neighbours. Here all that is ever summed
is whole numbers, held in float64, and no sum can pass 2^53: so every order gives the same, on any library.

    activations    in steps of some 2^-24 of the largest they can be
    weights        in units so fine that no sum of their products with activations passes 2^53
    probabilities  in units so fine that those of all outcomes together stay below 2^53

That is about as precise as the float32 a model is trained in. All else goes number by number, where there is
no order, in numpy: torch's sigmoid, for one, treats the last numbers of an array by other code than the rest.
torch multiplies the matrices, because its threads can be told how many they are.

A tail's words are looked at only where the draw falls on that tail, at any temperature (Sampler.draw).

    adaptive softmax    Grave et al., arXiv 1609.04309
    top_k               Fan et al., arXiv 1805.04833
    top_p               Holtzman et al., arXiv 1904.09751
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from language_model import LanguageModel, WordVectors
from vocabulary import UNKNOWN_ID

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

SUM_BITS = 52
"""One fewer than float64 has, which leaves room for what rounding to whole numbers adds to a sum."""


class Scale(NamedTuple):
    """How activations are counted: in steps of `step`, a power of two; none is larger than `limit`."""

    step: float
    limit: float

    @classmethod
    def up_to(cls, limit: float) -> "Scale":
        """For activations that seldom come near the limit, which is only what they could be at most."""
        return cls(_power_of_two(limit, 27), limit)


HIDDEN = Scale(step=2.0**-24, limit=1.0)
"""For an LSTM's outputs."""

BLOCK = 64
"""Outcomes are summed by blocks first, so that a draw need not walk through all of them."""

WORDS_KEPT = 2048
"""Words for which the first layer's share of the work is kept: most of a text is the same few words."""


@dataclass(frozen=True)
class Choice:
    """How the next word of a text is drawn.

    top_k: only from so many of the most probable words. top_p: only from the fewest words that have this
    share of the probability, at the temperature and after top_k. Words equally probable go by their numbers.
    chance: gives numbers from 0 to below 1; each text has its own.
    """

    temperature: float
    top_k: int | None
    top_p: float | None
    chance: Callable[[], float]


class Sampler:
    """A model made ready for drawing. The memory of the texts is kept by the caller, as a row for each
    (texts, memory_width): for each layer the hidden activations, counted in HIDDEN.step, and the cell's."""

    @torch.no_grad()
    def __init__(self, model: LanguageModel) -> None:
        vectors = _Vectors(model.encoder)
        self._layers: list[_Layer] = []
        inputs, self.memory_width = vectors.scale, 0
        for lstm in model.layers:
            self._layers.append(_Layer(lstm, inputs, self.memory_width))
            inputs, self.memory_width = HIDDEN, self._layers[-1].cell.stop
        self._of_word = lru_cache(WORDS_KEPT)(lambda word: self._layers[0].of_inputs(vectors(word))[0])

        decoder, rows = model.decoder, model.decoder.vectors
        head = [rows.head] if decoder.clusters is None else [rows.head, decoder.clusters]
        bias = decoder.bias.clone()
        bias[UNKNOWN_ID] = -math.inf
        self._head = _Outcomes(torch.cat(head), bias, HIDDEN)
        self._tails = [
            _Tail(widen, words, tail_bias, start)
            for widen, words, tail_bias, (start, _, _) in zip(
                rows.widen, rows.tails, decoder.tail_bias, model.shape.tails, strict=True
            )
        ]
        self._head_words = model.shape.head
        self._log_sizes = np.array([math.log(end - start) for start, end, _ in model.shape.tails])

    def start(self) -> Numbers:
        """The memory (memory_width) before any word."""
        return np.zeros(self.memory_width)

    def read(self, words: Sequence[int], memory: Numbers) -> Numbers:
        """The memory after one more word of each text."""
        after = np.empty_like(memory)
        of_inputs = np.stack([self._of_word(word) for word in words])
        hidden = self._layers[0](of_inputs, memory, after)
        for layer in self._layers[1:]:
            hidden = layer(layer.of_inputs(hidden), memory, after)
        return after

    def draw(self, memory: Numbers, choices: Sequence[Choice]) -> list[int]:
        """The next word of each text, from the model's distribution given that it is not <unk>.

        At temperature t a word weighs its probability to the power a = 1/t. A tail of n words whose
        probabilities within the tail are q weighs P(tail)^a times the sum of q^a, a sum that is at most
        max(1, n^(1-a)). The draw is between the head's words and the tails with these bounds for their sums.
        If it falls on a tail, its sum is found, and the tail kept with the probability sum / bound; if it is
        not kept, everything is drawn anew, with the sum in the bound's place. By rejection, words come out
        with exactly the probabilities that looking at every tail would give them.
        """
        hidden = memory[:, self._layers[-1].hidden]
        cut = [choice.top_k is not None or choice.top_p is not None for choice in choices]
        if not any(cut):
            return self._draw_from_all(hidden, choices)
        words = [UNKNOWN_ID] * len(choices)
        for from_best, draw in ((True, self._draw_from_best), (False, self._draw_from_all)):
            rows = [row for row, is_cut in enumerate(cut) if is_cut == from_best]
            for row, word in zip(rows, draw(hidden[rows], [choices[row] for row in rows]), strict=True):
                words[row] = word
        return words

    def log_weights(self, memory: Numbers) -> Numbers:
        """Log probabilities (texts, vocabulary) of the next words, except for a term that all words of a
        text share; <unk>'s is minus infinity."""
        return self._log_weights(memory[:, self._layers[-1].hidden])

    def _draw_from_all(self, hidden: Numbers, choices: Sequence[Choice]) -> list[int]:
        powers = np.array([1 / choice.temperature for choice in choices])
        factors = powers * self._head.unit
        bounds = np.maximum(0, 1 - powers)[:, None] * self._log_sizes
        scores = self._head(hidden)
        scores[:, self._head_words : self._head_words + len(self._tails)] += bounds / factors[:, None]

        def chances(rows: Rows) -> Numbers:
            return np.array([choices[row].chance() for row in rows])

        words = np.empty(len(choices), np.intp)
        undrawn: Rows = np.arange(len(choices))
        while len(undrawn):
            rows, anew = undrawn, [undrawn[:0]]
            outcomes = words[rows] = _draw(_weights(scores[rows], factors[rows]), chances(rows))
            for number in set((outcomes[outcomes >= self._head_words] - self._head_words).tolist()):
                tail, here = self._tails[number], rows[outcomes == self._head_words + number]
                within = tail(hidden[here])
                sums = tail.log_power_sums(within, powers[here])
                excess = sums - bounds[here, number]
                kept = chances(here) < np.exp(excess)
                drawn, refused = here[kept], here[~kept]
                if len(drawn):
                    weights = _weights(within[kept], powers[drawn] * tail.unit)
                    words[drawn] = tail.start + _draw(weights, chances(drawn))
                scores[refused, self._head_words + number] += excess[~kept] / factors[refused]
                bounds[refused, number] = sums[~kept]
                anew.append(refused)
            undrawn = np.concatenate(anew)
        return [int(word) for word in words]

    def _draw_from_best(self, hidden: Numbers, choices: Sequence[Choice]) -> list[int]:
        powers = np.array([1 / choice.temperature for choice in choices])
        logs = self._log_weights(hidden)
        drawn = []
        for log, weights, choice in zip(logs, _weights(logs, powers), choices, strict=True):
            best = _best(log, weights, choice)
            sums = weights[best].cumsum()
            point = min(math.floor(choice.chance() * sums[-1]), sums[-1] - 1)
            drawn.append(int(best[sums.searchsorted(point, side="right")]))
        return drawn

    def _log_weights(self, hidden: Numbers) -> Numbers:
        head = self._head(hidden) * self._head.unit
        parts = [head[:, : self._head_words]]
        for column, tail in enumerate(self._tails, start=self._head_words):
            parts.append(head[:, column, None] + tail.log_probabilities(hidden))
        return np.concatenate(parts, axis=1)


class _Matrix:
    """A matrix (outputs, inputs) and a bias (outputs) as whole numbers, for inputs counted in a scale, or in
    one of these scales each. The outputs are whole numbers too, counted in `unit`."""

    def __init__(self, matrix: Tensor, bias: Tensor, *scales: Scale) -> None:
        steps, limits = torch.tensor(scales, dtype=torch.float64).t()
        matrix, bias = matrix.double(), bias.double()
        largest = (matrix * limits).abs_().sum(1) + bias.abs()
        self.unit = _power_of_two(float(largest[largest.isfinite()].max()), SUM_BITS)
        self._weight = (matrix * (steps / self.unit)).round_().t()
        self._bias = (bias / self.unit).round_()

    def __call__(self, inputs: Numbers, onto: Numbers | None = None) -> Numbers:
        """Outputs (n, outputs) from inputs (n, inputs), on top of the bias or of other outputs."""
        bias = self._bias if onto is None else torch.from_numpy(onto)
        product: Numbers = torch.addmm(bias, torch.from_numpy(inputs), self._weight).numpy()
        return product

    def split(self, inputs: int) -> tuple["_Matrix", "_Matrix"]:
        """The part for so many of the inputs, with the bias, and the part for the rest, to go onto the first
        part's outputs."""
        first, rest = copy.copy(self), copy.copy(self)
        first._weight, rest._weight = self._weight[:inputs], self._weight[inputs:]
        return first, rest


class _Vectors:
    """Word vectors, counted in `scale`."""

    def __init__(self, vectors: WordVectors) -> None:
        self._head: npt.NDArray[np.float32] = vectors.head.numpy(force=True)
        limit = float(np.abs(self._head).max())
        self._tails = []
        for (start, end, _), tail, widen in zip(
            vectors.shape.tails, vectors.tails, vectors.widen, strict=True
        ):
            # Cauchy and Schwarz: no product of a row and a column exceeds that of their lengths.
            limit = max(limit, float(tail.norm(dim=1).max() * widen.norm(dim=0).max()))
            narrow = Scale.up_to(float(tail.abs().max()))
            matrix = _Matrix(widen.t(), torch.zeros(widen.shape[1]), narrow)
            self._tails.append((range(start, end), tail.numpy(force=True), narrow, matrix))
        self.scale = Scale.up_to(limit)

    def __call__(self, word: int) -> Numbers:
        """The vector (1, width) of a word."""
        vector = self._head[None, min(word, len(self._head) - 1)].astype(np.float64)
        for words, tail, narrow, matrix in self._tails:
            if word in words:
                counted = np.rint(tail[None, word - words.start].astype(np.float64) / narrow.step)
                vector = matrix(counted) * matrix.unit
        return np.rint(vector / self.scale.step)


class _Layer:
    """One LSTM layer. Its hidden activations and its cell's lie in a memory from `start` on."""

    def __init__(self, lstm: nn.Module, inputs: Scale, start: int) -> None:
        of_inputs, of_hidden, bias, more_bias = (
            lstm.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.width = of_hidden.shape[1]
        self.hidden = slice(start, start + self.width)
        self.cell = slice(self.hidden.stop, self.hidden.stop + self.width)
        # torch has input, forget, cell and output gates. The three sigmoids side by side are computed as
        # tanh, of which sigmoid(x) = (tanh(x / 2) + 1) / 2 is one.
        i, f, g, o = torch.arange(4 * self.width).view(4, self.width)
        order = torch.cat([i, f, o, g])
        halved = torch.ones(4 * self.width, 1, dtype=torch.float64)
        halved[: 3 * self.width] /= 2
        weight = torch.cat([of_inputs, of_hidden], 1)[order] * halved
        scales = [inputs] * of_inputs.shape[1] + [HIDDEN] * self.width
        both = _Matrix(weight, (bias + more_bias)[order] * halved[:, 0], *scales)
        self.of_inputs, self._of_hidden = both.split(of_inputs.shape[1])

    def __call__(self, of_inputs: Numbers, memory: Numbers, after: Numbers) -> Numbers:
        """Hidden activations (n, width), which it writes into the memory `after`, with the cell's.

        of_inputs (n, 4 * width): what `self.of_inputs` makes of the inputs.
        """
        counted = self._of_hidden(memory[:, self.hidden], onto=of_inputs)
        gates = np.tanh((counted * self._of_hidden.unit).astype(np.float32))
        sigmoids = gates[:, : 3 * self.width]
        sigmoids *= 0.5
        sigmoids += 0.5
        admit, keep, show = (sigmoids[:, at : at + self.width] for at in range(0, 3 * self.width, self.width))
        cell = keep * memory[:, self.cell] + admit * gates[:, 3 * self.width :]
        after[:, self.cell] = cell
        hidden: Numbers = np.rint(show * np.tanh(cell.astype(np.float32)) / HIDDEN.step).astype(np.float64)
        after[:, self.hidden] = hidden
        return hidden


class _Outcomes(_Matrix):
    """Scores of a softmax's outcomes, counted in `unit`. Outcomes that fill up the last block never come."""

    def __init__(self, matrix: Tensor, bias: Tensor, inputs: Scale) -> None:
        self.size = len(matrix)
        filled = -self.size % BLOCK
        super().__init__(
            nn.functional.pad(matrix, (0, 0, 0, filled)),
            nn.functional.pad(bias, (0, filled), value=-math.inf),
            inputs,
        )

    def log_power_sums(self, scores: Numbers, powers: Numbers) -> Numbers:
        """Logarithms (n) of the sums of outcomes' probabilities, each to the power (n)."""
        if (powers == 1).all():
            return np.zeros(len(powers))
        return self._log_sums(scores, powers) - powers * self._log_sums(scores, np.ones(len(scores)))

    def _log_sums(self, scores: Numbers, powers: Numbers) -> Numbers:
        """Logarithms (n) of sums of exp(power * score), where the best score counts as 0."""
        sums = _weights(scores, powers * self.unit).sum(1)
        logs: Numbers = np.log(sums / 2.0 ** _weight_bits(scores.shape[1]))
        return logs


class _Tail(_Outcomes):
    """A tail's words, whose numbers begin with `start`."""

    def __init__(self, widen: Tensor, words: Tensor, bias: Tensor, start: int) -> None:
        self.start = start
        self._narrow = _Matrix(widen, torch.zeros(len(widen)), HIDDEN)
        self._scale = Scale.up_to(HIDDEN.limit * float(widen.abs().sum(1).max()))
        super().__init__(words, bias, self._scale)

    def __call__(self, hidden: Numbers) -> Numbers:
        """Scores (n, words, filled up) from hidden activations (n, width)."""
        return super().__call__(np.rint(self._narrow(hidden) * self._narrow.unit / self._scale.step))

    def log_probabilities(self, hidden: Numbers) -> Numbers:
        """Of the words (n, words) within the tail."""
        scores = self(hidden)
        logs: Numbers = (scores - scores.max(1, keepdims=True)) * self.unit
        logs -= self._log_sums(scores, np.ones(len(scores)))[:, None]
        return logs[:, : self.size]


def _power_of_two(largest: float, bits: int) -> float:
    """A unit in which numbers up to `largest` are counted by whole numbers below 2^bits."""
    return 2.0 ** (math.frexp(largest)[1] - bits)


def _weight_bits(outcomes: int) -> int:
    """How many bits a weight can have if `outcomes` of them sum to less than 2^SUM_BITS."""
    return SUM_BITS - outcomes.bit_length()


def _weights(scores: Numbers, factors: Numbers) -> Numbers:
    """exp(factor * score), with the best outcome's for a unit, as whole numbers.

    scores (n, outcomes), factors (n). Nothing over- or underflows: the best outcome has the largest weight.
    """
    below = (scores - scores.max(1, keepdims=True)) * factors[:, None]
    largest = np.float32(2.0 ** _weight_bits(scores.shape[1]))
    weights: Numbers = np.rint(largest * np.exp(below.astype(np.float32))).astype(np.float64)
    return weights


def _draw(weights: Numbers, chances: Numbers) -> Rows:
    """An outcome for each row of weights (n, outcomes), which are whole numbers."""
    blocks = weights.reshape(len(weights), -1, BLOCK)
    of_blocks = blocks.sum(2)
    totals = of_blocks.sum(1)
    # Rounding can put the point on the very end, one past the last outcome.
    points = np.minimum(np.floor(chances * totals), totals - 1)
    block, points = _fall(of_blocks, points)
    return block * BLOCK + _fall(blocks[np.arange(len(blocks)), block], points)[0]


def _fall(weights: Numbers, points: Numbers) -> tuple[Rows, Numbers]:
    """On which outcome of each row of weights (n, outcomes) a point from 0 to below their sum falls, and how
    far into it."""
    ends = weights.cumsum(1)
    outcomes: Rows = (ends <= points[:, None]).sum(1)
    rows = np.arange(len(weights))
    return outcomes, points - (ends[rows, outcomes] - weights[rows, outcomes])


def _best(log: Numbers, weights: Numbers, choice: Choice) -> Rows:
    """The words that top_k and top_p leave, given all words' log weights and weights."""
    words: Rows = np.arange(len(log))
    if choice.top_k is not None and choice.top_k < len(words):
        last = np.partition(log, -choice.top_k)[-choice.top_k]
        words = _by_falling(log, np.flatnonzero(log >= last))[: choice.top_k]
    if choice.top_p is not None:
        wanted = choice.top_p * weights[words].sum()
        # Sorting all words would take longer than reading; the ones needed are among the heaviest.
        least, heaviest = weights.max(), words[:0]
        while weights[heaviest].sum() < wanted:
            least /= 16
            heaviest = words[weights[words] >= least]
        heaviest = _by_falling(log, heaviest)
        words = heaviest[: 1 + weights[heaviest].cumsum().searchsorted(wanted)]
    return words


def _by_falling(log: Numbers, words: Rows) -> Rows:
    return words[np.argsort(-log[words], kind="stable")]
