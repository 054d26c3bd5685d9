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

The words of a tail are scored only if the draw falls on that tail, at any temperature (Sampler.draw).

    adaptive softmax    Grave et al., arXiv 1609.04309
    top_k               Fan et al., arXiv 1805.04833
    top_p               Holtzman et al., arXiv 1904.09751
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from language_model import LanguageModel, WordVectors
from vocabulary import UNKNOWN_ID

Numbers = npt.NDArray[np.float64]
Memory = npt.NDArray[np.float32]
Weights = npt.NDArray[np.int64]

SUM_BITS = 52
"""One bit fewer than float64 has, because rounding to whole numbers may enlarge a sum."""

WORDS_KEPT = 2048
"""The number of frequent words, which make up most of a text, whose products with layer 1 are cached."""


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
    """

    temperature: float
    top_k: int | None
    top_p: float | None
    random: Callable[[], float]


class Sampler:
    """A model prepared for drawing.

    The caller keeps the texts' states, `memory` (texts, memory_width): for each layer its hidden activations,
    as multiples of HIDDEN.step, and its cell activations.
    """

    @torch.no_grad()
    def __init__(self, model: LanguageModel) -> None:
        self._vectors = _Vectors(model.encoder)
        self._layers: list[_Layer] = []
        inputs, self.memory_width = self._vectors.scale, 0
        for lstm in model.layers:
            self._layers.append(_Layer(lstm, inputs, self.memory_width))
            inputs, self.memory_width = HIDDEN, self._layers[-1].cell.stop
        frequent = np.arange(min(WORDS_KEPT, model.shape.vocabulary_size))
        self._of_frequent = self._layers[0].of_inputs(self._vectors(frequent))

        decoder, rows = model.decoder, model.decoder.vectors
        head: list[Tensor] = [rows.head] if decoder.clusters is None else [rows.head, decoder.clusters]
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
        # All words but <unk> can be drawn.
        self._drawable = model.shape.vocabulary_size - 1
        self._log_sizes = np.array([math.log(end - start) for start, end, _ in model.shape.tails])

    def start(self) -> Memory:
        """Return the state (memory_width) before any word."""
        return np.zeros(self.memory_width, np.float32)

    def read(self, words: Sequence[int], memory: Memory) -> Memory:
        """Return the states after one more word of each text."""
        after = np.empty_like(memory)
        self._layers[0](self._of_words(np.array(words)), memory, after)
        for before, layer in zip(self._layers, self._layers[1:], strict=False):
            layer(layer.of_inputs(before.outputs(after)), memory, after)
        return after

    def draw(self, memory: Memory, choices: Sequence[Choice]) -> list[int]:
        """Draw the next word of each text from the model's distribution, given that it is not <unk>.

        If top_k and top_p exclude no word, this is rejection sampling, which scores a tail only when it is
        drawn. At temperature t, with a = 1/t:

            weight of a word of the head   P(word)^a
            weight of a tail of n words    P(tail)^a * sum over its words of P(word | tail)^a
            bound of that sum              max(1, n^(1-a))

        First draw among the head's words and the tails, with the bounds for the sums. If the draw falls on a
        tail, compute its sum and accept the tail with probability sum / bound. If it is rejected, draw again
        with the sum in place of the bound. The accepted words have exactly the probabilities that scoring
        every tail would give.
        """
        hidden = self._layers[-1].outputs(memory)
        cut = [self._is_cut(choice) for choice in choices]
        if not any(cut):
            return self._draw_from_all(hidden, choices)
        words = [UNKNOWN_ID] * len(choices)
        for from_best, draw in ((True, self._draw_from_best), (False, self._draw_from_all)):
            rows = [row for row, is_cut in enumerate(cut) if is_cut == from_best]
            if rows:
                for row, word in zip(rows, draw(hidden[rows], [choices[row] for row in rows]), strict=True):
                    words[row] = word
        return words

    def log_weights(self, memory: Memory) -> Numbers:
        """Return log probabilities (texts, vocabulary) of the next words, up to a constant for each text.

        That of <unk> is minus infinity.
        """
        return self._log_weights(self._layers[-1].outputs(memory))

    def _is_cut(self, choice: Choice) -> bool:
        """Return whether top_k or top_p excludes a word."""
        return (choice.top_k or self._drawable) < self._drawable or (choice.top_p or 1) < 1

    def _of_words(self, words: npt.NDArray[np.int64]) -> Numbers:
        """Return the first layer's product with the vectors of words (n): (n, 4 * its width)."""
        of_words: Numbers = self._of_frequent.take(words, axis=0, mode="clip")
        rare = np.flatnonzero(words >= len(self._of_frequent))
        if len(rare):
            of_words[rare] = self._layers[0].of_inputs(self._vectors(words[rare]))
        return of_words

    def _draw_from_all(self, hidden: Numbers, choices: Sequence[Choice]) -> list[int]:
        powers = np.array([1 / choice.temperature for choice in choices])
        factors = powers * self._head.unit
        scores = self._head(hidden)
        bounds = np.zeros((len(choices), len(self._tails)))
        if powers.min() < 1:
            bounds[:] = np.maximum(0, 1 - powers)[:, None] * self._log_sizes
            scores[:, self._head_words :] += bounds / factors[:, None]

        words = [UNKNOWN_ID] * len(choices)
        undrawn = list(range(len(choices)))
        outcomes = _draw(_weights(scores, factors), choices)
        while True:
            in_tail: list[list[int]] = [[] for _ in self._tails]
            for row, outcome in zip(undrawn, outcomes, strict=True):
                if outcome < self._head_words:
                    words[row] = outcome
                else:
                    in_tail[outcome - self._head_words].append(row)
            undrawn = []
            for number, (tail, here) in enumerate(zip(self._tails, in_tail, strict=True)):
                if not here:
                    continue
                within = tail(hidden[here])
                sums = tail.log_power_sums(within, powers[here])
                excess = sums - bounds[here, number]
                kept = [choices[row].random() < math.exp(e) for row, e in zip(here, excess, strict=True)]
                drawn = [row for row, is_kept in zip(here, kept, strict=True) if is_kept]
                if drawn:
                    weights = _weights(within[kept], powers[drawn] * tail.unit)
                    for row, word in zip(drawn, _draw(weights, [choices[row] for row in drawn]), strict=True):
                        words[row] = tail.start + word
                for row, is_kept, total, e in zip(here, kept, sums, excess, strict=True):
                    if not is_kept:
                        scores[row, self._head_words + number] += e / factors[row]
                        bounds[row, number] = total
                        undrawn.append(row)
            if not undrawn:
                return words
            outcomes = _draw(_weights(scores[undrawn], factors[undrawn]), [choices[row] for row in undrawn])

    def _draw_from_best(self, hidden: Numbers, choices: Sequence[Choice]) -> list[int]:
        powers = np.array([1 / choice.temperature for choice in choices])
        logs = self._log_weights(hidden)
        drawn = []
        for log, weights, choice in zip(logs, _weights(logs, powers), choices, strict=True):
            best = _best(log, weights, choice)
            drawn.append(int(best[_draw(weights[None, best], [choice])[0]]))
        return drawn

    def _log_weights(self, hidden: Numbers) -> Numbers:
        head = self._head(hidden) * self._head.unit
        parts = [head[:, : self._head_words]]
        for column, tail in enumerate(self._tails, start=self._head_words):
            parts.append(head[:, column, None] + tail.log_probabilities(hidden))
        return np.concatenate(parts, axis=1)


