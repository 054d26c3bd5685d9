"""Channels land as SageMaker lays them out, and archives unpack safely."""

import io
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from localcloud.sagemaker.processes.artifacts import (
    BadArchive,
    S3Store,
    StoreError,
    download_prefix,
    pack,
    split_uri,
    unpack,
)
from tests.unit.localcloud.sagemaker.processes.helpers import AWS, DirectoryStore


def wanted() -> None:
    """Never cancel a download."""


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    for key in ("data/train", "data/deep/valid", "data-old/train", "other"):
        path = tmp_path / "s3" / "bucket" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key)
    return DirectoryStore(tmp_path / "s3")


@pytest.mark.parametrize(
    ("uri", "files"),
    [
        ("s3://bucket/data/", {"train", "deep/valid"}),
        ("s3://bucket/data/train", {"train"}),
        ("s3://bucket/data", {"train", "deep/valid", "data-old/train"}),
        ("s3://bucket/nothing/", set()),
    ],
)
def test_a_file_is_named_by_its_key_without_the_prefix(
    store: DirectoryStore, tmp_path: Path, uri: str, files: set[str]
) -> None:
    channel = tmp_path / "channel"
    assert download_prefix(store, uri, channel, wanted) == len(files)
    assert {str(path.relative_to(channel)) for path in channel.rglob("*") if path.is_file()} == files


def test_a_key_that_climbs_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    class Climbing(DirectoryStore):
        def keys(self, bucket: str, prefix: str):  # type: ignore[no-untyped-def]
            yield f"{prefix}../../escaped"

    with pytest.raises(StoreError, match="leads out of its folder"):
        download_prefix(Climbing(tmp_path), "s3://bucket/data/", tmp_path / "channel", wanted)


@pytest.mark.parametrize("prefix", ["data", "data/"])
def test_a_key_with_repeated_slashes_is_no_absolute_path(tmp_path: Path, prefix: str) -> None:
    class Doubled(DirectoryStore):
        def keys(self, bucket: str, prefix: str):  # type: ignore[no-untyped-def]
            yield f"data//{tmp_path}/escaped"

        def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
            path.write_text("content")

    channel = tmp_path / "channel"
    download_prefix(Doubled(tmp_path), f"s3://bucket/{prefix}", channel, wanted)
    assert not (tmp_path / "escaped").exists()
    assert [path.name for path in channel.rglob("*") if path.is_file()] == ["escaped"]


def test_an_unreachable_store_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as unanswered:
        unanswered.bind(("127.0.0.1", 0))  # and does not listen
        aws = AWS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{unanswered.getsockname()[1]}"}
        with pytest.raises(StoreError, match="Could not connect to the endpoint"):
            S3Store(aws).download("bucket", "key", tmp_path / "file", wanted)


@pytest.mark.parametrize("uri", ["https://bucket/key", "bucket/key", "s3://"])
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="not an S3 URI"):
        split_uri(uri)


def test_an_archive_unpacks_to_the_files_that_were_packed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "code").mkdir(parents=True)
    (source / "weights").write_bytes(b"\0\1")
    (source / "code" / "generate.py").write_text("pass")
    assert pack([source], tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "model")
    assert (tmp_path / "model" / "weights").read_bytes() == b"\0\1"
    assert (tmp_path / "model" / "code" / "generate.py").read_text() == "pass"


def test_several_folders_become_one_archive_and_the_first_file_of_a_name_wins(tmp_path: Path) -> None:
    for host, names in (("algo-1", ["both", "code/one"]), ("algo-2", ["both", "code/two"])):
        for name in names:
            (tmp_path / host / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / host / name).write_text(host)
    assert pack([tmp_path / "algo-1", tmp_path / "algo-2"], tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "model")
    assert (tmp_path / "model" / "both").read_text() == "algo-1"
    assert (tmp_path / "model" / "code" / "two").read_text() == "algo-2"


def test_empty_folders_make_no_archive(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not pack([tmp_path / "empty", tmp_path / "missing"], tmp_path / "model.tar.gz")
    assert not (tmp_path / "model.tar.gz").exists()


def test_an_archive_that_climbs_out_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    with pytest.raises(BadArchive, match="OutsideDestination"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "model")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08\x00 cut short"])
def test_an_invalid_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.tar.gz").write_bytes(content)
    with pytest.raises(BadArchive):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "model")
