"""The model that a job trained, the challenger, against the model that serves now, the champion.

Each knows the words of its own training text and calls all others <unk>. Where <unk> counts as one word, a
model that knows little has an easy time: it need not say which word it means. So both are asked for the very
words of the test split, out of one set of words:

    V* = the champion's vocabulary, the challenger's, and the distinct words of the test split

Of V*, a model with vocabulary V does not know n = |V*| - |V| + 1 words: those outside V, and <unk> itself,
which a text may hold literally. It says nothing about which of these n it means, so each gets an equal part:

    P*(w) = P(w)           for the words it knows
    P*(w) = P(<unk>) / n   for the n it does not

Over V*, P* sums to 1 for either model, and what a model does not know costs it log n nats beyond its <unk>.
Both are judged by the same function of the same tokens, read in the same columns (perplexity.py):

    perplexity = exp(mean loss + share of <unk> * log n)

where loss and share are over the tokens as the model numbers them. It is test_perplexity where the model
knows every word of the test split. OpenGrm's ngramperplexity shares <unk> out likewise (OOV_class_size).

What cannot be known here: whether the champion was trained on lines that are now in the test split. If it
was, the figures favour the champion, never the challenger.

A champion that cannot be judged is said to be incomparable, with the reason. It never ends the job.
"""

import contextlib
import gzip
import json
import math
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

import corpus
import distributed
import language_model
from corpus import Corpus
from job_log import log_values, quoted, summary
from language_model import CONFIG, FORMAT, VOCABULARY, WEIGHTS, LanguageModel, Shape
from perplexity import own_loss, perplexity
from user_error import UserError
from vocabulary import END_OF_LINE, UNKNOWN, UNKNOWN_ID, TokenIds, Vocabulary

ARTIFACT = "model.tar.gz"

NEEDED = (CONFIG, VOCABULARY, WEIGHTS)
"""What of an artifact makes its model; nothing else is unpacked."""

MOST_BYTES = 2**32
"""Of an artifact's files, unpacked: room for a billion weights, in a seventh of the job's volume of 30 GB."""

BLOCK_BYTES = 2**20

FEW_TOKENS = 10_000
"""A difference that scatters by 1 nat from token to token has by then a standard error of 0.01, or 1 % of the
perplexity (the standard deviation over the root of the count)."""


@dataclass(frozen=True)
class Judged:
    """One model on the common terms. unknown_share: of the test split's tokens, those it reads as <unk>."""

    perplexity: float
    vocabulary_size: int
    tokenizer: str
    unknown_share: float


@dataclass(frozen=True)
class Comparison:
    """words: of V*. tokens: of the test split. notes: sentences on what qualifies the figures."""

    champion: Judged
    challenger: Judged
    words: int
    tokens: int
    notes: list[str]

    def document(self) -> dict[str, Any]:
        """What metrics.json tells of it."""
        return {"comparable": True, **asdict(self)}

    def announce(self) -> None:
        log_values(
            champion_perplexity=f"{self.champion.perplexity:.4f}",
            challenger_perplexity=f"{self.challenger.perplexity:.4f}",
        )


@dataclass(frozen=True)
class Incomparable:
    """reason: a sentence."""

    reason: str

    def document(self) -> dict[str, Any]:
        """What metrics.json tells of it."""
        return {"comparable": False, "reason": self.reason}

    def announce(self) -> None:
        log_values(champion="incomparable", reason=quoted(self.reason))


@dataclass(frozen=True)
class _Champion:
    """What every rank must know of the champion to score it.

    tokens: the test split in its numbers. words: how many V* holds. unknown_in_text: the share of tokens that
    the text itself spells <unk>.
    """

    shape: Shape
    tokens: TokenIds
    words: int
    unknown_in_text: float


def compare(
    folder: Path, channel: Path, text: Corpus, test_loss: float, device: torch.device
) -> Comparison | Incomparable:
    """Score the champion as the challenger was scored. Called by all ranks alike; every one gets the outcome.

    folder: where the champion's model.tar.gz lies; the first rank reads it. channel, text: the training
    channel, and the corpus in the challenger's numbers. test_loss: the challenger's, in nats per token.
    device: where this rank computes.
    """
    try:
        found, loss = _score(folder, channel, text, device)
    except UserError as error:
        return Incomparable(str(error))
    champion = judge(loss, found.tokens, found.shape.vocabulary_size, text.tokenizer, found.words)
    challenger = judge(test_loss, text.splits["test"], len(text.vocabulary), text.tokenizer, found.words)
    for name, judged in (("champion", champion), ("challenger", challenger)):
        if not math.isfinite(judged.perplexity):
            return Incomparable(
                f"The {name}'s perplexity on the test split is {judged.perplexity}, which compares with "
                "nothing."
            )
    tokens = len(found.tokens)
    notes = _notes(champion, challenger, tokens, found.unknown_in_text)
    return Comparison(champion, challenger, found.words, tokens, notes)


def judge(loss: float, tokens: TokenIds, vocabulary_size: int, tokenizer: str, words: int) -> Judged:
    """A model on the common terms, given its loss in nats per token.

    tokens: the text in the model's numbers. words: how many V* holds, the model's own among them.
    """
    unknown_share = _unknown_share(tokens)
    not_known = words - vocabulary_size + 1
    return Judged(
        perplexity=perplexity(loss + unknown_share * math.log(not_known)),
        vocabulary_size=vocabulary_size,
        tokenizer=tokenizer,
        unknown_share=unknown_share,
    )


