"""Files are uploaded under the names of the dataset, the last one last, and deleted by name."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY

from lexline.aws import uploads
from lexline.aws.stack import Stack
from lexline.core.errors import UserError
from lexline.core.local_files import LocalFile
from tests.unit.lexline.conftest import Stubs
from tests.unit.lexline.samples import WHEN


def file(name: str, size: int = 4) -> LocalFile:
    return LocalFile(Path("/corpora") / name, name, size)


class Sent:
    """The files that boto3 was given, in the order in which their uploads ended."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[str] = []
        self.metadata: list[Any] = []
        self._lock = threading.Lock()
        monkeypatch.setattr(stack.target.s3, "upload_file", self.upload_file)

    def upload_file(self, path: str, bucket: str, key: str, *, ExtraArgs: Any, Callback: Any) -> None:  # noqa: N803
        Callback(4)
        with self._lock:
            self.keys.append(key)
            self.metadata.append(ExtraArgs)


@pytest.fixture
def sent(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(stack, monkeypatch)


def head(stubs: Stubs, key: str) -> None:
    request = {"Bucket": "lexline-bucket", "Key": key}
    stubs.s3.add_response("head_object", {"ETag": '"0f34"', "VersionId": "v2"}, request)


def test_many_files_are_uploaded_and_the_largest_one_after_all_others(
    stack: Stack, stubs: Stubs, sent: Sent
) -> None:
    files = [file(f"a/{number:03}.txt", 5 if number == 7 else 4) for number in range(300)]
    head(stubs, "uploads/sotu/a/007.txt")
    counts: list[int] = []
    uploaded = uploads.upload(stack, "sotu", "sotu", files, counts.append)
    assert sorted(sent.keys) == [f"uploads/sotu/{each.name}" for each in files]
    assert sent.keys[-1] == "uploads/sotu/a/007.txt"
    assert uploaded == uploads.Uploaded("uploads/sotu/a/007.txt", "0f34", "v2")
    assert sum(counts) == 4 * 300
    assert set(map(str, sent.metadata)) == {"None"}


def test_the_name_that_the_dataset_was_made_from_is_stored_with_each_file(
    stack: Stack, stubs: Stubs, sent: Sent
) -> None:
    head(stubs, "uploads/ete/b.txt")
    uploads.upload(stack, "ete", "été", [file("a.txt"), file("b.txt", 5)], lambda count: None)
    # S3 allows only ASCII in metadata.
    assert sent.metadata == [{"Metadata": {"dataset-name": "%C3%A9t%C3%A9"}}] * 2


def test_an_error_stops_the_uploads_that_are_in_progress(
    stack: Stack, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, failed, outcomes = threading.Event(), threading.Event(), []

    def upload_file(path: str, bucket: str, key: str, *, ExtraArgs: Any, Callback: Any) -> None:  # noqa: N803
        if path.endswith("bad.txt"):
            started.wait()
            raise UserError("It is bad.", "Correct it.")
        started.set()
        failed.wait()
        try:
            while True:
                Callback(1)
        except InterruptedError:
            outcomes.append(key)

    monkeypatch.setattr(stack.target.s3, "upload_file", upload_file)
    # The error is raised while the other file is being uploaded.
    monkeypatch.setattr(uploads.ThreadPoolExecutor, "shutdown", after(failed.set))
    files = [file("bad.txt"), file("large.txt"), file("last.txt", 5)]
    with pytest.raises(UserError, match="It is bad"):
        uploads.upload(stack, "sotu", "sotu", files, lambda count: None)
    assert outcomes == ["uploads/sotu/large.txt"]


def after(action: Any) -> Any:
    original = uploads.ThreadPoolExecutor.shutdown

    def shutdown(self: Any, *arguments: Any, **options: Any) -> None:
        action()
        original(self, *arguments, **options)

    return shutdown


def test_the_newest_upload_is_one_in_a_dataset(stack: Stack, stubs: Stubs) -> None:
    contents = [
        {"Key": key, "ETag": f'"{key[-5]}"', "LastModified": WHEN + timedelta(seconds=second)}
        for second, key in enumerate(["uploads/sotu/b.txt", "uploads/sotu/a.txt", "uploads/c.txt"])
    ]
    stubs.returns("s3", "list_objects_v2", Contents=contents)
    expected = uploads.Uploaded("uploads/sotu/a.txt", "a", ""), WHEN + timedelta(seconds=1)
    assert uploads.newest(stack) == expected
    stubs.returns("s3", "list_objects_v2")
    assert uploads.newest(stack) is None


def test_files_are_deleted_by_name_and_in_parts(stack: Stack, stubs: Stubs) -> None:
    names = [f"{number}.txt" for number in range(1001)]
    for part in (names[:1000], names[1000:]):
        objects = [{"Key": f"uploads/sotu/{name}"} for name in part]
        request = {"Bucket": "lexline-bucket", "Delete": {"Objects": objects, "Quiet": True}}
        stubs.s3.add_response("delete_objects", {}, request)
    uploads.delete(stack, "sotu", names)


def test_files_that_could_not_be_deleted_are_named(stack: Stack, stubs: Stubs) -> None:
    error = {"Key": "uploads/sotu/a.txt", "Code": "AccessDenied", "Message": "Access Denied"}
    stubs.s3.add_response("delete_objects", {"Errors": [error]}, {"Bucket": ANY, "Delete": ANY})
    with pytest.raises(UserError, match=r"1 of 2 .* uploads/sotu/a.txt: Access Denied"):
        uploads.delete(stack, "sotu", ["a.txt", "b.txt"])
