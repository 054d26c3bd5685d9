"""The benchmark of preparing serves a text of any size from a small file."""

from pathlib import Path

import pytest

from benchmarks.preparing import Repeated, write_text


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 9), (3, 25), (10, 19), (29, 34)])
def test_an_object_repeats_its_file(tmp_path: Path, first: int, last: int) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"0123456789")
    assert Repeated(path, 35).read(first, last) == (b"0123456789" * 4)[first : last + 1]


@pytest.mark.parametrize("as_json", [True, False])
def test_the_text_is_always_the_same(tmp_path: Path, as_json: bool) -> None:
    for name in ("a", "b"):
        write_text(tmp_path / name, 1000, as_json)
    text = (tmp_path / "a").read_text()
    assert text == (tmp_path / "b").read_text()
    assert text.endswith("}\n" if as_json else "\n")
    assert len(text) >= 1000
