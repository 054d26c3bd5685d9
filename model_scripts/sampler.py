"""Words drawn from a model for many texts at once, each text the same as if it were drawn alone.

A sum of floating-point numbers depends on its order, and the order in a matrix product on how many texts are
read together and by how many threads: a text would change with its neighbours. Here all that is ever summed
is whole numbers, held in float64 (or int64), and no sum can pass 2^53: every order gives the same.

    activations    in steps of some 2^-24 of the largest they can be
    weights        in units so fine that no sum of their products with activations passes 2^53
    probabilities  in units so fine that those of all outcomes together stay below 2^53

That is about as precise as the float32 a model is trained in. All else goes number by number, where there is
no order, in numpy: torch's sigmoid, for one, treats the last numbers of an array by other code than the rest.
numpy multiplies the matrices too, a third faster than torch does where a few texts meet a large matrix.

A tail's words are looked at only where the draw falls on that tail, at any temperature (Sampler.draw).

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
"""One fewer than float64 has, which leaves room for what rounding to whole numbers adds to a sum."""

WORDS_KEPT = 2048
"""The most frequent words, for which the first layer's share of the work is kept: most of a text is these."""


class Scale(NamedTuple):
    """How activations are counted: in steps of `step`, a power of two; none is larger than `limit`."""

    step: float
    limit: float

    @classmethod
    def up_to(cls, limit: float) -> "Scale":
        """For activations that seldom come near the limit, which is only what they could be at most."""
        return cls(_power_of_two(limit, 27), limit)


HIDDEN = Scale(step=2.0**-24, limit=1.0)
"""For an LSTM's outputs. Counted so they are whole numbers that float32 holds too."""


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
        self._log_sizes = np.array([math.log(end - start) for start, end, _ in model.shape.tails])

    def start(self) -> Memory:
        """The memory (memory_width) before any word."""
        return np.zeros(self.memory_width, np.float32)

    def read(self, words: Sequence[int], memory: Memory) -> Memory:
        """The memory after one more word of each text."""
        after = np.empty_like(memory)
        self._layers[0](self._of_words(np.array(words)), memory, after)
        for before, layer in zip(self._layers, self._layers[1:], strict=False):
            layer(layer.of_inputs(before.outputs(after)), memory, after)
        return after

    def draw(self, memory: Memory, choices: Sequence[Choice]) -> list[int]:
        """The next word of each text, from the model's distribution given that it is not <unk>.

        At temperature t a word weighs its probability to the power a = 1/t. A tail of n words whose
        probabilities within the tail are q weighs P(tail)^a times the sum of q^a, a sum that is at most
        max(1, n^(1-a)). The draw is between the head's words and the tails with these bounds for their sums.
        If it falls on a tail, its sum is found, and the tail kept with the probability sum / bound; if it is
        not kept, everything is drawn anew, with the sum in the bound's place. By rejection, words come out
        with exactly the probabilities that looking at every tail would give them.
        """
        hidden = self._layers[-1].outputs(memory)
        cut = [choice.top_k is not None or choice.top_p is not None for choice in choices]
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
        """Log probabilities (texts, vocabulary) of the next words, except for a term that all words of a
        text share; <unk>'s is minus infinity."""
        return self._log_weights(self._layers[-1].outputs(memory))

    def _of_words(self, words: npt.NDArray[np.int64]) -> Numbers:
        """What the first layer makes of words (n): (n, 4 * its width)."""
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
                kept = [choices[row].chance() < math.exp(e) for row, e in zip(here, excess, strict=True)]
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
    """A matrix (outputs, inputs) and a bias (outputs) as whole numbers, for inputs counted in a scale, or in
    one of these scales each. The outputs are whole numbers too, counted in `unit`."""

    def __init__(self, matrix: Tensor, bias: Tensor, *scales: Scale) -> None:
        steps, limits = torch.tensor(scales, dtype=torch.float64).t()
        matrix, bias = matrix.double(), bias.double()
        largest = (matrix * limits).abs_().sum(1) + bias.abs()
        self.unit = _power_of_two(float(largest[largest.isfinite()].max()), SUM_BITS)
        self._weight: Numbers = (matrix * (steps / self.unit)).round_().t().contiguous().numpy()
        self._bias: Numbers = (bias / self.unit).round_().numpy()

    def product(self, inputs: Numbers, onto: Numbers | None = None) -> Numbers:
        """Outputs (n, outputs) from inputs (n, inputs), on top of the bias or of other outputs."""
        outputs: Numbers = inputs @ self._weight
        outputs += self._bias if onto is None else onto
        return outputs

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
            self._tails.append((start, end, tail.numpy(force=True), narrow, matrix))
        self.scale = Scale.up_to(limit)

    def __call__(self, words: npt.NDArray[np.int64]) -> Numbers:
        """The vectors (n, width) of words (n)."""
        vectors = self._head.take(words, axis=0, mode="clip").astype(np.float64)
        for start, end, tail, narrow, matrix in self._tails:
            here = np.flatnonzero((words >= start) & (words < end))
            if len(here):
                counted = np.rint(tail[words[here] - start].astype(np.float64) / narrow.step)
                vectors[here] = matrix.product(counted) * matrix.unit
        return np.rint(vectors / self.scale.step)


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
        self._of_inputs, self._of_hidden = both.split(of_inputs.shape[1])
        self.of_inputs = self._of_inputs.product

    def outputs(self, memory: Memory) -> Numbers:
        """Hidden activations (n, width)."""
        return memory[:, self.hidden].astype(np.float64)

    def __call__(self, of_inputs: Numbers, memory: Memory, after: Memory) -> None:
        """Write into the memory `after` what there is after `memory` and more inputs.

        of_inputs (n, 4 * width): what `self.of_inputs` makes of the inputs.
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
    """Scores of a softmax's outcomes, counted in `unit`."""

    def __call__(self, hidden: Numbers) -> Numbers:
        """Scores (n, outcomes) from hidden activations (n, width)."""
        return self.product(hidden)

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
        return self.product(np.rint(self._narrow.product(hidden) * (self._narrow.unit / self._scale.step)))

    def log_probabilities(self, hidden: Numbers) -> Numbers:
        """Of the words (n, words) within the tail."""
        scores = self(hidden)
        logs: Numbers = (scores - scores.max(1, keepdims=True)) * self.unit
        logs -= self._log_sums(scores, np.ones(len(scores)))[:, None]
        return logs


