"""A word-level LSTM language model, and the weights and configuration of its artifact.

    word numbers (rows, columns) -> word vectors -> LSTM layers -> a distribution over the vocabulary

Rows are time; columns are independent texts that are read side by side. Words are numbered by falling
frequency (vocabulary.py). `cutoffs` cut the vocabulary into a head of frequent words and tails of rare ones:

    word      0 ........ 399 | 400 ...... 1,999 | 2,000 ...... 5,999      cutoffs (400, 2000)
    vectors   emsize wide    | widths[0]        | widths[1]

A tail's narrow vectors and its separate softmax make rare words cheap. Without cutoffs there is no tail, and
this is the plain model with a full softmax.

    LSTM language model     Zaremba et al., arXiv 1409.2329; PyTorch's word_language_model example
    adaptive softmax        Grave et al., arXiv 1609.04309
    adaptive word vectors   Baevski and Auli, arXiv 1809.10853
    tied weights            Press and Wolf, arXiv 1608.05859
    locked dropout          Gal and Ghahramani, arXiv 1512.05287
    dropped weights         Merity et al., arXiv 1708.02182
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from user_error import UserError

State = list[tuple[Tensor, Tensor]]
"""The LSTM's state after a word: each layer's hidden and cell activations, each (1, columns, width)."""

FORMAT = 2
"""Version of the artifact. `load` refuses other versions."""

WEIGHTS = "model.pt"
VOCABULARY = "vocabulary"
CONFIG = "config.json"


@dataclass(frozen=True)
class Shape:
    """The sizes of the model's weights.

    Attributes:
        vocabulary_size: The number of words.
        emsize: Width of a word vector in the head.
        nhid: Hidden units of an LSTM layer.
        nlayers: The number of LSTM layers.
        tied: Whether one matrix reads words and predicts them.
        cutoffs: The first word of each tail, in rising order.
        widths: Width of a word vector in each tail.
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
        """Hidden units of each layer. In a tied model the last layer is as wide as a word vector."""
        return (*[self.nhid] * (self.nlayers - 1), self.emsize if self.tied else self.nhid)

    @property
    def head(self) -> int:
        """The number of words in the head."""
        return self.cutoffs[0] if self.cutoffs else self.vocabulary_size

    @property
    def tails(self) -> list[tuple[int, int, int]]:
        """Each tail's first word, the word after its last, and the width of its vectors."""
        edges = (*self.cutoffs, self.vocabulary_size)
        return list(zip(edges[:-1], edges[1:], self.widths, strict=True))

    def places_in_tails(self, words: Tensor) -> list[Tensor]:
        """Return, for each tail, the places of its words in `words` (n). On a GPU, the host waits."""
        return [((words >= start) & (words < end)).nonzero().flatten() for start, end, _ in self.tails]


@dataclass(frozen=True)
class Batch:
    """The words of a training step and those that follow them, on the model's device.

    The places of each tail's words come along, found on the CPU. To find them on a GPU, each step would have
    to wait for it.

    Attributes:
        words: The words to read (rows, columns).
        targets: The words after them (rows, columns).
        word_places: For each tail, the places of its words in `words.flatten()`.
        target_places: For each tail, the places of its words in `targets.flatten()`.
    """

    words: Tensor
    targets: Tensor
    word_places: Sequence[Tensor]
    target_places: Sequence[Tensor]

    @classmethod
    def of(cls, numbers: Tensor, shape: Shape, device: torch.device) -> "Batch":
        """Copy rows of word numbers (rows + 1, columns) to a device, at once and without waiting for it."""
        of_words = shape.places_in_tails(numbers[:-1].flatten())
        of_targets = shape.places_in_tails(numbers[1:].flatten())
        parts = [numbers.flatten(), *of_words, *of_targets]
        together = torch.cat(parts)
        if device.type != "cpu":
            # A copy from memory that may be swapped out would wait.
            together = together.pin_memory()
        moved = together.to(device, non_blocking=True)
        flat, *places = torch.split(moved, [len(part) for part in parts])
        rows = flat.view(numbers.shape)
        return cls(rows[:-1], rows[1:], places[: len(of_words)], places[len(of_words) :])


