import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import split_files
from split_files import Range, blocks, divide, find
from tests.unit.model_scripts.conftest import Patch
from user_error import UserError


@pytest.mark.parametrize("pattern", ["{}", "{}.txt", "wiki.{}.tokens"])
def test_splits_are_found_under_the_names_people_use(tmp_path: Path, pattern: str) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / pattern.format(split)).write_text("text\n")
    # Some other tool's file.
    (tmp_path / "manifest.json").write_text("{}")
    assert find(tmp_path) == {
        split: [Range(tmp_path / pattern.format(split), 0, 5)] for split in ("train", "valid", "test")
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
        find(tmp_path)


def test_a_channel_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        find(tmp_path / "nowhere")


def write_manifest(channel: Path, **ranges: Any) -> Path:
    """Write two objects and a manifest of these ranges; the defaults are the objects' three lines."""
    (channel / "00000").write_bytes(b"one\ntwo\n")
    (channel / "00001").write_bytes(b"three\n")
    of_splits = {"train": [["00000", 0, 4], ["00001", 0, 6]], "valid": [["00000", 4, 8]]} | ranges
    splits = {split: {"ranges": found} for split, found in of_splits.items()}
    (channel / "manifest.json").write_text(json.dumps({"fingerprint": "f1", "splits": splits}))
    return channel


TEST = [["00000", 4, 8]]


def test_the_ranges_of_a_manifest_are_the_splits(tmp_path: Path) -> None:
    texts = find(write_manifest(tmp_path, test=[["00001", 3, 3], *TEST]))
    read = {split: b"".join(block for _, block in blocks(text)) for split, text in texts.items()}
    assert read == {"train": b"one\nthree\n", "valid": b"two\n", "test": b"two\n"}


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        ([], "The test split is empty: manifest.json lists no text for it."),
        ([["00002", 0, 1]], "manifest.json lists 00002, and the training channel has no file of that name."),
        ([["00001", 0, 7]], "manifest.json lists 7 bytes of 00001, and the file has 6."),
        ([["../00001", 0, 1]], "no valid ranges for test"),
        ([["00001", 2, 1]], "no valid ranges for test"),
        ("00001", "no valid ranges for test"),
    ],
)
def test_a_manifest_that_names_no_text_is_refused(tmp_path: Path, test: Any, sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        find(write_manifest(tmp_path, test=test))
    assert sentence in str(refusal.value)


def test_a_manifest_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json in the training channel is not JSON"):
        find(tmp_path)


def test_the_fingerprint_is_the_manifests_or_one_of_the_text(tmp_path: Path) -> None:
    prepared, files = tmp_path / "prepared", tmp_path / "files"
    prepared.mkdir()
    files.mkdir()
    assert split_files.fingerprint(write_manifest(prepared, test=TEST)) == "f1"
    found = set()
    for train, valid in (("a\nb\n", "c\n"), ("b\na\n", "c\n"), ("a\n", "b\nc\n"), ("a\nb\n", "c\n")):
        for split, text in (("train", train), ("valid", valid), ("test", "d\n")):
            (files / split).write_text(text)
        found.add(split_files.fingerprint(files))
    assert len(found) == 3


@given(
    texts=st.lists(st.text("ab \n", max_size=30).map(lambda text: f"{text}\n"), min_size=1, max_size=4),
    parts=st.integers(1, 9),
)
def test_a_text_is_divided_after_lines(
    texts: list[str], parts: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = []
    for number, content in enumerate(texts):
        (folder / f"{number}").write_text(content)
        text.append(Range(folder / f"{number}", 0, len(content)))
    divided = divide(text, parts)
    assert len(divided) == parts
    pieces = ["".join(block.decode() for _, block in blocks(part)) for part in divided]
    assert "".join(pieces) == "".join(texts)
    assert all(piece.endswith("\n") for piece in pieces if piece)
    longest = max(len(line) for line in "".join(texts).splitlines(keepends=True))
    assert max(map(len, pieces)) <= len("".join(texts)) // parts + longest + 1


def test_a_text_without_lines_is_not_divided(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(split_files, "MOST_LINE_BYTES", 10)
    (tmp_path / "text").write_text("word " * 100)
    text = [Range(tmp_path / "text", 0, 500)]
    assert divide(text, 3) == [text, [], []]


TEXT = "\ufeffa\r\nb\u2028é  d\r\n\n \rlong-戦場-word \ufeff \x1c\r\n \r\r\nlast"
PLAIN = "a\nb\u2028é  d\n\n \nlong-戦場-word \ufeff \x1c\n \n\nlast\n"


def test_a_sample_is_the_beginning_of_the_text(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "train").write_bytes(TEXT.encode())
    text = [Range(tmp_path / "train", 0, len(TEXT.encode()))]
    for characters in range(1, len(PLAIN) + 2):
        monkeypatch.setattr(split_files, "SAMPLE_CHARACTERS", characters)
        assert split_files.sample(text) == PLAIN[:characters]
