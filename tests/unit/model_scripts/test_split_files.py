import itertools
from pathlib import Path

import pytest

import split_files
from tests.unit.model_scripts.conftest import Patch
from user_error import UserError


@pytest.mark.parametrize("pattern", ["{}", "{}.txt", "wiki.{}.tokens"])
def test_splits_are_found_under_the_names_people_use(tmp_path: Path, pattern: str) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / pattern.format(split)).write_text("text\n")
    (tmp_path / "manifest.json").write_text("{}")
    assert {split: path.name for split, path in split_files.find(tmp_path).items()} == {
        split: pattern.format(split) for split in ("train", "valid", "test")
    }


def test_a_missing_split_is_named_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("text\n")
    with pytest.raises(UserError, match=r"no valid file .*found train"):
        split_files.find(tmp_path)


def test_a_split_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for name in ("train", "train.txt"):
        (tmp_path / name).write_text("text\n")
    with pytest.raises(UserError, match=r"more than one train file: train, train\.txt"):
        split_files.find(tmp_path)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("")
    with pytest.raises(UserError, match="train file, train, is empty"):
        split_files.find(tmp_path)


def test_a_channel_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        split_files.find(tmp_path / "nowhere")


TEXT = "\ufeffa\r\nb\u2028é  d\r\n\n \rlong-戦場-word \ufeff \x1c\r\n \r\r\nlast"
PLAIN = "a\nb\u2028é  d\n\n \nlong-戦場-word \ufeff \x1c\n \n\nlast\n"


@pytest.mark.parametrize("size", range(1, len(TEXT.encode()) + 2))
def test_blocks_of_any_size_have_all_of_the_text(tmp_path: Path, size: int) -> None:
    (tmp_path / "train").write_bytes(TEXT.encode())
    blocks = list(split_files.blocks(tmp_path / "train", size))
    assert b"".join(blocks).decode() == PLAIN
    assert all(
        before.endswith(b"\n") or after.startswith(b" ") for before, after in itertools.pairwise(blocks)
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", ""),
        ("\ufeff", ""),
        ("\n", "\n"),
        ("\r", "\n"),
        ("a\n ", "a\n \n"),
        ("a\r\n", "a\n"),
        ("a ", "a \n"),
    ],
)
def test_the_last_line_ends_once_and_nothing_has_no_line(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "train").write_bytes(content.encode())
    assert b"".join(split_files.blocks(tmp_path / "train")).decode() == text


def test_a_sample_is_the_beginning_of_the_text(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "train").write_bytes(TEXT.encode())
    for characters in range(1, len(PLAIN) + 2):
        monkeypatch.setattr(split_files, "SAMPLE_CHARACTERS", characters)
        assert "".join(split_files.sample(tmp_path / "train")) == PLAIN.removesuffix("\n")[:characters]
