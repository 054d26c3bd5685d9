"""The files of a corpus on this machine, and the names that they get in the dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lexline.core.errors import UsageError

_LONGEST_NAME = 950
"""Bytes of a name. An S3 key has at most 1,024 bytes, and begins with uploads/DATASET/."""


@dataclass(frozen=True)
class LocalFile:
    """A file to upload.

    Attributes:
        path: The file.
        name: Its name in the dataset: for a file in a folder, its path below that folder.
        size: Its bytes.
    """

    path: Path
    name: str
    size: int


@dataclass(frozen=True)
class Selection:
    """The files to upload, by name, and what is left out: pairs of a path and a reason."""

    files: list[LocalFile]
    left_out: list[tuple[str, str]]


def select(paths: Sequence[Path]) -> Selection:
    """Return the files that were given, and those in the folders that were given.

    Only what nobody can read as text is left out here: the pipeline decides on the content of the others.

    Raises:
        UsageError: A path does not exist, two files would have the same name, or nothing is left.
    """
    files: dict[str, LocalFile] = {}
    left_out: list[tuple[str, str]] = []
    for given in paths:
        if not given.exists():
            raise UsageError(
                f"The file {given} does not exist.", "Give the path of a text file, an archive or a folder."
            )
        for path in _files_in(given, left_out) if given.is_dir() else [given]:
            name = path.relative_to(given).as_posix() if given.is_dir() else path.name
            if reason := _unusable(path, name):
                left_out.append((str(path), reason))
                continue
            file = LocalFile(path, name, path.stat().st_size)
            other = files.setdefault(name, file)
            if other.path.resolve() != path.resolve():
                raise UsageError(
                    f"{other.path} and {path} would both be {name} in the dataset, and one would replace the "
                    "other.",
                    "Rename one of them, or put both into one folder and give that folder.",
                )
    if not files:
        reasons = "; ".join(f"{path} ({reason})" for path, reason in left_out[:5])
        raise UsageError(
            f"There is nothing to upload{f': {reasons}' if reasons else ' in ' + str(paths[0])}.",
            "Give at least one file with text.",
        )
    return Selection([files[name] for name in sorted(files)], left_out)


def _files_in(folder: Path, left_out: list[tuple[str, str]]) -> Iterator[Path]:
    """Yield everything in a folder that is no folder. Folders that are not read are added to `left_out`."""

    def note(error: OSError) -> None:
        left_out.append((f"{error.filename}/", "this user may not read it"))

    for current, folders, names in os.walk(folder, onerror=note):
        for name in sorted(folders):
            path = Path(current, name)
            if reason := "hidden" if name.startswith(".") else "a link to a folder" * path.is_symlink():
                left_out.append((f"{path}/", reason))
                folders.remove(name)
        folders.sort()
        yield from (Path(current, name) for name in sorted(names))


def _unusable(path: Path, name: str) -> str:
    """Return why a file is not uploaded, or "" if it is."""
    if path.name.startswith("."):
        return "hidden"
    if not path.is_file():
        return "not a file, or a link to nothing"
    if not os.access(path, os.R_OK):
        return "this user may not read it"
    if not path.stat().st_size:
        return "empty"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    return "its name is too long; rename it" if length > _LONGEST_NAME else ""