def _unknown_share(tokens: TokenIds) -> float:
    return int(np.count_nonzero(tokens == UNKNOWN_ID)) / len(tokens)


def _score(folder: Path, channel: Path, text: Corpus, device: torch.device) -> tuple[_Champion, float]:
    """The champion, and its loss on the test split in nats per token. Raises UserError, on all ranks."""
    model, champion = None, None
    with _agreed():
        if distributed.is_first():
            model, champion = _read(folder, channel, text)
    champion = distributed.from_first(champion)
    with _agreed():
        model = (model or LanguageModel(champion.shape)).to(device)
    distributed.copy_first(model)
    with _agreed():
        own = own_loss(model, champion.tokens)
    return champion, distributed.total(own) / len(champion.tokens)


@contextlib.contextmanager
def _agreed() -> Iterator[None]:
    """What goes wrong within it on any rank is raised on every one, as a UserError: the others would wait for
    that rank for ever. Nothing within it may wait for another rank."""
    with distributed.together():
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # what is raised depends on which bytes are wrong
            raise UserError(f"The champion cannot be read and scored ({summary(error)}).") from error


def _read(folder: Path, channel: Path, text: Corpus) -> tuple[LanguageModel, _Champion]:
    """The champion on the processor. Raises UserError where it does not compare, and what its bytes cause."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        unpack(folder / ARTIFACT, directory)
        _check_config(json.loads((directory / CONFIG).read_text(encoding="utf-8")), text.tokenizer)
        model, _ = language_model.load(directory)
        known = Vocabulary.load(directory / VOCABULARY)
    _check_vocabulary(known.words, model.shape.vocabulary_size)
    wording = corpus.read_split(channel, "test", text.tokenizer)
    return model, _Champion(
        shape=model.shape,
        tokens=wording.in_numbers_of(known),
        words=len({*known.words, *text.vocabulary.words, *wording.words}),
        unknown_in_text=_unknown_share(wording.places),
    )


def unpack(archive: Path, directory: Path) -> None:
    """The NEEDED files of a model.tar.gz, into a folder. Raises UserError, and what damaged archives cause.

    The archive is read to its end, where gzip has a checksum: a weight with a bit flipped would load, and
    score badly.
    """
    if not archive.is_file():
        raise UserError(f"The champion channel holds no {archive.name}.")
    left = MOST_BYTES
    with gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                left -= member.size
                if left < 0:
                    break
                if str(PurePosixPath(member.name)) in NEEDED and member.isfile():
                    tar.extract(member, directory, set_attrs=False, filter="data")
        while left >= 0 and (block := stream.read(BLOCK_BYTES)):
            left -= len(block)
    if left < 0:
        raise UserError(f"The champion's artifact holds more than {MOST_BYTES // 2**30} GiB, unpacked.")
    missing = [name for name in NEEDED if not (directory / name).is_file()]
    if missing:
        raise UserError(
            f"The champion's artifact holds no {', no '.join(missing)}: it is no model of Lexline."
        )


def _check_config(config: dict[str, Any], tokenizer: str) -> None:
    found = config.get("format", 1)
    if found != FORMAT:
        raise UserError(
            f"The champion's artifact has format {found}, and this version of Lexline reads format {FORMAT}: "
            "models compare again once one of this version serves."
        )
    if config["tokenizer"] != tokenizer:
        raise UserError(
            f"The champion cuts text by the tokenizer {config['tokenizer']} and the challenger by "
            f"{tokenizer}: their tokens differ, and perplexities per token do not compare. Train with "
            f"tokenizer {config['tokenizer']} to compare the two."
        )


def _check_vocabulary(words: list[str], size: int) -> None:
    if words[:2] != [UNKNOWN, END_OF_LINE]:
        raise UserError(
            f"The champion's vocabulary begins with {', '.join(words[:2])}, "
            f"not with {UNKNOWN} and {END_OF_LINE}."
        )
    different = len(set(words))
    if not different == len(words) == size:
        raise UserError(
            f"The champion's vocabulary does not fit its weights: it lists {different:,} different words in "
            f"{len(words):,} lines, and the weights are for {size:,}."
        )


def _notes(champion: Judged, challenger: Judged, tokens: int, unknown_in_text: float) -> list[str]:
    notes = []
    fewer, more = sorted([champion.unknown_share, challenger.unknown_share])
    if more >= 2 * fewer and more - fewer >= 0.01:
        notes.append(
            f"The champion does not know {champion.unknown_share:.1%} of the test split's tokens, the "
            f"challenger {challenger.unknown_share:.1%}: which words they know is a good part of what these "
            "figures compare."
        )
    if unknown_in_text:
        notes.append(
            f"The test split itself spells {unknown_in_text:.1%} of its tokens {UNKNOWN}; they count as "
            "words that neither model knows, which favours the one with the larger vocabulary."
        )
    if tokens < FEW_TOKENS:
        notes.append(
            f"The test split has only {tokens:,} tokens: a difference of a few per cent may be chance."
        )
    return notes
