"""The training scripts are shipped by content: the same files make the same archive, uploaded once."""

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

import source_code
from core.errors import Misconfigured, ServiceUnavailable


def scripts(folder: Path) -> Path:
    (folder / "helpers" / "__pycache__").mkdir(parents=True)
    (folder / "train.py").write_text("print('train')\n")
    (folder / "helpers" / "text.py").write_text("WORDS = 1\n")
    (folder / "helpers" / "__pycache__" / "text.py").write_text("")
    (folder / "config.yaml").write_text("applications: []\n")
    (folder / "requirements.txt").write_text("numpy\n")
    (folder / "notes.md").write_text("notes\n")
    return folder


def test_the_archive_holds_scripts_and_what_they_need_and_nothing_else(tmp_path: Path) -> None:
    archive = source_code.archive(scripts(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["config.yaml", "helpers/text.py", "requirements.txt", "train.py"]
        member = tar.extractfile("train.py")
        assert member
        assert member.read() == b"print('train')\n"


def test_the_same_files_make_the_same_bytes_whenever_and_wherever(tmp_path: Path) -> None:
    first, second = scripts(tmp_path / "a"), scripts(tmp_path / "b")
    os.utime(second / "train.py", (1, 1))
    (second / "train.py").chmod(0o600)
    assert source_code.archive(first) == source_code.archive(second)


def test_a_folder_and_a_mapping_of_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    files = {
        "train.py": b"print('train')\n",
        "requirements.txt": b"numpy\n",
        "helpers/text.py": b"WORDS = 1\n",
        "config.yaml": b"applications: []\n",
    }
    assert source_code.pack(files) == source_code.archive(scripts(tmp_path))
    assert source_code.pack({**files, "train.py": b"print('other')\n"}) != source_code.pack(files)


def test_the_repositorys_scripts_are_within_reach() -> None:
    with tarfile.open(fileobj=io.BytesIO(source_code.archive())) as tar:
        assert {"train.py", "generate.py", "serve.py", "config.yaml"} <= set(tar.getnames())


def test_a_build_without_scripts_says_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no scripts"):
        source_code.archive(tmp_path)


def test_the_archive_is_uploaded_under_its_hash_if_it_is_not_there(stubbed: Any) -> None:
    body = source_code.archive()
    key = f"code/{hashlib.sha256(body).hexdigest()}/sourcedir.tar.gz"
    stubbed.answers(
        "s3",
        "put_object",
        {},
        Bucket="texts",
        Key=key,
        Body=body,
        IfNoneMatch="*",
        ContentType="application/gzip",
    )
    assert source_code.upload("texts") == f"s3://texts/{key}"


def test_scripts_from_elsewhere_are_uploaded_in_the_same_way(stubbed: Any) -> None:
    body = source_code.pack({"train.py": b"print('other')\n"})
    key = f"code/{hashlib.sha256(body).hexdigest()}/sourcedir.tar.gz"
    put = {"IfNoneMatch": "*", "ContentType": "application/gzip"}
    stubbed.answers("s3", "put_object", {}, Bucket="texts", Key=key, Body=body, **put)
    assert source_code.upload("texts", body) == f"s3://texts/{key}"


def test_an_archive_that_is_there_already_is_taken(stubbed: Any) -> None:
    stubbed.refuses("s3", "put_object", "PreconditionFailed", status=412)
    assert source_code.upload("texts").startswith("s3://texts/code/")


def test_an_archive_being_written_by_another_run_is_waited_for(stubbed: Any) -> None:
    stubbed.refuses("s3", "put_object", "ConditionalRequestConflict", status=409)
    with pytest.raises(ServiceUnavailable):
        source_code.upload("texts")
