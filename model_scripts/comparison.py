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

If the tokenizers differ, there is no common set of words. Then both models are scored on the same characters.
A model predicts the text in its own tokens, and spells the words that it does not know:

    P*(w) = P(w)                          for the words that the model knows
    P*(w) = P(<unk>) * Q(spelling of w)   for all others

Q(spelling) is the product of the shares that the word's characters, and a space at its end, have in the test
split. Q is the same for both models and sums to 1 over all spellings, so P* sums to at most 1 over all texts.
A model therefore gains nothing by a small vocabulary, nor by long tokens that it reads as <unk>. The 1 / n
above would be wrong here, because it tells a model which words the test split has: a model that takes each
sentence for one unknown word would pay only for a choice among the n sentences.

    bits per character = sum of -log2 P* over the model's tokens / number of characters

The gate compares perplexities. Both are then for each token of the challenger's: exp of the sum of -ln P*
over the model's own tokens, divided by the number of the challenger's.

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

import torch

import corpus
import distributed
import language_model
import numbered_text
import split_files
import tokenizer
from job_log import log_values, quoted, summary
from language_model import CONFIG, FORMAT, VOCABULARY, WEIGHTS, LanguageModel, Shape
from numbered_text import NumberedText, Tokens
from perplexity import own_loss, own_tokens, perplexity
from user_error import UserError
from vocabulary import END_OF_LINE, UNKNOWN, UNKNOWN_ID, Vocabulary

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
    """The score of one model.

    Attributes:
        perplexity: For each token of the challenger's, by one of the formulas at the head of this module.
        bits_per_character: The same figure for each character of the test split.
        unknown_share: The share of the test split's tokens that the model reads as <unk>.
    """

    perplexity: float
    bits_per_character: float
    vocabulary_size: int
    tokenizer: str
    unknown_share: float


@dataclass(frozen=True)
class Comparison:
    """Both scores.

    Attributes:
        champion: The score of the model in service.
        challenger: The score of the job's model.
        words: The size of V*; None if the tokenizers differ.
        tokens: The number of tokens of the test split, as the challenger cuts it.
        notes: Sentences that say what limits the figures.
    """

    champion: Judged
    challenger: Judged
    words: int | None
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
class Challenger:
    """The model that the job trained.

    Attributes:
        tokenizer: The name of its tokenizer.
        vocabulary: The words that it knows.
        tokens: The test split in its numbers.
        test_loss: Its loss on the test split, in nats per token.
    """

    tokenizer: str
    vocabulary: Vocabulary
    tokens: Tokens
    test_loss: float


@dataclass(frozen=True)
class _Artifact:
    """The parts of the champion's artifact besides its weights."""

    shape: Shape
    tokenizer: str
    words: list[str]


@dataclass(frozen=True)
class _Scored:
    """The champion's score, and what the two models are charged.

    Attributes:
        loss: The champion's loss on the test split, in nats per token.
        tokens: The test split in the champion's numbers.
        charge: What the champion pays for unknown words, in nats summed over the test split.
        challengers_charge: What the challenger pays.
        words: The size of V*; None if the tokenizers differ.
        characters: The number of characters of the test split.
        unknown_in_text: The share of tokens that are <unk> in the text itself.
    """

    artifact: _Artifact
    loss: float
    tokens: Tokens
    charge: float
    challengers_charge: float
    words: int | None
    characters: int
    unknown_in_text: float


def compare(
    folder: Path, channel: Path, scratch: Path, challenger: Challenger, device: torch.device
) -> Comparison | Incomparable:
    """Score the champion as the challenger was scored. Every rank calls this and gets the outcome.

    Args:
        folder: Contains the champion's model.tar.gz. Only the first rank reads it.
        channel: The training channel.
        scratch: This rank's folder for large files.
        challenger: The challenger.
        device: The device of this rank.
    """
    try:
        found = _score(folder, channel, scratch, challenger, device)
    except UserError as error:
        return Incomparable(str(error))
    length = len(challenger.tokens)

    def judge(loss: float, own: Tokens, charge: float, size: int, name: str) -> Judged:
        mean = loss * (len(own) / length) + charge / length
        return Judged(
            perplexity=perplexity(mean),
            bits_per_character=mean * length / found.characters / math.log(2),
            vocabulary_size=size,
            tokenizer=name,
            unknown_share=own.unknown_share,
        )

    artifact, size = found.artifact, len(challenger.vocabulary)
    champion = judge(found.loss, found.tokens, found.charge, len(artifact.words), artifact.tokenizer)
    challengers = judge(
        challenger.test_loss, challenger.tokens, found.challengers_charge, size, challenger.tokenizer
    )
    for name, judged in (("champion", champion), ("challenger", challengers)):
        if not math.isfinite(judged.perplexity):
            return Incomparable(
                f"The {name}'s perplexity on the test split is {judged.perplexity}, which cannot be compared."
            )
    notes = _notes(champion, challengers, length, found.unknown_in_text)
    return Comparison(champion, challengers, found.words, length, notes)


