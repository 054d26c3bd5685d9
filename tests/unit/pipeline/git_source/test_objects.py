"""Limits on repositories and packs, and damage: the result is the scripts, or an error with a next step."""

import contextlib
import hashlib
import io
import random
import stat
import tempfile
from collections.abc import Iterator

import pytest
from dulwich.object_format import SHA1
from dulwich.objects import Blob, Commit, ShaFile, Tree
from dulwich.pack import REF_DELTA, write_pack_header, write_pack_object
from hypothesis import given, settings
from hypothesis import strategies as st

from core import errors
from git_source import objects as git_objects
from git_source import server as git_server
from git_source.objects import Objects
from tests.unit.pipeline.git_source.git_server import SCRIPTS, Kind, Repository, checkout

NOISE = random.Random(7).randbytes(3 * 1024**2)

# --- repositories ----------------------------------------------------------------------------------


def test_a_script_may_be_as_large_as_the_limit_and_no_larger(url: str, repository: Repository) -> None:
    largest = NOISE[: git_objects.LARGEST_SCRIPT]
    repository.commit({**SCRIPTS, "model_scripts/train.py": largest}, branch="main")
    assert checkout(url).files["train.py"] == largest
    repository.commit({**SCRIPTS, "model_scripts/train.py": largest + b"\n"}, branch="main")
    with pytest.raises(errors.SourceTooLarge, match=r"'model_scripts/train.py' of .* exceeds a limit: 1 MiB"):
        checkout(url)


def test_the_server_leaves_out_large_data_beside_the_scripts_if_it_can(
    kind: Kind, url: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_server, "LARGEST_PACK", 1024**2)
    repository.commit({**SCRIPTS, "data.bin": NOISE}, branch="main")
    if kind == "git":
        assert sorted(checkout(url).files) == ["generate.py", "train.py"]
    else:
        with pytest.raises(errors.SourceTooLarge, match=r"sends more than 1 MiB\. .* without data"):
            checkout(url)


def test_history_is_not_fetched(url: str, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_server, "LARGEST_PACK", 1024**2)
    commits: list[str] = []
    for number in range(8):
        part = NOISE[number * 300_000 : (number + 1) * 300_000]
        commits.append(repository.commit({**SCRIPTS, "data.bin": part}, *commits[-1:], branch="main"))
    assert checkout(url).commit == commits[-1]


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("LARGEST_OBJECT", 20_000, "has more than 50,000 files and folders, "),
        ("LARGEST_UNPACKED", 50_000, "has more than 50,000 files and folders, "),
        ("MOST_OBJECTS", 5, "has more than 5 files and folders, "),
        ("LARGEST_SCRIPTS", 50_000, "exceeds a limit: 1 MiB for a script, 0 MiB and 1,000 for all"),
        ("MOST_SCRIPTS", 3, "exceeds a limit: 1 MiB for a script, 8 MiB and 3 for all"),
    ],
)
def test_every_other_limit_gives_an_error_with_a_next_step(
    url: str, repository: Repository, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, message: str
) -> None:
    files = {**SCRIPTS, "model_scripts/a.py": b"A" * 30_000, "model_scripts/b.py": b"B" * 30_000}
    repository.commit(files, branch="main")
    assert len(checkout(url).files) == 4
    monkeypatch.setattr(git_objects, limit, value)
    with pytest.raises(errors.SourceTooLarge, match=rf"{message}.*(Keep|Use) "):
        checkout(url)


# --- packs -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def unpacked(pack: bytes) -> Iterator[Objects]:
    with tempfile.TemporaryFile() as file:
        file.write(pack)
        file.flush()
        with Objects.unpacked(file, "https://example.org/scripts") as objects:
            yield objects


def packed(*entries: ShaFile | tuple[int, tuple[bytes | int, list[bytes]]]) -> bytes:
    """Return a pack of exactly these objects and deltas, in order."""
    pack = io.BytesIO()
    write_pack_header(pack.write, len(entries))
    for entry in entries:
        kind, content = (entry.type_num, entry.as_raw_chunks()) if isinstance(entry, ShaFile) else entry
        write_pack_object(pack.write, kind, content, object_format=SHA1)
    return pack.getvalue() + hashlib.sha1(pack.getvalue(), usedforsecurity=False).digest()


