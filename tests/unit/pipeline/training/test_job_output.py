"""job_output: what a job left beside its model, or nothing where it cannot be read."""

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from contracts.training import Trained
from tests.unit.pipeline.archives import tarred
from tests.unit.pipeline.documents import Documents
from tests.unit.pipeline.stubbed_aws import StubbedAws
from training import job_output
from training.job_output import Epoch, JobMetrics, JobOutput, Sample, ScoredModel, ScoredModels

CURVE = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
METRICS = {"best_epoch": 2, "epochs": [{"epoch": 1, "train_perplexity": 300, "valid_perplexity": 310.5}]}
FOUND = JobMetrics(best_epoch=2, epochs=[Epoch(train_perplexity=300.0, valid_perplexity=310.5)])
MEGABYTES = 1024**2


def packed(files: dict[str, bytes], **fields: Any) -> bytes:
    return tarred(files, "w:gz", **fields)


Read = Callable[..., JobOutput]


@pytest.fixture
def read(stubbed: StubbedAws, documents: Documents) -> Read:
    """read(archive, size): the output of a job that left this archive."""

    def output(archive: bytes, size: int | None = None) -> JobOutput:
        body = StreamingBody(io.BytesIO(archive), len(archive))
        response = {"Body": body, "ContentLength": len(archive) if size is None else size}
        key = "runs/lexline--sotu-0123456789ab/output/output.tar.gz"
        stubbed.answers("s3", "get_object", response, Bucket="texts", Key=key)
        return job_output.read(Trained.model_validate(documents.trained))

    return output


@pytest.fixture
def metrics(read: Read) -> Callable[[Any], JobMetrics]:
    """metrics(document): what is read of this metrics.json."""
    return lambda document: read(packed({"metrics.json": json.dumps(document).encode()})).metrics


def test_metrics_and_curve_are_read_from_beside_the_model(read: Read) -> None:
    files = {"other.txt": b"once", "metrics.json": json.dumps(METRICS).encode(), "training_curve.svg": CURVE}
    assert read(packed(files)) == JobOutput(FOUND, CURVE)


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied"])
def test_a_job_that_left_nothing_is_no_error(stubbed: StubbedAws, documents: Documents, code: str) -> None:
    stubbed.refuses("s3", "get_object", code)
    assert job_output.read(Trained.model_validate(documents.trained)) == JobOutput()


def test_an_output_that_cannot_be_read_now_is_an_error_to_retry(
    stubbed: StubbedAws, documents: Documents
) -> None:
    stubbed.refuses("s3", "get_object", "SlowDown", status=503)
    with pytest.raises(ClientError, match="SlowDown"):
        job_output.read(Trained.model_validate(documents.trained))


# --- archives of any origin --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no archive",
        gzip.compress(b"no archive"),
        packed({"metrics.json": json.dumps(METRICS).encode()})[:-40],
        packed({}),
        packed({"other.json": b"{}"}),
        packed({"metrics.json": b"{"}),
        packed({"metrics.json": b"[1]"}),
        packed({"metrics.json": b"\xff"}),
        packed({"metrics.json": b""}),
        packed({"metrics.json": b"[" * 200_000}),
        packed({"metrics.json": b""}, type=tarfile.DIRTYPE),
        packed({"metrics.json": b""}, type=tarfile.SYMTYPE, linkname="metrics.json"),
    ],
    # An archive holds the time, so its own text would be another id in every process.
    ids=str.split("empty text zipped cut none other half list bytes blank deep folder link"),
)
def test_scripts_of_any_origin_may_leave_anything(read: Read, archive: bytes) -> None:
    assert read(archive) == JobOutput()


def test_damage_anywhere_in_the_archive_is_no_error(read: Read) -> None:
    archive = packed({"metrics.json": json.dumps(list(range(100_000))).encode()})
    chance = random.Random(0)
    for _ in range(100):
        damaged = bytearray(archive)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        # A list is no metrics.json either.
        assert read(bytes(damaged)).metrics == JobMetrics()


