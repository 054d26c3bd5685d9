from pathlib import Path

import pytest

import corpus_files
from user_error import UserError


@pytest.mark.parametrize("pattern", ["{}", "{}.txt", "wiki.{}.tokens"])
def test_splits_are_found_under_the_names_people_use(tmp_path: Path, pattern: str) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / pattern.format(split)).write_text("text\n")
    (tmp_path / "manifest.json").write_text("{}")
    assert {split: path.name for split, path in corpus_files.find(tmp_path).items()} == {
        split: pattern.format(split) for split in ("train", "valid", "test")
    }


def test_a_missing_split_is_named_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("text\n")
    with pytest.raises(UserError, match=r"no valid file .*found train"):
        corpus_files.find(tmp_path)


def test_a_split_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for name in ("train", "train.txt"):
        (tmp_path / name).write_text("text\n")
    with pytest.raises(UserError, match=r"more than one train file: train, train\.txt"):
        corpus_files.find(tmp_path)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("")
    with pytest.raises(UserError, match="train file, train, is empty"):
        corpus_files.find(tmp_path)


def test_a_channel_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        corpus_files.find(tmp_path / "nowhere")


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes("caf\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match="train is not UTF-8"):
        list(corpus_files.lines(tmp_path / "train"))
    with pytest.raises(UserError, match="train is not UTF-8"):
        corpus_files.sample(tmp_path / "train")


def test_lines_end_where_the_file_breaks_them_and_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes("\ufeffa\r\nb\u2028c\n\nlast".encode())
    assert [line.rstrip("\n") for line in corpus_files.lines(tmp_path / "train")] == [
        "a",
        "b\u2028c",
        "",
        "last",
    ]