def tree(entries: dict[bytes, ShaFile]) -> Tree:
    made = Tree()
    for name, entry in entries.items():
        made.add(name, stat.S_IFDIR if isinstance(entry, Tree) else stat.S_IFREG | 0o644, entry.id)
    return made


def commit(top: Tree) -> Commit:
    made = Commit()
    made.tree = top.id
    made.author = made.committer = b"Ada <ada@example.org>"
    made.author_time = made.commit_time = made.author_timezone = made.commit_timezone = 0
    made.message = b"Scripts"
    return made


SCRIPT = Blob.from_string(b"print('train')\n" * 20)
TREE = tree({b"train.py": SCRIPT, b"generate.py": SCRIPT})
COMMIT = commit(TREE)
NAME = COMMIT.id.decode()
PACK = packed(COMMIT, TREE, SCRIPT)


def copies(times: int, size: int) -> bytes:
    """Return a delta that makes `times` copies of the first `size` bytes (less than 256) of SCRIPT."""
    return _number(SCRIPT.raw_length()) + _number(times * size) + bytes([0b10010000, size]) * times


def _number(value: int) -> bytes:
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def test_a_pack_is_read() -> None:
    with unpacked(PACK) as objects:
        assert objects.history(NAME) == ([NAME], True)
        assert objects.has_files(NAME)
        assert objects.scripts(NAME) == (NAME, {"train.py": SCRIPT.data, "generate.py": SCRIPT.data})


@pytest.mark.parametrize("times", [100, 200_000])
def test_the_size_of_a_delta_is_the_size_of_its_result(times: int) -> None:
    # 200,000 copies of 200 bytes are 400 KB of instructions, which compress to next to nothing, for 40 MB.
    small = (REF_DELTA, (SCRIPT.sha().digest(), [copies(times, 200)]))
    if times == 100:
        with unpacked(packed(COMMIT, TREE, SCRIPT, small)) as objects:
            assert objects.has_files(NAME)
    else:
        with (
            pytest.raises(errors.SourceTooLarge, match="16 MiB each"),
            unpacked(packed(COMMIT, TREE, SCRIPT, small)),
        ):
            pass


def test_a_folder_in_many_places_is_counted_in_each() -> None:
    levels = [tree({b"x.py": SCRIPT})]
    for _ in range(6):  # a million paths in a pack of ten objects
        levels.append(tree({b"%d" % number: levels[-1] for number in range(10)}))
    top = commit(levels[-1])
    with (
        pytest.raises(errors.SourceTooLarge, match="more than 50,000 files and folders"),
        unpacked(packed(top, *levels, SCRIPT)) as objects,
    ):
        objects.scripts(top.id.decode())


@pytest.mark.parametrize("left_out", [COMMIT, TREE], ids=["commit", "tree"])
def test_a_pack_without_the_wanted_objects_is_incomplete(left_out: ShaFile) -> None:
    rest = [entry for entry in (COMMIT, TREE, SCRIPT) if entry is not left_out]
    with (
        pytest.raises(errors.ServiceUnavailable, match=r"damaged or incomplete .* `git fsck`"),
        unpacked(packed(*rest)) as objects,
    ):
        objects.scripts(NAME)


@settings(deadline=None, max_examples=300)
@given(
    place=st.integers(0, len(PACK) - 1),
    byte=st.integers(0, 255),
    cut=st.none() | st.integers(1, len(PACK)),
    summed=st.booleans(),
)
def test_a_damaged_pack_is_an_error_or_the_scripts(
    place: int, byte: int, cut: int | None, summed: bool
) -> None:
    damaged = PACK[:place] + bytes([byte]) + PACK[place + 1 :]
    damaged = damaged[:cut]
    if summed and len(damaged) > 20:  # an attacker also corrects the checksum
        damaged = damaged[:-20] + hashlib.sha1(damaged[:-20], usedforsecurity=False).digest()
    try:
        with unpacked(damaged) as objects:
            assert objects.scripts(NAME)[1]["train.py"] == SCRIPT.data
    except (errors.ServiceUnavailable, errors.SourceTooLarge):
        pass
