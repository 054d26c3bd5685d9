from pathlib import Path

import pytest

from lexline.aws import uploads
from lexline.aws.stack import Stack
from lexline.core.errors import UsageError
from tests.unit.lexline.conftest import Stubs


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ([], ["nowhere.txt"], "nowhere.txt does not exist"),
        (["a.txt", "b.txt"], ["a.txt", "b.txt"], "but 2 are given"),
        (["d/train.txt"], ["d"], "has 1 files"),
        (["d/train.txt", "e.txt", "f.txt"], ["d", "e.txt", "f.txt"], "d is not a file"),
        (["empty"], ["empty"], "empty is empty"),
    ],
)
def test_files_that_are_no_dataset_are_rejected_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], given: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in files:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("" if name == "empty" else "text")
    with pytest.raises(UsageError, match=message):
        uploads.check_files([Path(name) for name in given])


def test_a_folder_gives_its_three_files_and_no_hidden_ones(tmp_path: Path) -> None:
    for name in ("train.txt", "valid.txt", "test.txt", ".DS_Store"):
        (tmp_path / name).write_text("text")
    assert [path.name for path in uploads.check_files([tmp_path])] == ["test.txt", "train.txt", "valid.txt"]


@pytest.mark.parametrize(
    ("given", "path", "name"),
    [
        (None, "State of the Union.txt.gz", "state-of-the-union"),
        (None, "corpora/wiki_103/", "wiki-103"),
        ("My.data_1", "x.txt", "My.data_1"),
    ],
)
def test_a_dataset_is_named_after_its_file_unless_the_user_names_it(
    given: str | None, path: str, name: str
) -> None:
    assert uploads.dataset_name(given, [Path(path)]) == name


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "x" * 64])
def test_a_name_that_the_pipeline_would_reject_is_rejected_at_once(name: str) -> None:
    with pytest.raises(UsageError):
        uploads.dataset_name(name, [])


def test_an_upload_is_known_by_key_etag_and_version(
    stack: Stack, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str, str]] = []
    monkeypatch.setattr(stack.target.s3, "upload_file", lambda *arguments, **_: sent.append(arguments))
    key = "uploads/sotu/a.txt"
    stubs.s3.add_response(
        "head_object", {"ETag": '"0f34"', "VersionId": "v2"}, {"Bucket": "lexline-bucket", "Key": key}
    )
    uploaded = uploads.upload(stack, "sotu", Path("/corpora/a.txt"), lambda count: None)
    assert sent == [("/corpora/a.txt", "lexline-bucket", key)]
    assert uploaded == uploads.Uploaded(key, "0f34", "v2")