class _Matrix:
    """A matrix (outputs, inputs) and a bias (outputs) as whole numbers.

    `scales` is the scale of all inputs, or one for each. The outputs are whole multiples of `unit`.
    """

    def __init__(self, matrix: Tensor, bias: Tensor, *scales: Scale) -> None:
        steps, limits = torch.tensor(scales, dtype=torch.float64).t()
        matrix, bias = matrix.double(), bias.double()
        largest = (matrix * limits).abs_().sum(1) + bias.abs()
        self.unit = _power_of_two(float(largest[largest.isfinite()].max()), SUM_BITS)
        self._weight: Numbers = (matrix * (steps / self.unit)).round_().t().contiguous().numpy()
        self._bias: Numbers = (bias / self.unit).round_().numpy()

    def product(self, inputs: Numbers, onto: Numbers | None = None) -> Numbers:
        """Return outputs (n, outputs) from inputs (n, inputs), plus the bias or the outputs `onto`."""
        outputs: Numbers = inputs @ self._weight
        outputs += self._bias if onto is None else onto
        return outputs

    def split(self, inputs: int) -> tuple["_Matrix", "_Matrix"]:
        """Return the part for the first `inputs`, with the bias, and the part for the rest, without it."""
        first, rest = copy.copy(self), copy.copy(self)
        first._weight, rest._weight = self._weight[:inputs], self._weight[inputs:]
        return first, rest


