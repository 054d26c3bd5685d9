"""The meaning of the names of uploaded files and of members of archives."""

import re
from typing import Literal, NamedTuple

SplitName = Literal["train", "valid", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "valid", "test")

_WORDS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
# The last word of the name: wiki.train.tokens, ptb.valid.txt, test.txt, train, corpus-dev.txt.gz. Not in
# my_test_corpus.txt. test.zip and train.tar.gz are corpora of their own.
_SPLIT_FILE = re.compile(
    r"(?:(?P<family>.+)[._-])?"
    rf"(?P<word>{'|'.join(sorted(_SPLIT_OF, key=len, reverse=True))})"
    r"(?P<extension>\.(?!(?:zip|tar|tgz|txz|tbz2|gz|xz|bz2)(?:\.|$))[a-z0-9]+)?"
    r"(?:\.(?:gz|xz|bz2))?",
    re.IGNORECASE,
)
# Files that come with a corpus and are not part of it.
_INCIDENTAL = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|authors|citation|attribution|changelog)"
    r"(?:[._-].*)?|thumbs\.db|desktop\.ini",
    re.IGNORECASE,
)


class Role(NamedTuple):
    """A file's split. Files of one `family` (folder, rest of the name, extension) form a set."""

    split: SplitName
    family: tuple[str, str, str]


def role_of(path: str) -> Role | None:
    """Return what a file's name says it is; None if it is not named as a split."""
    folder, _, name = path.rpartition("/")
    match = _SPLIT_FILE.fullmatch(name)
    if match is None:
        return None
    family = (folder, (match["family"] or "").lower(), (match["extension"] or "").lower())
    return Role(_SPLIT_OF[match["word"].lower()], family)


def is_incidental(path: str) -> bool:
    """Return whether a file is hidden, a shadow file of macOS, a README, a licence or the like."""
    *folders, name = path.split("/")
    is_hidden = any(part.startswith(".") for part in (*folders, name))
    return is_hidden or "__MACOSX" in folders or _INCIDENTAL.fullmatch(name) is not None