def _power_of_two(largest: float, bits: int) -> float:
    """A unit in which numbers up to `largest` are counted by whole numbers below 2^bits."""
    return 2.0 ** (math.frexp(largest)[1] - bits)


def _weight_bits(outcomes: int) -> int:
    """How many bits a weight can have if `outcomes` of them sum to less than 2^SUM_BITS."""
    return SUM_BITS - outcomes.bit_length()


def _weights(scores: Numbers, factors: Numbers) -> Weights:
    """exp(factor * score), with the best outcome's for a unit, as whole numbers.

    scores (n, outcomes), factors (n). Nothing over- or underflows: the best outcome has the largest weight.
    """
    below = scores - scores.max(1, keepdims=True)
    below *= factors[:, None]
    weights = np.exp(below.astype(np.float32))
    weights *= 2.0 ** _weight_bits(scores.shape[1])
    counted: Weights = weights.astype(np.int64)
    return counted


def _draw(weights: Weights, choices: Sequence[Choice]) -> list[int]:
    """An outcome for each row of weights (n, outcomes)."""
    outcomes = []
    for ends, choice in zip(weights.cumsum(1), choices, strict=True):
        total = int(ends[-1])
        # Rounding can put the point on the very end, one past the last outcome.
        point = min(int(choice.chance() * total), total - 1)
        outcomes.append(int(ends.searchsorted(point, side="right")))
    return outcomes


def _best(log: Numbers, weights: Weights, choice: Choice) -> npt.NDArray[np.intp]:
    """The words that top_k and top_p leave, given all words' log weights and weights."""
    words: npt.NDArray[np.intp] = np.arange(len(log))
    if choice.top_k is not None and choice.top_k < len(words):
        last = np.partition(log, -choice.top_k)[-choice.top_k]
        words = _by_falling(log, np.flatnonzero(log >= last))[: choice.top_k]
    if choice.top_p is not None:
        wanted = choice.top_p * int(weights[words].sum())
        # Sorting all words would take longer than reading; the ones needed are among the heaviest.
        least, heaviest = float(weights.max()), words[:0]
        while weights[heaviest].sum() < wanted:
            least /= 16
            heaviest = words[weights[words] >= least]
        heaviest = _by_falling(log, heaviest)
        words = heaviest[: 1 + weights[heaviest].cumsum().searchsorted(wanted)]
    return words


def _by_falling(log: Numbers, words: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return words[np.argsort(-log[words], kind="stable")]
