"""The measurement of large texts: the text itself, and memory beyond the page cache."""

import mmap
from pathlib import Path

import psutil
import pytest

from benchmarks import encoding
from benchmarks.memory import Peak, anonymous_bytes

MIB = 2**20


def test_a_large_text_has_ever_new_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "COPIED", 40_000)
    path = tmp_path / "text"
    encoding.write_large_text(path, 200_000, tmp_path)
    text = path.read_text()
    assert abs(path.stat().st_size - 200_000) <= 1
    assert text.endswith("\n")
    copies = [{*text[start : start + 40_000].split()} for start in range(0, 199_000, 40_000)]
    seen = copies[0]
    for copy in copies[1:]:
        new = copy - seen
        assert len(new) > 0.01 * len(copy)
        seen = seen | copy


def test_mapped_files_are_no_memory_and_other_pages_are(tmp_path: Path) -> None:
    process, path = psutil.Process(), tmp_path / "mapped"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * MIB)
    before = anonymous_bytes(process)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped.find(b"y") == -1
        assert anonymous_bytes(process) < before + 32 * MIB
    kept = bytearray(b"x" * 64 * MIB)
    peak = Peak()
    peak.look(process)
    assert peak.bytes > before + 32 * MIB
    assert len(kept) == 64 * MIB
