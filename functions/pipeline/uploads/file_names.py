"""What the name of an uploaded file, or of an archive's member, says about it."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

SplitName = Literal["train", "valid", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "valid", "test")

_ROLES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
# wiki.train.tokens, ptb.valid.txt, test.txt, train, corpus-dev.txt.gz: the role is the name's last word. Not
# my_test_corpus.txt, and not test.zip or train.tar.gz, which are corpora of their own.
_SPLIT_FILE = re.compile(
    r"(?:(?P<family>.+)[._-])?"
    rf"(?P<role>{'|'.join(sorted(_ROLES, key=len, reverse=True))})"
    r"(?P<extension>\.(?!(?:zip|tar|tgz|txz|tbz2|gz|xz|bz2)(?:\.|$))[a-z0-9]+)?"
    r"(?:\.(?:gz|xz|bz2))?",
    re.IGNORECASE,
)
# What goes along with a corpus and is not a part of it.
_INCIDENTAL = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|authors|citation|attribution|changelog)"
    r"(?:[._-].*)?|thumbs\.db|desktop\.ini",
    re.IGNORECASE,
)


class Role(NamedTuple):
    """The part a file plays. Files of one `family` (folder, name without the role, extension) form a set."""

    split: SplitName
    family: tuple[str, str, str]


def role_of(path: str) -> Role | None:
    """What a file's name says it is; None for a name that is not a split's."""
    folder, _, name = path.rpartition("/")
    match = _SPLIT_FILE.fullmatch(name)
    if match is None:
        return None
    family = (folder, (match["family"] or "").lower(), (match["extension"] or "").lower())
    return Role(_ROLES[match["role"].lower()], family)


def is_incidental(path: str) -> bool:
    """Whether a file is no corpus by its name: hidden, macOS's shadow files, a README, a licence and the
    like.
    """
    *folders, name = path.split("/")
    return (
        any(part.startswith(".") for part in (*folders, name))
        or "__MACOSX" in folders
        or _INCIDENTAL.fullmatch(name) is not None
    )
