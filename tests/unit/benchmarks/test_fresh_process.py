"""Functions called in a new process."""

from pathlib import Path

import pytest

from benchmarks.fresh_process import CallFailed, call, call_here


def test_arguments_and_answers_cross_paths_as_paths(tmp_path: Path) -> None:
    assert call("os.path:basename", tmp_path / "train") == "train"
    assert call("os.path:commonpath", [tmp_path / "a", tmp_path / "b"]) == str(tmp_path)


def test_a_function_that_raises_is_told_with_its_last_words() -> None:
    with pytest.raises(CallFailed, match=r"(?s)math:sqrt ended with code 1.*math domain error"):
        call("math:sqrt", -1)


def test_a_call_in_this_process_fails_in_the_same_way() -> None:
    assert call_here("os.path:basename", Path("/a/train")) == "train"
    with pytest.raises(CallFailed, match=r"math:sqrt failed: ValueError: "):
        call_here("math:sqrt", -1)
