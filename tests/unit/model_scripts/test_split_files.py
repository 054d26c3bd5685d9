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


@pytest.mark.parametrize(
    ("files", "text", "sentence"),
    [
        (["train"], "text\n", r"no valid file .*found train"),
        (["train", "train.txt"], "text\n", r"more than one train file: train, train\.txt"),
        (["train"], "", "train file, train, is empty"),
    ],
)
def test_a_missing_duplicate_or_empty_split_is_refused(
    tmp_path: Path, files: list[str], text: str, sentence: str
) -> None:
    for name in files:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=sentence):
        split_files.find(tmp_path)


def test_a_channel_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        split_files.find(tmp_path / "nowhere")


TEXT = "\ufeffa\r\nb\u2028é  d\r\n\n \rlong-戦場-word \ufeff \x1c\r\n \r\r\nlast"
PLAIN = "a\nb\u2028é  d\n\n \nlong-戦場-word \ufeff \x1c\n \n\nlast\n"


def test_a_sample_is_the_beginning_of_the_text(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "train").write_bytes(TEXT.encode())
    for characters in range(1, len(PLAIN) + 2):
        monkeypatch.setattr(split_files, "SAMPLE_CHARACTERS", characters)
        assert "".join(split_files.sample(tmp_path / "train")) == PLAIN.removesuffix("\n")[:characters]
