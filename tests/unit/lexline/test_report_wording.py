"""The result of a run in words, from the documents the pipeline's own report step writes."""

import json
from typing import Any

import contracts
import pytest

from lexline.report import lines_of

RUN = "lexline-sotu-0123456789ab"
ID = "0123456789ab"
SPLIT = {"lines": 10, "words": 2_088_628, "bytes": 9}
PREPARED = {
    "outcome": "prepared",
    "dataset": "sotu",
    "source": [{"uri": "s3://b/uploads/sotu/a.txt", "etag": "e"}],
    "fingerprint": "0" * 64,
    "prepared_uri": "s3://b/prepared/sotu/0/",
    "manifest_uri": "s3://b/prepared/sotu/0/manifest.json",
    "splits": {"train": SPLIT, "valid": SPLIT, "test": SPLIT},
}
JOB = {
    "job": RUN,
    "arn": "arn:job",
    "model_artifacts": "s3://b/runs/m/output/model.tar.gz",
    "instance_type": "ml.m5.xlarge",
    "training_seconds": 185,
    "billable_seconds": 185,
    "metrics": {},
}
METRICS = {
    "test_perplexity": 208.3,
    "valid_perplexity": 226.6,
    "train_perplexity": 168.0,
    "words_per_second": 1432,
    "vocabulary_size": 33278,
}
SUCCEEDED: dict[str, Any] = {
    "status": "Succeeded",
    "reason": "Test perplexity 208.3 beats guessing.",
    "run": RUN,
    "execution": "arn:aws:states:us-east-1:1:execution:m:e",
    "dataset": PREPARED,
    "job": JOB,
    "metrics": METRICS,
    "model": {"name": RUN, "arn": "arn:model", "image": "i", "model_artifacts": JOB["model_artifacts"]},
    "endpoint": {"endpoint": "lexline", "arn": "arn:endpoint", "config": RUN, "instance_count": 1},
    "smoke_test": {"text": "My fellow\ncitizens", "words": 3, "seed": 111, "temperature": 1.0},
    "durations": {"prepare": 2.0, "create_model": 0.4, "total": 200.0},
    "torn_down": [],
    "error": None,
}
NOTHING = {"job": None, "metrics": None, "model": None, "endpoint": None, "smoke_test": None}


def words(**changes: Any) -> str:
    document = contracts.Report.model_validate({**SUCCEEDED, **changes})
    return "\n".join(lines_of(json.loads(document.model_dump_json()), ID))


def test_success_tells_what_serves_how_good_it_is_and_what_it_says() -> None:
    assert words().splitlines() == [
        f"{RUN} is live on the endpoint lexline.",
        "It learned from 2,088,628 words of sotu in 3 min 05 s of training on ml.m5.xlarge.",
        "Test perplexity 208: on text it has not seen, it is as unsure of the next word as if it chose "
        "evenly among 208 of the 33,278 words it knows.",
        'It says, from seed 111: "My fellow citizens"',
        "Took 3 min 20 s: prepare 2.0 s, create model 0.4 s.",
    ]


def test_a_torn_down_model_is_not_called_live() -> None:
    text = words(torn_down=["endpoint/lexline", f"model/{RUN}"])
    assert "live" not in text
    assert f"Removed: endpoint/lexline and model/{RUN}." in text


def test_a_rejected_model_is_named_with_the_reason_and_its_score() -> None:
    text = words(
        status="Rejected",
        reason="208.3 is above 100. The endpoint was left as it was.",
        endpoint=None,
        model=None,
    )
    assert text.startswith("The model was trained but not put into service: 208.3 is above 100.")
    assert "Test perplexity 208" in text


def test_an_infinite_perplexity_can_be_said() -> None:
    assert "Test perplexity infinite" in words(metrics={**METRICS, "test_perplexity": float("inf")})


def test_a_skipped_run_gives_its_reason() -> None:
    waiting = {"outcome": "waiting", "dataset": "sotu", "reason": "Two of three files are there"}
    text = words(status="Skipped", reason="Two of three files are there", dataset=waiting, **NOTHING)
    assert text.startswith("There was nothing to do: Two of three files are there.")


@pytest.mark.parametrize(("step", "log_helps"), [("Train", True), ("Prepare", False)])
def test_a_failure_names_the_step_and_points_at_the_log_only_where_there_is_one(
    step: str, log_helps: bool
) -> None:
    error = {
        "error": "InvalidDataset",
        "message": "The file is not UTF-8 at byte 17",
        "step": step,
        "cleanup": ["Compensate failed with EndpointBusy: it is Updating"],
    }
    text = words(status="Failed", reason="...", error=error, **NOTHING)
    assert text.startswith(f"The run failed in {step}: The file is not UTF-8 at byte 17.")
    assert "While cleaning up: Compensate failed with EndpointBusy: it is Updating." in text
    assert (f"lexline logs {ID}" in text) == log_helps
