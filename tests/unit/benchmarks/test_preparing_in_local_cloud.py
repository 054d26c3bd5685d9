"""The benchmark of preparing in the local cloud: its files, the check of the manifest, the memory."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import preparing_in_local_cloud as benchmark
from benchmarks.preparing_in_local_cloud import Invocation, WrongManifest

MANIFEST: dict[str, Any] = {
    "files": [{"bytes": 60}, {"bytes": 40}],
    "left_out": [],
    "splits": {
        "train": {"ranges": [["00000", 0, 90]]},
        "test": {"ranges": [["00000", 90, 95], ["00001", 0, 5]]},
    },
}


@pytest.mark.parametrize("total", [1, benchmark.FILE_BYTES, 3 * benchmark.FILE_BYTES + 7])
def test_the_files_have_the_size_together(total: int) -> None:
    found = benchmark.sizes(total)
    assert sum(found) == total
    assert max(found) <= benchmark.FILE_BYTES


def test_files_differ_in_their_first_line_and_have_the_same_size() -> None:
    text = b"a line of text\n" * 100
    first, second = benchmark.numbered(text, 1, 1000), benchmark.numbered(text, 2, 1000)
    assert len(first) == len(second) == 1000
    assert first.split(b"\n")[0] != second.split(b"\n")[0]
    assert first.split(b"\n")[1:] == second.split(b"\n")[1:]
    assert first.endswith(b"\n")


def test_a_report_line_has_the_memory_of_the_invocation() -> None:
    line = "REPORT RequestId: 1\tDuration: 2.5 ms\tMemory Size: 1000 MB\tMax Memory Used: 237 MB\t\n"
    assert benchmark.reported("read-upload", line) == Invocation("read-upload", 1000, 237)
    assert benchmark.reported("read-upload", '{"message": "Max Memory Used: 1 MB"}') is None


def test_a_manifest_has_every_byte() -> None:
    benchmark.check_manifest(MANIFEST, 2, 100)


@pytest.mark.parametrize(
    "change",
    [{"files": MANIFEST["files"][:1]}, {"left_out": [{"name": "a"}]}, {"splits": {"train": {"ranges": []}}}],
)
def test_a_manifest_that_lacks_text_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WrongManifest, match="2 files with 100 bytes were uploaded"):
        benchmark.check_manifest({**MANIFEST, **change}, 2, 100)


def test_a_full_disk_is_found_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 5 * benchmark.GB
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    assert benchmark.missing_bytes(tmp_path, benchmark.GB) == 0
    assert benchmark.missing_bytes(tmp_path, 2 * benchmark.GB) == benchmark.GB
