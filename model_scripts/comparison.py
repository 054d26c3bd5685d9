"""Compare the challenger, the model that a job trained, with the champion, the model in service.

Each model knows the words of its own training text and reads all others as <unk>. If <unk> counted as one
word, a model with a small vocabulary would have an advantage, because it need not say which word it means. So
both must predict the exact words of the test split, out of one set of words:

    V* = the champion's vocabulary, the challenger's, and the distinct words of the test split

A model with vocabulary V does not know n = |V*| - |V| + 1 words of V*: those outside V, and <unk> itself,
which a text may contain literally. The model does not distinguish these n words, so each gets an equal part:

    P*(w) = P(w)           for the words that the model knows
    P*(w) = P(<unk>) / n   for the n words that it does not know

P* sums to 1 over V* for either model, and an unknown word costs log n nats more than the model's <unk>. Both
models are scored on the same tokens, read in the same columns (perplexity.py):

    perplexity = exp(mean loss + share of <unk> * log n)

The loss and the share are those of the text in the model's own numbers. If the model knows every word of the
test split, the figure is its test_perplexity. OpenGrm's ngramperplexity divides <unk> in the same way
(OOV_class_size).

Nobody can tell whether the champion was trained on lines that are now in the test split. If it was, the
figures favour the champion.

A champion that cannot be scored is incomparable, for a stated reason. It never fails the job.
"""

import contextlib
import gzip
import json
import math
import shutil
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
"""The files of an artifact that are unpacked."""

MOST_BYTES = 2**32
"""Limit of an unpacked artifact: a billion weights, or a seventh of the job's volume of 30 GB."""

BLOCK_BYTES = 2**20

FEW_TOKENS = 10_000
"""With fewer tokens a difference may be chance.

If the difference of the two models' losses varies by 1 nat from token to token, then over so many tokens its
standard error is 1 / sqrt(10,000) = 0.01 nats, or 1 % of the perplexity.
"""


@dataclass(frozen=True)
class Judged:
    """The score of one model. unknown_share: the share of the test split's tokens that it reads as <unk>."""

    perplexity: float
    vocabulary_size: int
    tokenizer: str
    unknown_share: float


@dataclass(frozen=True)
class Comparison:
    """Both scores.

    Attributes:
        champion: The score of the model in service.
        challenger: The score of the job's model.
        words: The size of V*.
        tokens: The number of tokens of the test split.
        notes: Sentences that say what limits the figures.
    """

    champion: Judged
    challenger: Judged
    words: int
    tokens: int
    notes: list[str]

    def document(self) -> dict[str, Any]:
        """Return the comparison's entry in metrics.json."""
        return {"comparable": True, **asdict(self)}

    def log(self) -> None:
        """Log the outcome in one line."""
        log_values(
            champion_perplexity=f"{self.champion.perplexity:.4f}",
            challenger_perplexity=f"{self.challenger.perplexity:.4f}",
        )


@dataclass(frozen=True)
class Incomparable:
    """The outcome if the models cannot be compared. reason: a sentence."""

    reason: str

    def document(self) -> dict[str, Any]:
        """Return the comparison's entry in metrics.json."""
        return {"comparable": False, "reason": self.reason}

    def log(self) -> None:
        """Log the outcome in one line."""
        log_values(champion="incomparable", reason=quoted(self.reason))


@dataclass(frozen=True)
class _Champion:
    """What every rank needs to score the champion.

    Attributes:
        shape: The sizes of its model.
        tokens: The test split in its numbers.
        words: The size of V*.
        unknown_in_text: The share of tokens that are <unk> in the text itself.
    """

    shape: Shape
    tokens: TokenIds
    words: int
    unknown_in_text: float


