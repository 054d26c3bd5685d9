"""A word-level LSTM language model, and its artifact's weights and configuration.

    word numbers (rows, columns) -> word vectors -> LSTM layers -> a distribution over the vocabulary

Rows are time; columns are independent texts read side by side. Words are numbered by falling frequency
(vocabulary.py), which is what lets rare words be cheap: the vocabulary is cut into a head of frequent words
and tails of rarer ones, whose vectors are narrower and whose probability is asked for only where a tail is
meant. Without cutoffs there is no tail, and all of it is the plain model with a full softmax.

    LSTM language model     Zaremba et al., arXiv 1409.2329; PyTorch's word_language_model example
    adaptive softmax        Grave et al., arXiv 1609.04309
    adaptive word vectors   Baevski and Auli, arXiv 1809.10853
    tied weights            Press and Wolf, arXiv 1608.05859
    locked dropout          Gal and Ghahramani, arXiv 1512.05287
    dropped weights         Merity et al., arXiv 1708.02182
"""

import copy
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from user_error import UserError

State = list[tuple[Tensor, Tensor]]
"""Memory after a word: for each layer its hidden and its cell activations, each (1, columns, width)."""

FORMAT = 2
"""Version of the artifact; a model of another version is refused when it is loaded."""

WEIGHTS = "model.pt"
VOCABULARY = "vocabulary"
CONFIG = "config.json"


