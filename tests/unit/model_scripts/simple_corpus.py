"""The simplest implementation of model_scripts/corpus.py, which its tests compare it with.

Text is read line by line, each line is cut at white space, each chunk by one regular expression, each word is
looked up in a dictionary.
"""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizer import _EXTENDING, _UNSPACED, JOINER, JOINER_IN_TEXT, SPACE

_COMBINING = "".join(
    re.escape(chr(code))
    for code in range(0x300, sys.maxunicode + 1)
    if code < 0x20000 and unicodedata.category(chr(code)) in ("Mn", "Mc")
)
_PIECE = re.compile(
    rf"(?P<number>\d+(?:[.,]\d+)+(?![\w{_COMBINING}]))"
    rf"|(?P<clitic>(?<=[\w{_COMBINING}])['’][\w{_COMBINING}]+)"
    rf"|(?P<word>[\w{_COMBINING}]+)"
    r"|(?P<mark>(.)\5*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class SimpleCorpus:
    """The words of the vocabulary in order, and each split's numbers."""

    words: list[str]
    splits: dict[str, list[int]]


class NothingToLearn(Exception):
    """No word of train belongs in a vocabulary."""


def read(channel: Path, tokenizer: str) -> SimpleCorpus:
    split_line = split_prose if tokenizer == "prose" else lambda line: normal(line).split()

    def words(split: str) -> Iterator[str]:
        with (channel / split).open(encoding="utf-8-sig") as file:
            for line in file:
                yield from split_line(line)
                yield "<eos>"

    counts = Counter(words("train"))
    fewest = 1 if counts["<unk>"] >= max(2, 0.001 * counts.total()) else 2
    learnt = {word for word, count in counts.items() if count >= fewest} - {"<unk>", "<eos>"}
    if not learnt:
        raise NothingToLearn
    vocabulary = ["<unk>", "<eos>", *sorted(learnt, key=lambda word: (-counts[word], word))]
    numbers = {word: number for number, word in enumerate(vocabulary)}
    return SimpleCorpus(
        vocabulary,
        {split: [numbers.get(word, 0) for word in words(split)] for split in ("train", "valid", "test")},
    )


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


_LETTER = f"(?:(?![{_UNSPACED}])[\\w{_COMBINING}])"
_ELISION = rf"(?i:(?<!\d)['’](?={_LETTER})(?!(?:s|t|d|m|re|ve|ll)(?!{_LETTER})))"
_PIECE_OR_CLUSTER = re.compile(
    rf"(?P<number>\d+(?:[.,]\d+)+(?!{_LETTER}))"
    rf"|(?P<clitic>(?<=[\w{_COMBINING}])(?<![{_UNSPACED}])['’]{_LETTER}+)"
    rf"|(?P<cluster>[{_UNSPACED}][{_EXTENDING}]*)"
    rf"|(?P<word>{_LETTER}+(?:{_ELISION})?)"
    r"|(?P<mark>(.)\6*)",
    re.DOTALL,
)


def split_prose(line: str) -> list[str]:
    pieces: list[str] = []
    for chunk in line.split():
        text = normal(chunk.replace(JOINER, JOINER_IN_TEXT))
        matches = list(_PIECE_OR_CLUSTER.finditer(text))
        kinds = ["", *(str(match.lastgroup) for match in matches), ""]
        seen_word = False
        for match, before, kind, after in zip(matches, kinds, kinds[1:], kinds[2:], strict=False):
            piece = match.group()
            if kind in ("number", "word", "cluster"):
                seen_word = True
            if kind == "cluster":
                pieces += [piece] if before else [SPACE, piece]
            elif kind in ("number", "word"):
                elided = piece[-1] in "'’"
                pieces += [JOINER] if before == "cluster" else []
                pieces.append(piece + (JOINER if elided else ""))
            elif kind == "clitic":
                pieces.append(JOINER + piece)
            elif seen_word:
                pieces.append(JOINER + piece + (JOINER if after in ("number", "word") else ""))
            else:
                pieces.append(piece + (JOINER if after not in ("", "cluster") else ""))
    return pieces


def split_first_prose(line: str) -> list[str]:
    return [piece for chunk in line.split() for piece in split_chunk(chunk)]


def split_chunk(chunk: str) -> list[str]:
    matches = list(_PIECE.finditer(chunk.replace(JOINER, JOINER_IN_TEXT)))
    pieces: list[str] = []
    seen_word = False
    for position, match in enumerate(matches):
        text = match.group()
        last = position == len(matches) - 1
        if match.lastgroup in ("number", "word"):
            pieces.append(text)
            seen_word = True
        elif match.lastgroup == "clitic":
            pieces.append(JOINER + text)
        elif not seen_word:
            pieces.append(text if last else text + JOINER)
        else:
            before_word = not last and matches[position + 1].lastgroup in ("number", "word")
            pieces.append(JOINER + text + (JOINER if before_word else ""))
    return pieces
