"""training_output: what a job left beside its model, or nothing where it cannot be read."""

import gzip
import io
import json
import random
import tarfile
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from contracts.training import Trained
from training import job_output

FOUND = {"comparison": {"comparable": True}, "epochs": [1, 2]}


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def folder() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("metrics.json")
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    return buffer.getvalue()


@pytest.fixture
def left(stubbed: Any) -> Any:
    """left(body, size): announce output.tar.gz beside the documents' model."""

    def announce(body: bytes, size: int | None = None) -> None:
        length = len(body) if size is None else size
        stubbed.answers(
            "s3",
            "get_object",
            {"Body": StreamingBody(io.BytesIO(body), len(body)), "ContentLength": length},
            Bucket="texts",
            Key="runs/lexline--sotu-0123456789ab/output/output.tar.gz",
        )

    return announce


def read(documents: Any) -> Any:
    return job_output.metrics(Trained.model_validate(documents.trained))


def test_the_scripts_own_document_is_read_from_beside_the_model(documents: Any, left: Any) -> None:
    left(packed({"samples.txt": b"once", "metrics.json": json.dumps(FOUND).encode()}))
    assert read(documents) == FOUND


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied"])
def test_a_job_that_left_nothing_is_no_error(stubbed: Any, documents: Any, code: str) -> None:
    stubbed.refuses("s3", "get_object", code)
    assert read(documents) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no archive",
        gzip.compress(b"no archive"),
        packed({"metrics.json": json.dumps(FOUND).encode()})[:-40],
        packed({}),
        packed({"other.json": b"{}"}),
        packed({"metrics.json": b"{"}),
        packed({"metrics.json": b"[1]"}),
        packed({"metrics.json": b"\xff"}),
        packed({"metrics.json": b""}),
        packed({"metrics.json": b"[" * 200_000}),
        folder(),
    ],
    # An archive has the time in it, and would be named otherwise in another process.
    ids=str.split("empty text zipped cut none other half list bytes blank deep folder"),
)
def test_scripts_of_somebody_elses_may_leave_anything(documents: Any, left: Any, body: bytes) -> None:
    left(body)
    assert read(documents) == {}


def test_damage_anywhere_in_the_archive_is_no_error(documents: Any, left: Any) -> None:
    archive = packed({"metrics.json": json.dumps(list(range(100_000))).encode()})
    chance = random.Random(0)
    for _ in range(100):
        damaged = bytearray(archive)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        left(bytes(damaged))
        # A list is no document of ours either.
        assert read(documents) == {}


def test_what_is_too_large_for_a_function_is_not_read(documents: Any, left: Any) -> None:
    left(packed({"metrics.json": json.dumps(FOUND).encode()}), size=33 * 1024**2)
    assert read(documents) == {}


def test_a_document_that_unpacks_to_too_much_is_not_read(documents: Any, left: Any) -> None:
    left(packed({"metrics.json": b'{"a": "' + b"x" * 33 * 1024**2 + b'"}'}))
    assert read(documents) == {}


def test_infinity_is_read_as_it_is_written(documents: Any, left: Any) -> None:
    left(packed({"metrics.json": b'{"valid": Infinity}'}))
    assert read(documents) == {"valid": float("inf")}


def test_what_cannot_be_read_now_is_an_error_to_try_again(stubbed: Any, documents: Any) -> None:
    stubbed.refuses("s3", "get_object", "SlowDown", status=503)
    with pytest.raises(ClientError, match="SlowDown"):
        read(documents)
