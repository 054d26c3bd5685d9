"""What a Git server sent: commits, and the scripts among their files.

A pack holds objects compressed and as differences from one another, so little can stand for a lot. Every
object's size is therefore counted, before it is unpacked, against limits that keep a function within its
memory and its time.
"""

from __future__ import annotations

import mmap
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1
from pathlib import PurePosixPath
from typing import IO

from dulwich.object_format import SHA1
from dulwich.objects import S_ISGITLINK, Commit, ObjectID, Tag, Tree
from dulwich.pack import (
    DELTA_TYPES,
    MemoryPackIndex,
    Pack,
    PackData,
    read_pack_header_at,
    take_msb_bytes_at,
    unpack_object_at,
)

from core.errors import InvalidSource, PipelineError, ServiceUnavailable, SourceIncomplete, SourceTooLarge
from source_code import is_script

FOLDER = "model_scripts"
# What SageMaker starts: the training job, and hosting in the PyTorch image.
REQUIRED = ("train.py", "generate.py")

# Within all of these, unpacking takes 100 MB of memory and 3 seconds of a processor, most of them for the
# number of objects (measured with 48,000 small objects, 60 MB of noise, and 240 MB of repeated lines).
LARGEST_PACK = 64 * 1024**2
LARGEST_UNPACKED = 256 * 1024**2
# Three or four times this are in memory at once while differences are applied.
LARGEST_OBJECT = 16 * 1024**2
MOST_OBJECTS = 50_000
# Of the scripts themselves, far beyond what anybody writes by hand.
LARGEST_FILE = 1024**2
LARGEST_SCRIPTS = 8 * 1024**2
MOST_SCRIPTS = 1_000
LONGEST_PATH = 100  # what source_code.pack takes
_CACHED = 8 * 1024**2
_APART = "Keep the scripts in a repository of their own, without data."


class Objects:
    """The objects of one pack: commits, and perhaps their files."""

    def __init__(self, pack: Pack, url: str) -> None:
        self._pack = pack
        self._url = url

    @classmethod
    @contextmanager
    def unpacked(cls, file: IO[bytes], url: str) -> Iterator[Objects]:
        """Those of the pack in `file`, which came from `url`, until the block ends.

        Raises SourceTooLarge, and ServiceUnavailable for a pack that is damaged.
        """
        with _damage_told(url), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
            _check_sizes(contents, url)
        with _damage_told(url):
            data = PackData("", SHA1, file, delta_base_cache_limit=_CACHED)
        with data:
            with _damage_told(url):
                data.check()
                # Names are worked out from the objects here: what is found under one is what was meant.
                pack = Pack.from_objects(data, MemoryPackIndex.for_pack(data))
            with pack:
                yield cls(pack, url)

    def commit_of(self, name: str) -> str:
        """The commit that a commit's or a tag's name leads to."""
        with _damage_told(self._url):
            return self._commit(name).id.decode()

    def history(self, name: str) -> tuple[list[str], bool]:
        """The commit `name` leads to and all before it that are here, and whether that is all there are."""
        with _damage_told(self._url):
            first = self._commit(name).id
            found, ahead, complete = {first: None}, [first], True
            while ahead:
                commit = self._pack[ahead.pop()]
                assert isinstance(commit, Commit)
                for parent in commit.parents:
                    if parent not in self._pack:
                        complete = False
                    elif parent not in found:
                        found[parent] = None
                        ahead.append(parent)
            return [commit.decode() for commit in found], complete

    def has_files(self, commit: str) -> bool:
        with _damage_told(self._url):
            return self._commit(commit).tree in self._pack

    def scripts(self, commit: str) -> dict[str, bytes]:
        """The scripts at `commit`: those in model_scripts/ if there is such a folder, else all there are.

        Links and submodules are not followed. Raises SourceIncomplete if one is missing that SageMaker
        starts, SourceTooLarge, and InvalidSource for a path that cannot be packed.
        """
        with _damage_told(self._url):
            folder, tree = self._folder(commit)
            found = {path: (mode, name) for path, mode, name in self._walk(tree) if is_script(path)}
            for path in REQUIRED:
                mode, _ = found.get(PurePosixPath(path), (0, None))
                if not stat.S_ISREG(mode):
                    what = f"{_kind(mode)}, which is not followed," if mode else "not"
                    raise SourceIncomplete(
                        f"{folder}{path} is {what} in {self._url} at commit {commit[:12]}. SageMaker starts "
                        f"{' and '.join(REQUIRED)}; they have to be in {FOLDER}/ or at the repository's root."
                    )
            files = {path: name for path, (mode, name) in found.items() if stat.S_ISREG(mode)}
            if len(files) > MOST_SCRIPTS:
                raise SourceTooLarge(
                    f"{self._url} has {len(files):,} scripts, and at most {MOST_SCRIPTS:,} are taken. Put "
                    f"those that SageMaker runs into {FOLDER}/."
                )
            return self._contents(files, folder)

    def _contents(self, files: Mapping[PurePosixPath, ObjectID], folder: str) -> dict[str, bytes]:
        contents: dict[str, bytes] = {}
        left = LARGEST_SCRIPTS
        for path, name in sorted(files.items()):
            shown = str(path)
            if not shown.isprintable() or len(shown.encode()) > LONGEST_PATH:
                raise InvalidSource(
                    f"{folder}{shown[:LONGEST_PATH]!r} of {self._url} cannot be packed under that path: at "
                    f"most {LONGEST_PATH} bytes, all printable. Rename it."
                )
            # A server that leaves large files out has not sent it.
            if name not in self._pack or self._pack[name].raw_length() > LARGEST_FILE:
                raise SourceTooLarge(
                    f"{folder}{shown} of {self._url} has more than {LARGEST_FILE // 1024**2} MiB. Keep data "
                    "out of the scripts."
                )
            contents[shown] = self._pack[name].as_raw_string()
            left -= len(contents[shown])
            if left < 0:
                raise SourceTooLarge(
                    f"The scripts of {self._url} have more than {LARGEST_SCRIPTS // 1024**2} MiB together. "
                    f"Put those that SageMaker runs into {FOLDER}/."
                )
        return contents

    def _folder(self, commit: str) -> tuple[str, Tree]:
        """The folder of the scripts, as errors show it, and its tree."""
        root = self._tree(self._commit(commit).tree)
        for entry in root.items():
            if entry.path == FOLDER.encode():
                if not stat.S_ISDIR(entry.mode):
                    raise SourceIncomplete(
                        f"{FOLDER} of {self._url} is {_kind(entry.mode)}, which is not followed. Commit the "
                        "folder itself, or the scripts at the repository's root."
                    )
                return f"{FOLDER}/", self._tree(entry.sha)
        return "", root

    def _walk(self, top: Tree) -> Iterator[tuple[PurePosixPath, int, ObjectID]]:
        """Path, mode and name of everything under `top` that is not a folder."""
        ahead, seen = [(PurePosixPath(), top)], 0
        while ahead:
            folder, tree = ahead.pop()
            for entry in tree.items():
                seen += 1
                # The same folder may be in many places, and cost next to nothing in each.
                if seen > MOST_OBJECTS:
                    raise SourceTooLarge(f"{self._url} has more than {MOST_OBJECTS:,} files and folders.")
                if entry.path in (b"", b".", b"..") or b"/" in entry.path:
                    raise InvalidSource(
                        f"{self._url} has a path that leaves its folder. It is not to be trusted."
                    )
                path = folder / entry.path.decode("utf-8", "backslashreplace")
                if stat.S_ISDIR(entry.mode):
                    ahead.append((path, self._tree(entry.sha)))
                else:
                    yield path, entry.mode, entry.sha

    def _commit(self, name: str) -> Commit:
        found = self._pack[ObjectID(name.encode())]
        while isinstance(found, Tag):
            found = self._pack[found.object[1]]
        if not isinstance(found, Commit):
            raise InvalidSource(
                f"{name} of {self._url} leads to no commit. Name a branch, a tag or a commit with scripts."
            )
        return found

    def _tree(self, name: ObjectID) -> Tree:
        found = self._pack[name]
        assert isinstance(found, Tree)
        return found