@pytest.mark.parametrize("name", ["metrics.json", "other.bin"])
def test_an_archive_that_is_too_large_for_a_function_is_not_read(read: Read, name: str) -> None:
    small = {"training_curve.svg": CURVE}
    assert read(packed({name: b" " * 33 * MEGABYTES} | small)) == JobOutput()
    assert read(packed(small), size=33 * MEGABYTES) == JobOutput()


def test_a_curve_that_is_too_large_for_a_page_is_not_read(read: Read) -> None:
    files = {"metrics.json": json.dumps(METRICS).encode(), "training_curve.svg": b" " * 500_001}
    assert read(packed(files)) == JobOutput(FOUND, None)


# --- metrics of any origin ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (METRICS | {"unknown": 1, "parameters": float("nan"), "comparison": 7, "samples": "many"}, FOUND),
        ({"best_epoch": True, "parameters": -1}, JobMetrics()),
        ({"epochs": [{"train_perplexity": float("inf")}, {"valid_perplexity": "3"}]}, [Epoch(), Epoch()]),
        ({"epochs": [{"train_perplexity": 0}, 7]}, JobMetrics()),
        ({"samples": [{"text": 7, "prompt": None, "seed": 1.5}]}, JobMetrics(samples=[Sample()])),
        ({"samples": [{"text": "\ud800", "seed": 1}]}, JobMetrics(samples=[Sample(text="?", seed=1)])),
        (
            {
                "comparison": {
                    "comparable": 1,
                    "champion": {"perplexity": 2, "unknown_share": 7},
                    "notes": [1],
                }
            },
            JobMetrics(comparison=ScoredModels(champion=ScoredModel(perplexity=2.0))),
        ),
    ],
)
def test_a_malformed_value_counts_as_missing(
    metrics: Callable[[Any], JobMetrics], document: dict[str, Any], found: Any
) -> None:
    expected = JobMetrics(epochs=found) if isinstance(found, list) else found
    assert metrics(document) == expected


# --- what the report shows of a job ------------------------------------------------------------------


def test_what_the_job_used_and_what_sets_its_model_apart_is_read(
    metrics: Callable[[Any], JobMetrics],
) -> None:
    document = {
        "hyperparameters": {"epochs": 6, "lr": 0.003, "tied": True, "tokenizer": "prose"},
        "machine": {
            **{"device": "NVIDIA A10G", "precision": "TF32", "processes": 4},
            **{"memory": 5, "gpu_memory": None},
        },
        "side_by_side": {"prompt": "", "seed": 1, "temperature": 0.7, "champion": "a", "challenger": "b"},
        "word_differences": [{"word": "peace", "count": 12, "champion": 0.001, "challenger": 0.2}],
        "cache": {"perplexity": 80.5, "perplexity_without": 99.0, "tokens": 50_000},
    }
    found = metrics(document).model_dump()
    assert {name: found[name] for name in document} == document
    assert type(found["hyperparameters"]["tied"]) is bool


@pytest.mark.parametrize(
    "value",
    [
        {"epochs": [6]},
        {"epochs": None},
        {"lr": float("nan")},
        {"recipe": "fast && rm"},
        {"recipe": "x" * 41},
        {"--set": 1},
        {f"x{'y' * number}": 1 for number in range(51)},
        ["epochs"],
    ],
)
def test_hyperparameters_that_are_none_count_as_missing(
    metrics: Callable[[Any], JobMetrics], value: Any
) -> None:
    assert metrics({"hyperparameters": value}).hyperparameters == {}


@pytest.mark.parametrize("probability", [0, -0.1, 1.1, "0.5", None])
def test_a_probability_that_is_none_is_left_out(
    metrics: Callable[[Any], JobMetrics], probability: Any
) -> None:
    word = {"word": "peace", "count": 3, "champion": probability, "challenger": 0.2}
    (found,) = metrics({"word_differences": [word]}).word_differences
    assert (found.champion, found.challenger, found.improved) == (None, 0.2, True)