@dataclass(frozen=True)
class Shape:
    """What fixes the sizes of the model's weights.

    cutoffs: where the vocabulary is cut: the head is the words below cutoffs[0], each tail the words from one
        cutoff to the next (the last to the vocabulary's end). Rising, all below vocabulary_size.
    widths: the width of a word vector in each tail.
    """

    vocabulary_size: int
    emsize: int
    nhid: int
    nlayers: int
    tied: bool
    cutoffs: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Hidden units of each layer. The last is as wide as a word vector where the two must fit."""
        return (*[self.nhid] * (self.nlayers - 1), self.emsize if self.tied else self.nhid)

    @property
    def head(self) -> int:
        """How many words the head holds."""
        return self.cutoffs[0] if self.cutoffs else self.vocabulary_size

    @property
    def tails(self) -> list[tuple[int, int, int]]:
        """Of each tail, its first word, the word after its last, and the width of its vectors."""
        edges = (*self.cutoffs, self.vocabulary_size)
        return list(zip(edges[:-1], edges[1:], self.widths, strict=True))


@dataclass(frozen=True)
class Dropout:
    """Shares dropped while training.

    words: of the vocabulary, as whole vectors. inputs, between, outputs: of activations before the first
        layer, between layers, after the last. weights: of each layer's recurrent matrix.
    locked: one mask for all rows of a batch, rather than one for each.
    """

    words: float = 0.0
    inputs: float = 0.0
    between: float = 0.0
    outputs: float = 0.0
    weights: float = 0.0
    locked: bool = False


class WordVectors(nn.Module):
    """A vector for each word, all `width` wide when they come out.

    A tail's vectors are kept narrow and widened by a matrix of its own: words (n, d) @ widen (d, width).
    sparse: gradients hold the rows of the words that were read and no others; not for vectors that a softmax
        reads whole.
    """

    def __init__(self, shape: Shape, width: int, *, sparse: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.sparse = sparse
        self.head = nn.Parameter(torch.empty(shape.head, width).uniform_(-0.1, 0.1))
        self.tails = nn.ParameterList(
            torch.empty(end - start, narrow).uniform_(-0.1, 0.1) for start, end, narrow in shape.tails
        )
        self.widen = nn.ParameterList(
            torch.empty(narrow, width).normal_(0, 1 / math.sqrt(narrow)) for _, _, narrow in shape.tails
        )

    def forward(self, words: Tensor) -> Tensor:
        """The vectors (..., width) of word numbers (...)."""
        flat = words.flatten()
        vectors = functional.embedding(flat.clamp(max=self.shape.head - 1), self.head, sparse=self.sparse)
        for (start, end, _), tail, widen in zip(self.shape.tails, self.tails, self.widen, strict=True):
            where = ((flat >= start) & (flat < end)).nonzero().flatten()
            narrow = functional.embedding(flat[where] - start, tail, sparse=self.sparse)
            vectors = vectors.index_copy(0, where, narrow @ widen)
        return vectors.view(*words.shape, -1)


class Softmax(nn.Module):
    """The distribution over the vocabulary, given an activation.

    The head is a softmax over its words and one outcome for each tail; a tail is a softmax over its own
    words, so P(word) = P(tail) P(word | tail).
    """

    clusters: nn.Parameter | None

    def __init__(self, vectors: WordVectors) -> None:
        super().__init__()
        shape, width = vectors.shape, vectors.head.shape[1]
        self.shape = shape
        self.vectors = vectors
        clusters = nn.Parameter(torch.empty(len(shape.tails), width).uniform_(-0.1, 0.1))
        self.register_parameter("clusters", clusters if shape.tails else None)
        self.bias = nn.Parameter(torch.zeros(shape.head + len(shape.tails)))
        self.tail_bias = nn.ParameterList(torch.zeros(end - start) for start, end, _ in shape.tails)

    def expect(self, counts: Tensor) -> None:
        """Begin with each word as likely as its count (vocabulary) makes it, whatever the activation.

        Training then starts with the perplexity of word frequencies rather than with the vocabulary's size.
        """
        logs = counts.clamp(min=0.5).log()
        whole = logs.logsumexp(0)
        with torch.no_grad():
            self.bias[: self.shape.head] = logs[: self.shape.head] - whole
            for tail, (start, end, _) in enumerate(self.shape.tails):
                within = logs[start:end].logsumexp(0)
                self.tail_bias[tail].copy_(logs[start:end] - within)
                self.bias[self.shape.head + tail] = within - whole

    def head_scores(self, hidden: Tensor) -> Tensor:
        """Scores (n, head + tails) from activations (n, width)."""
        vectors = self.vectors
        weight = vectors.head if self.clusters is None else torch.cat([vectors.head, self.clusters])
        return functional.linear(hidden, weight, self.bias)

    def tail_scores(self, tail: int, hidden: Tensor) -> Tensor:
        """Scores (n, words of the tail) from activations (n, width)."""
        narrow = functional.linear(hidden, self.vectors.widen[tail])
        return functional.linear(narrow, self.vectors.tails[tail], self.tail_bias[tail])

    def loss(self, hidden: Tensor, words: Tensor) -> Tensor:
        """The negative log likelihood, in nats and summed, of `words` (n) given activations (n, width)."""
        outcome = words
        total = hidden.new_zeros(())
        for tail, (start, end, _) in enumerate(self.shape.tails):
            where = ((words >= start) & (words < end)).nonzero().flatten()
            outcome = outcome.index_fill(0, where, self.shape.head + tail)
            scores = self.tail_scores(tail, hidden[where])
            total = total + functional.cross_entropy(scores, words[where] - start, reduction="sum")
        return total + functional.cross_entropy(self.head_scores(hidden), outcome, reduction="sum")

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Log probabilities (n, vocabulary) given activations (n, width)."""
        head = functional.log_softmax(self.head_scores(hidden), 1)
        words = [head[:, : self.shape.head]]
        for tail in range(len(self.shape.tails)):
            within = functional.log_softmax(self.tail_scores(tail, hidden), 1)
            words.append(head[:, self.shape.head + tail, None] + within)
        return torch.cat(words, 1)


