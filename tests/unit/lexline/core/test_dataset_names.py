"""Any name of a file or folder gives a readable ASCII name that the pipeline accepts, or says why not."""

from pathlib import Path

import pytest
from hypothesis import given, strategies
from pydantic import TypeAdapter, ValidationError

from contracts.base import DatasetName as PipelinesName
from lexline.core import dataset_names
from lexline.core.dataset_names import DatasetName
from lexline.core.errors import UsageError


@pytest.mark.parametrize(
    ("path", "name", "original"),
    [
        ("State of the Union.txt.gz", "state-of-the-union", "State of the Union"),
        ("корпус.txt", "korpus", "корпус"),
        ("été.txt", "ete", "été"),
        ("e\u0301te\u0301.txt", "ete", "été"),
        ("2024.01.02 diary.txt", "2024-01-02-diary", "2024.01.02 diary"),
        ("语料库.jsonl.zst", "yu-liao-ku", "语料库"),
        ("novels.TAR.GZ", "novels", "novels"),
        ("wiki.train.tokens", "wiki-train", "wiki.train"),
        ("Tom & Jerry's &amp; Co", "tom-jerry-s-amp-co", "Tom & Jerry's &amp; Co"),
        ("x" * 200 + ".txt", "x" * 63, "x" * 200),
        ("texts/z", "z", "z"),
    ],
)
def test_a_dataset_has_the_name_of_its_file_in_ascii(path: str, name: str, original: str) -> None:
    assert dataset_names.of_paths([Path(path)]) == DatasetName(name, original, Path(path).name)


def test_a_dataset_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "My Data.txt"
    folder.mkdir()
    # A folder's name has no extension.
    assert dataset_names.of_paths([folder]) == DatasetName("my-data-txt", "My Data.txt", "My Data.txt")
    monkeypatch.chdir(folder)
    assert dataset_names.of_paths([Path()]).name == "my-data-txt"


@pytest.mark.parametrize(
    ("paths", "message", "hint"),
    [
        (["a/b.txt", "c.txt"], "2 files or folders are given", "--dataset a."),
        (["!!!.txt"], "No name for the dataset can be made from !!!.txt", "--dataset NAME"),
        (["/"], "No name for the dataset can be made from /", "--dataset NAME"),
    ],
)
def test_several_files_and_names_without_letters_need_a_name(
    paths: list[str], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        dataset_names.of_paths([Path(path) for path in paths])
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("My.data_1", DatasetName("My.data_1")),
        ("My Data", DatasetName("my-data", "My Data", "--dataset My Data")),
        (".hidden", DatasetName("hidden", ".hidden", "--dataset .hidden")),
    ],
)
def test_a_name_that_the_user_gives_is_kept_if_the_pipeline_accepts_it(
    given_name: str, expected: DatasetName
) -> None:
    assert dataset_names.given(given_name) == expected


@pytest.mark.parametrize("name", ["", "-a", "--force", "a/b", "!!!"])
def test_a_name_that_is_a_mistake_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid dataset name"):
        dataset_names.given(name)


@given(strategies.text())
def test_every_name_that_is_made_is_one_that_the_pipeline_accepts(text: str) -> None:
    try:
        name = dataset_names.given(text)
    except UsageError:
        with pytest.raises(ValidationError):
            TypeAdapter(PipelinesName).validate_python(text)
        return
    TypeAdapter(PipelinesName).validate_python(name.name)
    assert (name.original is None) == (name.name == text)