def charge_by_class(tokens: Tokens, vocabulary_size: int, words: int) -> float:
    """Return what a model pays for unknown words if each is one of the n that it does not know.

    Args:
        tokens: The text in the model's numbers.
        vocabulary_size: The number of words that the model knows.
        words: The size of V*.

    Returns:
        Nats, summed over the text.
    """
    return tokens.unknown * math.log(words - vocabulary_size + 1)


def charge_by_spelling(text: NumberedText, known: Vocabulary) -> float:
    """Return what a model pays for unknown words of the test split if it spells each.

    Every rank calls this. The charge is in nats, summed over the text.
    """
    characters = text.count_characters()
    total = characters.total()

    def spell(word: str) -> float:
        # A joiner, which says where a word touches its neighbour, need not occur in the text.
        return -sum(math.log(characters.get(character, 1) / total) for character in f"{word} ")

    own = sum(
        count * spell(word)
        for words, counts in text.count_own_words("test")
        for word, count in zip(words, counts, strict=True)
        if count and known.numbers.get(word, UNKNOWN_ID) == UNKNOWN_ID
    )
    return distributed.sum_over_ranks(torch.tensor(own, dtype=torch.float64))


def number_test(channel: Path, tokenizer_name: str, folder: Path) -> NumberedText:
    """Return the test split, split into words by any tokenizer, with its characters counted."""
    text = {"test": split_files.find(channel)["test"]}
    return numbered_text.number(text, tokenizer.BY_NAME[tokenizer_name], folder, count_characters=True)


def _score(
    folder: Path, channel: Path, scratch: Path, challenger: Challenger, device: torch.device
) -> _Scored:
    """Score the champion on the test split. Raises UserError."""
    model, artifact = None, None
    with _shared_errors():
        if distributed.is_first():
            model, artifact = _read(folder)
    artifact = distributed.broadcast(artifact)
    with _shared_errors():
        model = (model or LanguageModel(artifact.shape)).to(device)
    distributed.broadcast_weights(model)
    text = number_test(channel, artifact.tokenizer, scratch / "champion")
    length, known = text.lengths["test"], Vocabulary(artifact.words)
    unknown_in_text, _ = text.count_special("test")
    tokens = text.encode(known, {"test": own_tokens(length)})["test"]
    if artifact.tokenizer == challenger.tokenizer:
        both = {*known.words, *challenger.vocabulary.words}
        words = len(both) + corpus.count_other_words(text, "test", both)
        charge = charge_by_class(tokens, len(known), words)
        challengers_charge = charge_by_class(challenger.tokens, len(challenger.vocabulary), words)
    else:
        words = None
        charge = charge_by_spelling(text, known)
        challengers_text = number_test(channel, challenger.tokenizer, scratch / "challenger")
        challengers_charge = charge_by_spelling(challengers_text, challenger.vocabulary)
    with _shared_errors():
        loss = own_loss(model, tokens)
    return _Scored(
        artifact=artifact,
        loss=distributed.sum_over_ranks(loss) / length,
        tokens=tokens,
        charge=charge,
        challengers_charge=challengers_charge,
        words=words,
        characters=text.count_characters().total(),
        unknown_in_text=unknown_in_text / length,
    )


@contextlib.contextmanager
def _shared_errors() -> Iterator[None]:
    """Raise a UserError on every rank if any rank raises an error.

    Otherwise the other ranks would wait for ever. The code inside must not wait for another rank.
    """
    with distributed.shared_errors():
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # different errors, depending on which bytes are wrong
            raise UserError(f"The champion cannot be read and scored ({summary(error)}).") from error


def _read(folder: Path) -> tuple[LanguageModel, _Artifact]:
    """Return the champion, on the CPU. Raises UserError if it cannot be compared, other errors if damaged."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        unpack(folder / ARTIFACT, directory)
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        _check_config(config)
        model, _ = language_model.load(directory)
        known = Vocabulary.load(directory / VOCABULARY)
    _check_vocabulary(known.words, model.shape.vocabulary_size)
    return model, _Artifact(model.shape, config["tokenizer"], known.words)


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


def _check_config(config: dict[str, Any]) -> None:
    found = config.get("format", 1)
    if found != FORMAT:
        raise UserError(
            f"The champion's artifact has format {found}, and this version of Lexline reads format {FORMAT}. "
            "Once a model of this version is in service, models can be compared again."
        )
    if config["tokenizer"] not in tokenizer.BY_NAME:
        raise UserError(
            f"The champion's tokenizer is {config['tokenizer']}, and this version of Lexline has "
            f"{', '.join(tokenizer.BY_NAME)}."
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
    if champion.tokenizer != challenger.tokenizer:
        notes.append(
            f"The champion's tokenizer is {champion.tokenizer} and the challenger's is "
            f"{challenger.tokenizer}. Both were scored on the same characters: the champion at "
            f"{champion.bits_per_character:.3f} bits per character, the challenger at "
            f"{challenger.bits_per_character:.3f}. Both perplexities are for each token of the challenger's."
        )
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