class _Vectors:
    """Word vectors as multiples of `scale.step`."""

    def __init__(self, vectors: WordVectors) -> None:
        self._head: npt.NDArray[np.float32] = vectors.head.numpy(force=True)
        limit = float(np.abs(self._head).max())
        self._tails = []
        for (start, end, _), tail, widen in zip(
            vectors.shape.tails, vectors.tails, vectors.widen, strict=True
        ):
            # Cauchy-Schwarz: the product of a row and a column is at most that of their norms.
            limit = max(limit, float(tail.norm(dim=1).max() * widen.norm(dim=0).max()))
            narrow = Scale.up_to(float(tail.abs().max()))
            matrix = _Matrix(widen.t(), torch.zeros(widen.shape[1]), narrow)
            self._tails.append((start, end, tail.numpy(force=True), narrow, matrix))
        self.scale = Scale.up_to(limit)

    def __call__(self, words: npt.NDArray[np.int64]) -> Numbers:
        """Return the vectors (n, width) of words (n)."""
        vectors = self._head.take(words, axis=0, mode="clip").astype(np.float64)
        for start, end, tail, narrow, matrix in self._tails:
            here = np.flatnonzero((words >= start) & (words < end))
            if len(here):
                counted = np.rint(tail[words[here] - start].astype(np.float64) / narrow.step)
                vectors[here] = matrix.product(counted) * matrix.unit
        return np.rint(vectors / self.scale.step)


