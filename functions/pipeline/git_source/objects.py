"""The commits and scripts in a pack, the form in which a Git server sends objects.

A pack is compressed and holds deltas, so a few bytes can stand for many. Sizes are checked before an object
is unpacked. Within the limits a function needs 100 MB and 3 seconds of a processor (measured with 48,000
small objects, 60 MB of noise, and 240 MB of repeated lines).
"""

from __future__ import annotations

import mmap
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from typing import IO

from dulwich import pack as packs
from dulwich.object_format import SHA1
from dulwich.objects import Commit, ObjectID, Tag, Tree

from core import errors
from training.script_package import LONGEST_PATH, is_script

FOLDER = "model_scripts"
REQUIRED = ("train.py", "generate.py")  # SageMaker starts both: to train, and to generate text.
LARGEST_PACK = 64 * 1024**2
LARGEST_UNPACKED = 256 * 1024**2
LARGEST_OBJECT = 16 * 1024**2  # Three or four times this is in memory while deltas are applied.
MOST_OBJECTS = 50_000
LARGEST_SCRIPT = 1024**2
LARGEST_SCRIPTS = 8 * 1024**2
MOST_SCRIPTS = 1_000


class Objects:
    """The objects of one pack, which the repository at `url` sent."""

    def __init__(self, pack: packs.Pack, url: str) -> None:
        self._pack, self._url = pack, url

    @classmethod
    @contextmanager
    def unpacked(cls, file: IO[bytes], url: str) -> Iterator[Objects]:
        """Open the pack in `file` until the block ends.

        Raises SourceTooLarge, or ServiceUnavailable for damage, which may show only in the block.
        """
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
                _check_sizes(contents, url)
            with packs.PackData("", SHA1, file, delta_base_cache_limit=8 * 1024**2) as data:
                data.check()
                # This index computes an object's name (its hash) from its content. It takes no name from the
                # server, which therefore cannot pass off one object as another.
                with packs.Pack.from_objects(data, packs.MemoryPackIndex.for_pack(data)) as pack:
                    yield cls(pack, url)
        except errors.PipelineError:
            raise
        except Exception as error:  # Dulwich raises whatever it runs into.
            raise errors.ServiceUnavailable(
                f"{url} sends damaged or incomplete objects ({type(error).__name__}). Start again, or check "
                "the repository with `git fsck`."
            ) from error

    def history(self, name: str) -> tuple[list[str], bool]:
        """Return the commit of `name` and all before it that are here, and whether none is missing."""
        ahead, found, complete = [self._commit(name).id], set[ObjectID](), True
        while ahead:
            commit = ahead.pop()
            complete = complete and commit in self._pack
            if commit in self._pack and commit not in found:
                found.add(commit)
                ahead += self._commit(commit.decode()).parents
        return [commit.decode() for commit in found], complete

    def has_files(self, name: str) -> bool:
        """Return whether the files of a commit are here, and not the commit alone."""
        return self._commit(name).tree in self._pack

    def scripts(self, name: str) -> tuple[str, dict[str, bytes]]:
        """Return the commit of `name`, and its scripts in model_scripts/ (without that folder: at the root).

        Raises SourceIncomplete, SourceTooLarge, or InvalidSource for a path that cannot be packed.
        """
        commit = self._commit(name)
        root, folder, mode, tree = self._tree(commit.tree), "", stat.S_IFDIR, commit.tree
        if FOLDER.encode() in root:
            folder, (mode, tree) = f"{FOLDER}/", root[FOLDER.encode()]
        files = dict(self._files(tree)) if stat.S_ISDIR(mode) else {}
        if missing := [path for path in REQUIRED if path not in files]:
            raise errors.SourceIncomplete(
                f"{folder}{missing[0]} is not a file in {self._url} at commit {commit.id.decode()}. Commit "
                f"{' and '.join(REQUIRED)} in {FOLDER} or at the root; links and submodules are not followed."
            )
        scripts: dict[str, bytes] = {}
        for path, file in sorted(files.items()):
            shown = f"{(folder + path)[:LONGEST_PATH]!r} of {self._url}"
            if not path.isprintable() or len(path.encode()) > LONGEST_PATH:
                raise errors.InvalidSource(f"{shown}: use a path of at most {LONGEST_PATH} printable bytes.")
            # The server may have left out a file that is too large.
            left_out = file not in self._pack
            scripts[path] = b"" if left_out else self._pack[file].as_raw_string()
            size = sum(map(len, scripts.values()))
            too_large = left_out or len(scripts[path]) > LARGEST_SCRIPT or size > LARGEST_SCRIPTS
            if too_large or len(scripts) > MOST_SCRIPTS:
                raise errors.SourceTooLarge(
                    f"{shown} exceeds a limit: {_mib(LARGEST_SCRIPT)} for a script, {_mib(LARGEST_SCRIPTS)} "
                    f"and {MOST_SCRIPTS:,} for all of them. Keep only what SageMaker runs in {FOLDER}."
                )
        return commit.id.decode(), scripts

    def _files(self, top: ObjectID) -> Iterator[tuple[str, ObjectID]]:
        """Yield path and name of every script below a tree, without following links and submodules."""
        ahead, seen = [("", top)], 0
        while ahead:
            folder, tree = ahead.pop()
            for entry in self._tree(tree).items():
                seen += 1
                # The same folder may be in many places, and cost the server next to nothing in each.
                if seen > MOST_OBJECTS:
                    raise _too_large(self._url)
                if entry.path in (b"", b".", b"..") or b"/" in entry.path:
                    raise errors.InvalidSource(f"{self._url} is malicious: a path of it leaves its folder.")
                path = folder + entry.path.decode("utf-8", "backslashreplace")
                if stat.S_ISDIR(entry.mode):
                    ahead.append((f"{path}/", entry.sha))
                elif stat.S_ISREG(entry.mode) and is_script(path):
                    yield path, entry.sha

    def _commit(self, name: str) -> Commit:
        found = self._pack[ObjectID(name.encode())]
        while isinstance(found, Tag):
            found = self._pack[found.object[1]]
        if not isinstance(found, Commit):
            raise errors.InvalidSource(f"{name} of {self._url} is not a commit. Give a branch or a commit.")
        return found

    def _tree(self, name: ObjectID) -> Tree:
        found = self._pack[name]
        assert isinstance(found, Tree)
        return found