def compare(
    folder: Path, channel: Path, text: Corpus, test_loss: float, device: torch.device
) -> Comparison | Incomparable:
    """Score the champion as the challenger was scored. Every rank calls this and gets the outcome.

    Args:
        folder: Contains the champion's model.tar.gz. Only the first rank reads it.
        channel: The training channel.
        text: The corpus in the challenger's numbers.
        test_loss: The challenger's loss on the test split, in nats per token.
        device: The device of this rank.
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
                f"The {name}'s perplexity on the test split is {judged.perplexity}, which cannot be compared."
            )
    tokens = len(found.tokens)
    notes = _notes(champion, challenger, tokens, found.unknown_in_text)
    return Comparison(champion, challenger, found.words, tokens, notes)


def judge(loss: float, tokens: TokenIds, vocabulary_size: int, tokenizer: str, words: int) -> Judged:
    """Return a model's score.

    Args:
        loss: The model's loss in nats per token.
        tokens: The text in the model's numbers.
        vocabulary_size: The number of words that the model knows.
        tokenizer: The name of the tokenizer that cut the text.
        words: The size of V*.
    """
    unknown_share = _unknown_share(tokens)
    unknown_words = words - vocabulary_size + 1
    return Judged(
        perplexity=perplexity(loss + unknown_share * math.log(unknown_words)),
        vocabulary_size=vocabulary_size,
        tokenizer=tokenizer,
        unknown_share=unknown_share,
    )


def _unknown_share(tokens: TokenIds) -> float:
    return int(np.count_nonzero(tokens == UNKNOWN_ID)) / len(tokens)


def _score(folder: Path, channel: Path, text: Corpus, device: torch.device) -> tuple[_Champion, float]:
    """Return the champion and its loss on the test split, in nats per token. Raises UserError."""
    model, champion = None, None
    with _shared_errors():
        if distributed.is_first():
            model, champion = _read(folder, channel, text)
    champion = distributed.broadcast(champion)
    with _shared_errors():
        model = (model or LanguageModel(champion.shape)).to(device)
    distributed.broadcast_weights(model)
    with _shared_errors():
        own = own_loss(model, champion.tokens)
    return champion, distributed.sum_over_ranks(own) / len(champion.tokens)


@contextlib.contextmanager
def _shared_errors() -> Iterator[None]:
    """Raise an error of any rank on every rank, as a UserError.

    Otherwise the other ranks would wait for ever. The code inside must not wait for another rank.
    """
    with distributed.shared_errors():
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # different errors, depending on which bytes are wrong
            raise UserError(f"The champion cannot be read and scored ({summary(error)}).") from error


def _read(folder: Path, channel: Path, text: Corpus) -> tuple[LanguageModel, _Champion]:
    """Return the champion, on the CPU. Raises UserError if it cannot be compared, other errors if damaged."""
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
        unknown_in_text=_unknown_share(wording.indices),
    )


def unpack(archive: Path, directory: Path) -> None:
    """Unpack the NEEDED files of a model.tar.gz into a folder.

    Read the archive to its end, where gzip has a checksum: weights with a flipped bit would load and score
    badly.

    Raises:
        UserError: A file is missing, or the archive is larger than MOST_BYTES.
        Exception: The archive is damaged (errors of gzip, zlib and tarfile).
    """
    if not archive.is_file():
        raise UserError(f"The champion channel contains no {archive.name}.")
    left = MOST_BYTES
    with gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                left -= member.size
                if left < 0:
                    break
                name = str(PurePosixPath(member.name))
                content = tar.extractfile(member) if name in NEEDED and member.isfile() else None
                if content:
                    with (directory / name).open("wb") as file:
                        shutil.copyfileobj(content, file)
        while left >= 0 and (block := stream.read(BLOCK_BYTES)):
            left -= len(block)
    if left < 0:
        raise UserError(f"The champion's artifact has more than {MOST_BYTES // 2**30} GiB, unpacked.")
    missing = [name for name in NEEDED if not (directory / name).is_file()]
    if missing:
        raise UserError(
            f"The champion's artifact contains no {', no '.join(missing)}: it is not a model of Lexline."
        )


def _check_config(config: dict[str, Any], tokenizer: str) -> None:
    found = config.get("format", 1)
    if found != FORMAT:
        raise UserError(
            f"The champion's artifact has format {found}, and this version of Lexline reads format {FORMAT}. "
            "Once a model of this version is in service, models can be compared again."
        )
    if config["tokenizer"] != tokenizer:
        raise UserError(
            f"The champion's tokenizer is {config['tokenizer']} and the challenger's is {tokenizer}, so "
            "their tokens differ and perplexities per token cannot be compared. To compare them, train with "
            f"tokenizer {config['tokenizer']}."
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
            f"The champion's vocabulary does not fit its weights: it has {different:,} different words in "
            f"{len(words):,} lines, and the weights are for {size:,} words."
        )


def _notes(champion: Judged, challenger: Judged, tokens: int, unknown_in_text: float) -> list[str]:
    notes = []
    fewer, more = sorted([champion.unknown_share, challenger.unknown_share])
    if more >= 2 * fewer and more - fewer >= 0.01:
        notes.append(
            f"The champion does not know {champion.unknown_share:.1%} of the test split's tokens, the "
            f"challenger {challenger.unknown_share:.1%}: the figures mostly compare which words the models "
            "know."
        )
    if unknown_in_text:
        notes.append(
            f"In the text of the test split, {unknown_in_text:.1%} of the tokens are {UNKNOWN}. They count "
            "as words that neither model knows, which favours the model with the larger vocabulary."
        )
    if tokens < FEW_TOKENS:
        notes.append(
            f"The test split has only {tokens:,} tokens: a difference of a few per cent may be chance."
        )
    return notes