@dataclass(frozen=True)
class Dropout:
    """The shares to drop in training, each from 0 to below 1.

    Attributes:
        words: Share of the vocabulary, dropped as whole word vectors.
        inputs: Share of the activations before the first layer.
        between: Share of the activations between two layers.
        outputs: Share of the activations after the last layer.
        weights: Share of each layer's recurrent matrix.
        locked: Whether all rows of a batch have one mask, rather than one each.
    """

    words: float = 0.0
    inputs: float = 0.0
    between: float = 0.0
    outputs: float = 0.0
    weights: float = 0.0
    locked: bool = False


class WordVectors(nn.Module):
    """A vector of `width` numbers for each word (Baevski and Auli, arXiv 1809.10853).

    A tail keeps narrow vectors and a matrix that widens them: (n, narrow) @ (narrow, width).

    With `sparse`, gradients on the CPU hold only the rows of the words that were read. It cannot be used for
    vectors of which a softmax reads all. On a GPU, gradients are dense: to merge the rows of a sparse one,
    the host would wait for the GPU, which adds a few million zeros in less time.
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

    def forward(self, words: Tensor, places: Sequence[Tensor] | None = None) -> Tensor:
        """Return the vectors (..., width) of word numbers (...). places: as in Batch, if they are known."""
        flat = words.flatten()
        sparse = self.sparse and flat.device.type == "cpu"
        vectors = functional.embedding(flat.clamp(max=self.shape.head - 1), self.head, sparse=sparse)
        found = self.shape.places_in_tails(flat) if places is None else places
        for (start, _, _), tail, widen, where in zip(
            self.shape.tails, self.tails, self.widen, found, strict=True
        ):
            narrow = functional.embedding(flat[where] - start, tail, sparse=sparse)
            vectors = vectors.index_copy(0, where, narrow @ widen)
        return vectors.view(*words.shape, -1)


class Softmax(nn.Module):
    """The distribution over the vocabulary, given an activation (Grave et al., arXiv 1609.04309).

    The head is a softmax over its words and one more outcome for each tail. A tail is a softmax over its own
    words:

        P(word) = P(tail) P(word | tail)
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

    def set_frequencies(self, counts: Tensor) -> None:
        """Set the biases so that each word is as likely as its count (vocabulary).

        The perplexity then starts at that of word frequencies, rather than at the vocabulary's size.
        """
        logs = counts.clamp(min=0.5).log()
        total = logs.logsumexp(0)
        with torch.no_grad():
            self.bias[: self.shape.head] = logs[: self.shape.head] - total
            for tail, (start, end, _) in enumerate(self.shape.tails):
                within = logs[start:end].logsumexp(0)
                self.tail_bias[tail].copy_(logs[start:end] - within)
                self.bias[self.shape.head + tail] = within - total

    def head_scores(self, hidden: Tensor) -> Tensor:
        """Return the score of each word of the head and of each tail as a whole (n, head + tails).

        hidden: Activations (n, width).
        """
        vectors = self.vectors
        weight = vectors.head if self.clusters is None else torch.cat([vectors.head, self.clusters])
        return functional.linear(hidden, weight, self.bias)

    def tail_scores(self, tail: int, hidden: Tensor) -> Tensor:
        """Return the score of each word of a tail (n, words of the tail).

        hidden: Activations (n, width).
        """
        narrow = functional.linear(hidden, self.vectors.widen[tail])
        return functional.linear(narrow, self.vectors.tails[tail], self.tail_bias[tail])

    def loss(self, hidden: Tensor, words: Tensor, places: Sequence[Tensor] | None = None) -> Tensor:
        """Return the negative log likelihood of `words` (n) given activations (n, width): nats, summed.

        places: as in Batch, if they are known.
        """
        outcome = words
        total = hidden.new_zeros(())
        found = self.shape.places_in_tails(words) if places is None else places
        for tail, ((start, _, _), where) in enumerate(zip(self.shape.tails, found, strict=True)):
            outcome = outcome.index_fill(0, where, self.shape.head + tail)
            scores = self.tail_scores(tail, hidden[where])
            total = total + functional.cross_entropy(scores, words[where] - start, reduction="sum")
        return total + functional.cross_entropy(self.head_scores(hidden), outcome, reduction="sum")

    def losses(self, hidden: Tensor, words: Tensor) -> Tensor:
        """Return the negative log likelihood of each of `words` (n), in nats, as `loss` sums them."""
        outcome = words
        within = hidden.new_zeros(len(words))
        found = self.shape.places_in_tails(words)
        for tail, ((start, _, _), where) in enumerate(zip(self.shape.tails, found, strict=True)):
            outcome = outcome.index_fill(0, where, self.shape.head + tail)
            scores = self.tail_scores(tail, hidden[where])
            within[where] = functional.cross_entropy(scores, words[where] - start, reduction="none")
        return within + functional.cross_entropy(self.head_scores(hidden), outcome, reduction="none")

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Return log probabilities (n, vocabulary) given activations (n, width)."""
        head = functional.log_softmax(self.head_scores(hidden), 1)
        words = [head[:, : self.shape.head]]
        for tail in range(len(self.shape.tails)):
            within = functional.log_softmax(self.tail_scores(tail, hidden), 1)
            words.append(head[:, self.shape.head + tail, None] + within)
        return torch.cat(words, 1)


class LanguageModel(nn.Module):
    """Word vectors, LSTM layers and a softmax, initialised as in PyTorch's word_language_model."""

    def __init__(self, shape: Shape, dropout: Dropout | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout or Dropout()
        self.encoder = WordVectors(shape, shape.emsize, sparse=not shape.tied)
        inputs = (shape.emsize, *shape.layer_widths[:-1])
        self.layers = nn.ModuleList(map(nn.LSTM, inputs, shape.layer_widths))
        self.decoder = Softmax(self.encoder if shape.tied else WordVectors(shape, shape.layer_widths[-1]))

    def read(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the activations (rows, columns, width) after each of `words` (rows, columns), and the state.

        Call eval() first. Nothing is dropped.
        """
        hidden = self.encoder(words)
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            hidden, memory = layer(hidden, before)
            after.append(memory)
        return hidden, after

    def forward(self, batch: Batch, state: State) -> tuple[Tensor, list[Tensor], State]:
        """Run the training pass, with dropout. The host does not wait for the device.

        Args:
            batch: The words to read, and the words after them.
            state: The state before the first row.

        Returns:
            The loss of all targets, in nats and summed; the last layer's output (rows, columns, width) after
            and before its dropout, for regularisation; and the state after the last row, detached, so that
            gradients flow back no further than the batch.
        """
        drop = self.dropout
        hidden = self._drop(self._drop_words(batch.words, batch.word_places), drop.inputs)
        after: State = []
        for layer, before in zip(self.layers, state, strict=True):
            if after:
                hidden = self._drop(hidden, drop.between)
            hidden, (h, c) = self._run(layer, hidden, before)
            after.append((h.detach(), c.detach()))
        output = self._drop(hidden, drop.outputs)
        loss = self.decoder.loss(output.flatten(0, 1), batch.targets.flatten(), batch.target_places)
        return loss, [output, hidden], after

    def start(self, columns: int) -> State:
        """Return the state before any word: zeros."""
        bias = self.decoder.bias
        return [(zeros, zeros) for zeros in (bias.new_zeros(1, columns, w) for w in self.shape.layer_widths)]

    def of_rare_words(self) -> list[nn.Parameter]:
        """Return the vectors and biases of the words in tails."""
        vectors = [self.encoder] if self.shape.tied else [self.encoder, self.decoder.vectors]
        return [*self.decoder.tail_bias, *(tail for one in vectors for tail in one.tails)]

    def count_parameters(self) -> int:
        """Return the number of trained numbers. A tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _drop(self, values: Tensor, share: float) -> Tensor:
        """Return (rows, columns, width). In training, with dropout; if locked, with one mask for all rows."""
        if not (self.training and share):
            return values
        return values * mask(values[:1] if self.dropout.locked else values, share)

    def _drop_words(self, words: Tensor, places: Sequence[Tensor]) -> Tensor:
        """Return the words' vectors.

        In training, the vectors of randomly chosen words are zero: the same words in the whole batch.
        """
        vectors: Tensor = self.encoder(words, places)
        share = self.dropout.words
        if not (self.training and share):
            return vectors
        kept = mask(vectors.new_empty(self.shape.vocabulary_size, 1), share)
        return vectors * functional.embedding(words, kept)

    def _run(
        self, layer: nn.Module, inputs: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run a layer over (rows, columns, width). A share of its recurrent weights is zero in all rows."""
        share = self.dropout.weights
        if not (self.training and share):
            return layer(inputs, state)  # type: ignore[no-any-return]
        recurrent = layer.get_parameter("weight_hh_l0")
        dropped = {"weight_hh_l0": recurrent * mask(recurrent, share)}
        return torch.func.functional_call(layer, dropped, (inputs, state))  # type: ignore[no-any-return]


def mask(like: Tensor, share: float) -> Tensor:
    """Return a dropout mask: 0 for a share of the places, 1 / (1 - share) for the others.

    torch's own dropout draws one random number for each place, which took 7 % of a training step on a CPU.
    Here one random number of 64 bits serves four places.

    Args:
        like: The tensor to mask.
        share: Rounded to the nearest 1/65,536.
    """
    places = like.numel()
    drawn = torch.empty(-(-places // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    dropped = min(round(share * 2**16), 2**16 - 1)
    kept = drawn.view(torch.int16)[:places].view(like.shape) >= dropped - 2**15
    return kept.to(like.dtype).mul_(2**16 / (2**16 - dropped))


def save_weights(model: LanguageModel, path: Path) -> None:
    """Save the weights as plain CPU tensors. A job that is killed meanwhile keeps the previous file.

    Each is a tensor of its own: cuDNN makes an LSTM's weights parts of one buffer, which may be larger than
    they are. Tied matrices stay one.
    """
    own = {weight: weight.detach().clone().cpu() for weight in model.parameters()}
    state = {name: own[weight] for name, weight in model.named_parameters(remove_duplicate=False)}
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_weights(model: LanguageModel, path: Path) -> None:
    """Load what `save_weights` saved into a model on any device. Runs no code from the file."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def save_config(path: Path, shape: Shape, tokenizer: str, extra: dict[str, Any]) -> None:
    """Save what serving needs besides weights and words. `extra` is for people to read."""
    document = {**extra, **asdict(shape), "tokenizer": tokenizer, "format": FORMAT}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def load(directory: Path) -> tuple[LanguageModel, dict[str, Any]]:
    """Return the model of an artifact, in evaluation mode, and its configuration.

    Raises:
        UserError: The artifact has another format than this code.
    """
    config: dict[str, Any] = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    found = config.get("format", 1)
    if found != FORMAT:
        age = "an older" if found < FORMAT else "a newer"
        raise UserError(
            f"The artifact in {directory} has format {found}, of {age} version of Lexline; this version "
            f"reads format {FORMAT}. Serve it with the code in its own code/ folder, or train it again."
        )
    sizes = {name: config[name] for name in Shape.__dataclass_fields__}
    shape = Shape(**{**sizes, "cutoffs": tuple(sizes["cutoffs"]), "widths": tuple(sizes["widths"])})
    model = LanguageModel(shape)
    load_weights(model, directory / WEIGHTS)
    model.eval()
    return model, config