def _check_sizes(contents: mmap.mmap, url: str) -> None:
    _, count = packs.read_pack_header_at(contents)
    if count > MOST_OBJECTS:
        raise _too_large(url)
    total = 0
    for size in _sizes(contents, count):
        total += size
        if size > LARGEST_OBJECT or total > LARGEST_UNPACKED:
            raise _too_large(url)


def _sizes(contents: mmap.mmap, count: int) -> Iterator[int]:
    """Yield the unpacked size of each object and of each delta's result, without unpacking them."""
    offset = 12  # after the header
    for _ in range(count):
        (first, *more), _, _ = packs.take_msb_bytes_at(contents, offset)
        yield _number(more) << 4 | first & 0x0F
        entry, offset = packs.unpack_object_at(contents, offset, sha1)
        if entry.pack_type_num in packs.DELTA_TYPES:
            # A delta starts with two sizes: of the object it changes, and of the result.
            delta = b"".join(entry.decomp_chunks)
            _, start, _ = packs.take_msb_bytes_at(delta, 0)
            yield _number(packs.take_msb_bytes_at(delta, start)[0])


def _number(digits: list[int]) -> int:
    return sum((digit & 0x7F) << (7 * place) for place, digit in enumerate(digits))


def _too_large(url: str) -> errors.SourceTooLarge:
    sizes = f"{_mib(LARGEST_OBJECT)} each, {_mib(LARGEST_UNPACKED)} in all"
    limits = f"{MOST_OBJECTS:,} files and folders, {sizes}"
    return errors.SourceTooLarge(f"{url} has more than {limits}. Use a repository without data.")


def _mib(size: int) -> str:
    return f"{size // 1024**2} MiB"
