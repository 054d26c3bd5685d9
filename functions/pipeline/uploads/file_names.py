"""The meaning of the names of uploaded files and of members of archives."""

import re
from typing import Literal, NamedTuple

from core.errors import DatasetNotText, InvalidDataset

SplitName = Literal["train", "valid", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "valid", "test")

COMPRESSED = ("gz", "bz2", "xz", "zst")
"""The endings of compressed files. compression.py reads what they hold."""
_ARCHIVES = ("zip", "tar", "tgz", "tbz", "tbz2", "txz", "tzst")
_IS_COMPRESSED = rf"(?:\.(?:{'|'.join(COMPRESSED)}))?"
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
    rf"(?P<extension>\.(?!(?:{'|'.join((*_ARCHIVES, *COMPRESSED))})(?:\.|$))[a-z0-9]+)?"
    rf"{_IS_COMPRESSED}",
    re.IGNORECASE,
)
# Files that come with a corpus and are not part of it.
_INCIDENTAL = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|authors|citation|attribution|changelog)"
    r"(?:[._-].*)?|thumbs\.db|desktop\.ini",
    re.IGNORECASE,
)


# Files that programs write beside their output: markers, checksums, lists of files.
_MARKER = re.compile(
    r"_(?:success|failure|metadata|common_metadata|(?:committed|started)_.*)"
    r"|(?:md5|sha\d+|b2|ck|check)sums?(?:[._-].*)?|.+\.(?:md5|sha\d+|b2|crc|sfv|sig)(?:sums?)?"
    r"|(?:file-?list|manifest)(?:[._-](?:md5|sha\d+))?(?:\.(?:json|txt|csv|tsv|xml|mf))?",
    re.IGNORECASE,
)
# The last extension before that of a compression.
_EXTENSION = re.compile(rf"\.([a-z0-9]+){_IS_COMPRESSED}", re.IGNORECASE)
_TABLES = {"csv", "tsv", "psv"}
_MARKUP = {"htm", "html", "xhtml", "mhtml", "xml", "svg", "fb2", "rss", "atom", "opml", "tei"}
_JSON = {"json", "jsonl", "jsonlines", "ndjson"}


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


def extension(path: str) -> str:
    """Return a file's extension in lower case, without that of its compression; "" if it has none."""
    match = _EXTENSION.search(path.rpartition("/")[2])
    while match and match.end() < len(match.string):
        match = _EXTENSION.search(match.string, match.start() + 1)
    return match[1].lower() if match else ""


def is_json(path: str) -> bool:
    """Return whether a file is named as JSON or as JSON Lines."""
    return extension(path) in _JSON


def why_not_named_as_text(path: str) -> str:
    """Return why a file that comes with a corpus is not a part of it; "" if it may be one."""
    *folders, name = path.split("/")
    if "__MACOSX" in folders or any(part.startswith(".") for part in (*folders, name)):
        return "It is a hidden file. Rename it without the leading dot if it is a part of the corpus."
    if _INCIDENTAL.fullmatch(name):
        return "It is about the corpus, as its name says. Rename it if it is a part of the corpus."
    if _MARKER.fullmatch(name):
        return "It is a marker or a list of files, as its name says. Rename it if it is a part of the corpus."
    return ""


def format_not_read(path: str) -> InvalidDataset | None:
    """Return the error for a file whose name says that its text lies in tables or in markup."""
    kind = extension(path)
    if kind in _TABLES:
        return DatasetNotText(
            f"It is a table (.{kind}). Save the column with the text as plain text, or as JSON Lines "
            "(.jsonl) with the field text, and upload that."
        )
    if kind in _MARKUP:
        return markup()
    return None


def markup() -> DatasetNotText:
    """Return the error for HTML and XML."""
    return DatasetNotText(
        "It is markup (HTML or XML), whose tags would be learned as words. Save the page or the document as "
        "plain text in UTF-8, and upload that."
    )
