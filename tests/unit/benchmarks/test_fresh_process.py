"""Functions called in a new process."""

from pathlib import Path

import pytest

from benchmarks.fresh_process import CallFailed, call


def test_arguments_and_answers_cross_paths_as_paths(tmp_path: Path) -> None:
    assert call("os.path:basename", tmp_path / "train") == "train"
    assert call("os.path:commonpath", [tmp_path / "a", tmp_path / "b"]) == str(tmp_path)


def test_a_function_that_raises_is_told_with_its_last_words() -> None:
    with pytest.raises(CallFailed, match=r"(?s)math:sqrt ended with code 1.*math domain error"):
        call("math:sqrt", -1)