class _Layer:
    """One LSTM layer. Its hidden and cell activations are in `memory` from column `start` on."""

    def __init__(self, lstm: nn.Module, inputs: Scale, start: int) -> None:
        of_inputs, of_hidden, bias, more_bias = (
            lstm.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.width = of_hidden.shape[1]
        self.hidden = slice(start, start + self.width)
        self.cell = slice(self.hidden.stop, self.hidden.stop + self.width)
        # torch's order is input, forget, cell, output gate. With the three sigmoids side by side, one tanh
        # computes all four gates: sigmoid(x) = (tanh(x / 2) + 1) / 2.
        i, f, g, o = torch.arange(4 * self.width).view(4, self.width)
        order = torch.cat([i, f, o, g])
        halved = torch.ones(4 * self.width, 1, dtype=torch.float64)
        halved[: 3 * self.width] /= 2
        weight = torch.cat([of_inputs, of_hidden], 1)[order] * halved
        scales = [inputs] * of_inputs.shape[1] + [HIDDEN] * self.width
        both = _Matrix(weight, (bias + more_bias)[order] * halved[:, 0], *scales)
        self._of_inputs, self._of_hidden = both.split(of_inputs.shape[1])
        self.of_inputs = self._of_inputs.product

    def outputs(self, memory: Memory) -> Numbers:
        """Return the hidden activations (n, width)."""
        return memory[:, self.hidden].astype(np.float64)

    def __call__(self, of_inputs: Numbers, memory: Memory, after: Memory) -> None:
        """Write the state that follows `memory` into `after`.

        Args:
            of_inputs: The product of `self.of_inputs` with the layer's inputs (n, 4 * width).
            memory: The states before (n, memory_width).
            after: Gets the states after (n, memory_width).
        """
        width = self.width
        counted = self._of_hidden.product(self.outputs(memory), onto=of_inputs)
        gates = np.tanh((counted * self._of_hidden.unit).astype(np.float32))
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
        """Return scores (n, outcomes) from hidden activations (n, width)."""
        return self.product(hidden)

    def log_power_sums(self, scores: Numbers, powers: Numbers) -> Numbers:
        """Return the logarithm (n) of the sum over outcomes of probability^power."""
        if (powers == 1).all():
            return np.zeros(len(powers))
        return self._log_sums(scores, powers) - powers * self._log_sums(scores, np.ones(len(scores)))

    def _log_sums(self, scores: Numbers, powers: Numbers) -> Numbers:
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
        return self.product(np.rint(self._narrow.product(hidden) * (self._narrow.unit / self._scale.step)))

    def log_probabilities(self, hidden: Numbers) -> Numbers:
        """Return the log probability of each word, given that the word is in this tail.

        Args:
            hidden: shape (inputs, width).

        Returns:
            shape (inputs, words of the tail).
        """
        scores = self(hidden)
        logs: Numbers = (scores - scores.max(1, keepdims=True)) * self.unit
        logs -= self._log_sums(scores, np.ones(len(scores)))[:, None]
        return logs


def _power_of_two(largest: float, bits: int) -> float:
    """Return a power of two so that numbers up to `largest` are multiples of it below 2^bits."""
    return 2.0 ** (math.frexp(largest)[1] - bits)


def _weight_bits(outcomes: int) -> int:
    """Return the bits that a weight may have if `outcomes` of them must sum to less than 2^SUM_BITS."""
    return SUM_BITS - outcomes.bit_length()


def _weights(scores: Numbers, factors: Numbers) -> Weights:
    """Return exp(factor * (score - best score)) as whole numbers (n, outcomes).

    The best outcome has the largest weight, so there is no overflow, and never are all weights 0.

    Args:
        scores: (n, outcomes).
        factors: (n).
    """
    below = scores - scores.max(1, keepdims=True)
    below *= factors[:, None]
    weights = np.exp(below.astype(np.float32))
    weights *= 2.0 ** _weight_bits(scores.shape[1])
    counted: Weights = weights.astype(np.int64)
    return counted


def _draw(weights: Weights, choices: Sequence[Choice]) -> list[int]:
    """Draw an outcome for each row of weights (n, outcomes)."""
    outcomes = []
    for ends, choice in zip(weights.cumsum(1), choices, strict=True):
        total = int(ends[-1])
        # Rounding may put the point at the end, one past the last outcome.
        point = min(int(choice.random() * total), total - 1)
        outcomes.append(int(ends.searchsorted(point, side="right")))
    return outcomes


def _best(log: Numbers, weights: Weights, choice: Choice) -> npt.NDArray[np.intp]:
    """Return the words that top_k and top_p allow, given all words' log weights and weights."""
    words: npt.NDArray[np.intp] = np.arange(len(log))
    if choice.top_k is not None and choice.top_k < len(words):
        last = np.partition(log, -choice.top_k)[-choice.top_k]
        words = _by_falling_weight(log, np.flatnonzero(log >= last))[: choice.top_k]
    if choice.top_p is not None:
        wanted = choice.top_p * int(weights[words].sum())
        # Sorting all words would take longer than the model takes. Only the heaviest can be needed.
        least, heaviest = float(weights.max()), words[:0]
        while weights[heaviest].sum() < wanted:
            least /= 16
            heaviest = words[weights[words] >= least]
        heaviest = _by_falling_weight(log, heaviest)
        words = heaviest[: 1 + weights[heaviest].cumsum().searchsorted(wanted)]
    return words


def _by_falling_weight(log: Numbers, words: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return words[np.argsort(-log[words], kind="stable")]
