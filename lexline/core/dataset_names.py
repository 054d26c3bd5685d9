"""The names of datasets: readable ASCII names, made from any name that a person gives a file or a folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lexline.core.errors import UsageError

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""The pipeline's rule: contracts.base.DatasetName."""
_LONGEST = 63
_EXTENSION = re.compile(
    r"\.(txt|text|md|rst|tex|log|raw|tokens|jsonl?|ndjson|csv|tsv|xml|html?|odt|docx?|pdf|epub|rtf"
    r"|gz|bz2|xz|zst|lz4|z|br|zip|tar|tgz|tbz2?|txz|tzst|7z)$",
    re.IGNORECASE,
)
"""Endings of file names that say how a file is written, and are no part of its name."""


@dataclass(frozen=True)
class DatasetName:
    """The name of a dataset.

    Attributes:
        name: The name in the bucket, in the request and in the names of runs.
        original: The name that a person gave, if `name` was made from it. Two originals may have the same
            `name`, for example ete and été. None if the person gave `name` itself.
        source: What the name was made from, for messages, or "".
    """

    name: str
    original: str | None = None
    source: str = ""


def given(name: str) -> DatasetName:
    """Return the dataset of a name that the user gave with --dataset.

    Raises:
        UsageError: No name can be made from it.
    """
    if _VALID.fullmatch(name):
        return DatasetName(name)
    slug = "" if name.startswith("-") or "/" in name else _slug(name)
    if not slug:
        raise UsageError(
            f'"{name}" is not a valid dataset name.',
            "Give --dataset at most 63 letters, digits, dots, underscores and hyphens, beginning with a "
            "letter or a digit.",
        )
    return DatasetName(slug, _normal(name), f"--dataset {name}")


def of_paths(paths: Sequence[Path]) -> DatasetName:
    """Return the dataset of files that are uploaded without --dataset: it has the name of the file or folder.

    Raises:
        UsageError: There are several paths, or the only one has no name that could be used.
    """
    # The folder "." has a name, too.
    first = paths[0].resolve() if paths[0].name in ("", "..") else paths[0]
    if len(paths) > 1:
        folder = _slug(first.absolute().parent.name) or "NAME"
        raise UsageError(
            f"{len(paths)} files or folders are given, so the dataset needs a name.",
            f"Add --dataset NAME, for example --dataset {folder}.",
        )
    original = first.name if first.is_dir() else _without_extensions(first.name)
    if not (slug := _slug(original)):
        raise UsageError(
            f"No name for the dataset can be made from {first.name or first}.",
            "Add --dataset NAME, with letters and digits.",
        )
    return DatasetName(slug, _normal(original), first.name)


def _slug(name: str) -> str:
    # Import it here, because most commands do not need it.
    from slugify import slugify

    return slugify(
        name,
        max_length=_LONGEST,
        word_boundary=True,
        save_order=True,
        # A file name contains no HTML.
        entities=False,
        decimal=False,
        hexadecimal=False,
        algorithm="modern",
        # The names must not depend on what else is installed.
        backend="text-unidecode",
    )


def _without_extensions(name: str) -> str:
    stem = _EXTENSION.sub("", name)
    return name if stem in ("", name) else _without_extensions(stem)


def _normal(name: str) -> str:
    # macOS writes accents as characters of their own.
    return unicodedata.normalize("NFC", name)
