"""Registered models on this machine: what is unpacked, and the child processes."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lexline.aws.stack import Stack
from lexline.core.errors import UsageError, UserError
from lexline.playground import local_models
from lexline.playground.local_models import FILES, LocalModels
from tests.unit.lexline.conftest import Patch
from tests.unit.lexline.samples import MODELS, ONE

ECHO = """
import json, os, sys
print(json.dumps({"loaded": True}), flush=True)
for line in sys.stdin:
    body = json.loads(line)
    if body.get("prompt") == "end": sys.exit("out of memory")
    bad = {"error": "prompt is bad"}
    good = {"model": os.environ["LEXLINE_MODEL"], **body}
    print(json.dumps(bad if body.get("prompt") == "bad" else good), flush=True)
"""
"""A program in the model's place, which starts at once."""


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


MODEL = archive({**{name: name.encode() for name in FILES}, "code/inference.py": b"raise SystemExit"})


class Bucket:
    """S3, with one artifact for every model."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.downloads: list[str] = []

    def head_object(self, **_: str) -> dict[str, int]:
        return {"ContentLength": len(self.content)}

    def download_file(self, bucket: str, key: str, file: str) -> None:
        self.downloads.append(f"{bucket}/{key}")
        Path(file).write_bytes(self.content)


@pytest.fixture
def bucket(stack: Stack, monkeypatch: pytest.MonkeyPatch, patch: Patch, tmp_path: Path) -> Bucket:
    made = Bucket(MODEL)
    monkeypatch.setitem(vars(stack.target), "s3", made)
    patch("aws.models.find", lambda _, version: next(each for each in MODELS if str(each.version) == version))
    patch("aws.models.artifact", lambda _, model: f"s3://artifacts/{model.version}/model.tar.gz")
    program = tmp_path / "echo.py"
    program.write_text(ECHO)
    monkeypatch.setattr(local_models, "_PROGRAM", program)
    return made


@pytest.fixture
def models(stack: Stack, bucket: Bucket, tmp_path: Path) -> Iterator[LocalModels]:
    folder = tmp_path / "models"
    folder.mkdir()
    with LocalModels(stack, folder) as made:
        yield made


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "echo.py" in " ".join(each.cmdline())]


def test_a_model_is_downloaded_and_started_once(models: LocalModels, bucket: Bucket, tmp_path: Path) -> None:
    assert models.generate("1", {"words": 3}) == {"model": ONE, "words": 3}
    models.generate("1", {})
    assert bucket.downloads == ["artifacts/1/model.tar.gz"]
    assert len(children()) == 1
    # The scripts in the artifact may be anybody's.
    assert {each.name for each in (tmp_path / "models" / "1").iterdir()} == {*FILES, "log"}


def test_only_the_models_that_were_used_last_stay_in_memory(models: LocalModels, bucket: Bucket) -> None:
    for version in ("1", "2", "1", "3", "1"):
        models.generate(version, {})
    assert len(children()) == 2
    models.generate("2", {})
    assert len(bucket.downloads) == 3
    models.__exit__()
    assert children() == []


def test_a_request_that_the_model_refuses_is_the_users_error(models: LocalModels) -> None:
    with pytest.raises(UsageError, match="prompt is bad"):
        models.generate("1", {"prompt": "bad"})
    assert models.generate("1", {})["model"] == ONE


def test_a_model_that_ends_says_why_and_starts_again(models: LocalModels) -> None:
    with pytest.raises(UserError, match=f"{ONE} ended on this machine. out of memory"):
        models.generate("1", {"prompt": "end"})
    assert models.generate("1", {})["model"] == ONE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        MODEL[: len(MODEL) // 2],
        archive({"config.json": b"{}"}),
        archive({**dict.fromkeys(FILES[1:], b""), "../model.pt": b""}),
        archive({**dict.fromkeys(FILES[1:], b""), "/model.pt": b""}),
    ],
    ids=["empty", "no archive", "cut off", "incomplete", "outside the folder", "absolute path"],
)
def test_an_artifact_that_cannot_be_read_is_named_and_leaves_nothing(
    models: LocalModels, bucket: Bucket, content: bytes, tmp_path: Path
) -> None:
    bucket.content = content
    for _ in range(2):
        with pytest.raises(UserError, match=f"The artifact of {ONE} cannot be read"):
            models.generate("1", {})
    assert [*(tmp_path / "models").iterdir()] == []
    assert children() == []


def test_a_file_that_is_a_link_is_refused(models: LocalModels, bucket: Bucket, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in FILES:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(member)
    bucket.content = packed.getvalue()
    with pytest.raises(UserError, match="cannot be read"):
        models.generate("1", {})