def _kind(mode: int) -> str:
    if S_ISGITLINK(mode):
        return "a submodule"
    return "a symbolic link" if stat.S_ISLNK(mode) else "a file"


def _check_sizes(contents: mmap.mmap, url: str) -> None:
    """Raise SourceTooLarge for a pack that unpacks to more than the limits.

    An object says its size before its content, and its content is not read beyond that. A difference says the
    size of what it makes.
    """
    _, count = read_pack_header_at(contents)
    if count > MOST_OBJECTS:
        raise SourceTooLarge(
            f"{url} sends {count:,} objects, and at most {MOST_OBJECTS:,} are read. {_APART}"
        )
    offset, unpacked = 12, 0  # after the header

    def count_in(size: int) -> None:
        nonlocal unpacked
        unpacked += size
        if size > LARGEST_OBJECT:
            raise SourceTooLarge(
                f"{url} has a file of {size:,} bytes, and at most {LARGEST_OBJECT:,} are read. {_APART}"
            )
        if unpacked > LARGEST_UNPACKED:
            raise SourceTooLarge(f"{url} unpacks to more than {LARGEST_UNPACKED // 1024**2} MiB. {_APART}")

    for _ in range(count):
        (first, *more), _, _ = take_msb_bytes_at(contents, offset)
        count_in(sum(((byte & 0x7F) << (7 * place + 4)) for place, byte in enumerate(more)) | (first & 0x0F))
        entry, offset = unpack_object_at(contents, offset, sha1)
        if entry.pack_type_num in DELTA_TYPES:
            count_in(_size_made(b"".join(entry.decomp_chunks)))


def _size_made(difference: bytes) -> int:
    """The size of what a difference makes: its second number, after the size of what it is applied to."""
    _, start, _ = take_msb_bytes_at(difference, 0)
    number, _, _ = take_msb_bytes_at(difference, start)
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(number))


@contextmanager
def _damage_told(url: str) -> Iterator[None]:
    """Turn what Dulwich runs into in damaged objects, which may be anything, into ServiceUnavailable."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        raise ServiceUnavailable(
            f"{url} sends objects that are damaged or not complete ({type(error).__name__}). Start again; if "
            "that does not help, look at the repository with `git fsck`."
        ) from error
