"""The same scripts make the same package, which is uploaded once."""

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from core.errors import Misconfigured, ServiceUnavailable
from training import script_package

FILES = {
    "train.py": b"print('train')\n",
    "requirements.txt": b"numpy\n",
    "helpers/text.py": b"WORDS = 1\n",
    "config.yaml": b"applications: []\n",
}
OTHERS = {"helpers/__pycache__/text.py": b"", "notes.md": b"notes\n"}


def scripts(folder: Path) -> Path:
    for path, content in {**FILES, **OTHERS}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def test_the_package_holds_scripts_and_what_they_need_and_nothing_else(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(script_package.own(scripts(tmp_path)))) as tar:
        assert tar.getnames() == sorted(FILES)
        member = tar.extractfile("train.py")
        assert member
        assert member.read() == FILES["train.py"]


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    first, second = scripts(tmp_path / "a"), scripts(tmp_path / "b")
    os.utime(second / "train.py", (1, 1))
    (second / "train.py").chmod(0o600)
    assert script_package.own(first) == script_package.own(second) == script_package.pack(FILES)
    assert script_package.pack({**FILES, "train.py": b"print('other')\n"}) != script_package.pack(FILES)


def test_the_deployments_own_scripts_are_found() -> None:
    with tarfile.open(fileobj=io.BytesIO(script_package.own())) as tar:
        assert {"train.py", "generate.py", "serve.py", "config.yaml"} <= set(tar.getnames())


def test_a_build_without_scripts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no scripts"):
        script_package.own(tmp_path)


def test_the_package_is_uploaded_under_its_hash(stubbed: Any) -> None:
    packed = script_package.pack(FILES)
    digest = hashlib.sha256(packed).hexdigest()
    key = f"code/{digest}/sourcedir.tar.gz"
    put = {
        "Bucket": "texts",
        "Key": key,
        "Body": packed,
        "IfNoneMatch": "*",
        "ContentType": "application/gzip",
    }
    stubbed.answers("s3", "put_object", {}, **put)
    assert script_package.upload("texts", packed) == (f"s3://texts/{key}", digest)


def test_a_package_that_exists_is_not_uploaded_again(stubbed: Any) -> None:
    stubbed.refuses("s3", "put_object", "PreconditionFailed", status=412)
    assert script_package.upload("texts", b"packed")[0].startswith("s3://texts/code/")


def test_a_package_that_another_run_is_writing_is_retried(stubbed: Any) -> None:
    stubbed.refuses("s3", "put_object", "ConditionalRequestConflict", status=409)
    with pytest.raises(ServiceUnavailable, match="Another run is writing"):
        script_package.upload("texts", b"packed")