class LanguageModel(nn.Module):
    """Word vectors, LSTM layers and a softmax. Weights begin as in PyTorch's word_language_model example."""

    def __init__(self, shape: Shape, dropout: Dropout | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout or Dropout()
        self.encoder = WordVectors(shape, shape.emsize, sparse=not shape.tied)
        inputs = (shape.emsize, *shape.layer_widths[:-1])
        self.layers = nn.ModuleList(map(nn.LSTM, inputs, shape.layer_widths))
        self.decoder = Softmax(self.encoder if shape.tied else WordVectors(shape, shape.layer_widths[-1]))

    def read(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Activations (rows, columns, width) after each of `words` (rows, columns), and the state after.

        For use after eval(): nothing is dropped.
        """
        hidden = self.encoder(words)
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            hidden, memory = layer(hidden, before)
            after.append(memory)
        return hidden, after

    def forward(self, words: Tensor, targets: Tensor, state: State) -> tuple[Tensor, list[Tensor], State]:
        """The training pass, with dropout, over `words` and the `targets` after them (both rows, columns).

        Returns the loss of all targets, summed, in nats; what regularisation of activations needs, which is
        the last layer's output (rows, columns, width) after and before its dropout; and the state after, cut
        off from the graph, so that gradients reach back as far as `words` do.
        """
        drop = self.dropout
        hidden = self._drop(self._drop_words(words), drop.inputs)
        after: State = []
        for layer, before in zip(self.layers, state, strict=True):
            if after:
                hidden = self._drop(hidden, drop.between)
            hidden, (h, c) = self._run(layer, hidden, before)
            after.append((h.detach(), c.detach()))
        output = self._drop(hidden, drop.outputs)
        loss = self.decoder.loss(output.flatten(0, 1), targets.flatten())
        return loss, [output, hidden], after

    def start(self, columns: int) -> State:
        """The state before any word: zeros."""
        bias = self.decoder.bias
        return [(zeros, zeros) for zeros in (bias.new_zeros(1, columns, w) for w in self.shape.layer_widths)]

    def count_parameters(self) -> int:
        """Trained numbers; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _drop(self, values: Tensor, share: float) -> Tensor:
        """Dropout of (rows, columns, width), by the same mask in every row when it is locked."""
        if not (self.training and share):
            return values
        return values * mask(values[:1] if self.dropout.locked else values, share)

    def _drop_words(self, words: Tensor) -> Tensor:
        """The vectors of words, those of a share of the vocabulary zero throughout the batch."""
        vectors: Tensor = self.encoder(words)
        share = self.dropout.words
        if not (self.training and share):
            return vectors
        kept = mask(vectors.new_empty(self.shape.vocabulary_size, 1), share)
        return vectors * functional.embedding(words, kept)

    def _run(
        self, layer: nn.Module, inputs: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One layer over (rows, columns, width), a share of its recurrent weights zero throughout."""
        share = self.dropout.weights
        if not (self.training and share):
            return layer(inputs, state)  # type: ignore[no-any-return]
        recurrent = layer.get_parameter("weight_hh_l0")
        dropped = {"weight_hh_l0": recurrent * mask(recurrent, share)}
        return torch.func.functional_call(layer, dropped, (inputs, state))  # type: ignore[no-any-return]


def mask(like: Tensor, share: float) -> Tensor:
    """What dropout multiplies a tensor of `like`'s shape with: zeros for a share of its numbers, taken to the
    nearest 1/65,536, and for the others what keeps their sum the same on average.

    torch's own dropout draws a number from the generator for each place, which on a processor took 7 % of a
    training step; here one of 64 bits serves four places.
    """
    places = like.numel()
    drawn = torch.empty(-(-places // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    dropped = min(round(share * 2**16), 2**16 - 1)
    kept = drawn.view(torch.int16)[:places].view(like.shape) >= dropped - 2**15
    return kept.to(like.dtype).mul_(2**16 / (2**16 - dropped))


def save_weights(model: LanguageModel, path: Path) -> None:
    """Plain CPU tensors by name, put in place whole: a job stopped mid-write keeps the previous file.

    The copy, rather than a tensor-by-tensor move, keeps tied matrices one matrix on disk.
    """
    state = dict(copy.deepcopy(model).cpu().state_dict())
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_weights(model: LanguageModel, path: Path) -> None:
    """Fill the model from `save_weights`'s file, on whatever device the model is. Runs no code from the
    file."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def save_config(path: Path, shape: Shape, tokenizer: str, extra: dict[str, Any]) -> None:
    """Everything but the weights and the words that serving needs; `extra` is for people to read."""
    document = {**extra, **asdict(shape), "tokenizer": tokenizer, "format": FORMAT}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def load(directory: Path) -> tuple[LanguageModel, dict[str, Any]]:
    """The model of an artifact, ready to read with, and its configuration.

    Raises UserError for an artifact of another version than this code's.
    """
    config: dict[str, Any] = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    found = config.get("format", 1)
    if found != FORMAT:
        age = "an older" if found < FORMAT else "a newer"
        raise UserError(
            f"The artifact in {directory} has format {found}, of {age} version of Lexline; this one reads "
            f"format {FORMAT}. Serve it with the code in its own code/ folder, or train it again."
        )
    sizes = {name: config[name] for name in Shape.__dataclass_fields__}
    shape = Shape(**{**sizes, "cutoffs": tuple(sizes["cutoffs"]), "widths": tuple(sizes["widths"])})
    model = LanguageModel(shape)
    load_weights(model, directory / WEIGHTS)
    model.eval()
    return model, config
