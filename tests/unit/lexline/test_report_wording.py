"""The result of a run in words, from the documents the pipeline's own report step writes."""

import json
from typing import Any

import pytest

from contracts.report import Report
from lexline.report import lines_of

RUN = "lexline-sotu-0123456789ab"
FORMER = "lexline-sotu-ba9876543210"
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
    "instance_count": 1,
    "spot": True,
    "training_seconds": 185,
    "billable_seconds": 74,
    "metrics": {},
}
METRICS = {
    "test_perplexity": 208.3,
    "valid_perplexity": 226.6,
    "train_perplexity": 168.0,
    "words_per_second": 1432,
    "vocabulary_size": 33278,
}
COMPARISON: dict[str, Any] = {
    "champion": FORMER,
    "champion_perplexity": 230.25,
    "challenger_perplexity": 210.5,
    "tolerance": 0.0,
}
REGISTERED = {
    "arn": "arn:package",
    "version": 7,
    "model": RUN,
    "approved": True,
    "model_artifacts": JOB["model_artifacts"],
    "dataset": "sotu",
    "fingerprint": "0" * 64,
    "identity": "1" * 64,
    "test_perplexity": 208.3,
}
TEXT = {"prompt": "", "seed": 111, "temperature": 1.0, "text": "My fellow\ncitizens", "seconds": 0.1}
ESTIMATE = {"prices_date": "2026-09-22", "prices_region": "us-east-1", "notes": []}
COST: dict[str, Any] = {
    **ESTIMATE,
    "instance_type": "ml.m5.xlarge",
    "instance_count": 1,
    "training_seconds": 185,
    "billable_seconds": 74,
    "price_per_hour": 0.23,
    "training": 0.00473,
    "spot": True,
    "spot_saving": 0.6,
    "spot_saved": 0.0071,
    "orchestration": None,
    "total": 0.00473,
}
STANDING: dict[str, Any] = {
    **ESTIMATE,
    "kind": "real-time",
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "per_hour": 0.115,
    "per_day": 2.76,
    "per_month": 83.95,
}
SUCCEEDED: dict[str, Any] = {
    "status": "Succeeded",
    "event": "deployed",
    "reason": "Test perplexity 208.3 beats guessing.",
    "run": RUN,
    "work": "train",
    "execution": "arn:aws:states:us-east-1:1:execution:m:e",
    "dataset": PREPARED,
    "source": {"uri": "s3://b/code/c/sourcedir.tar.gz", "sha256": "2" * 64},
    "job": JOB,
    "metrics": METRICS,
    "comparison": COMPARISON,
    "registered": REGISTERED,
    "model": {"name": RUN, "arn": "arn:model", "image": "i", "model_artifacts": JOB["model_artifacts"]},
    "endpoint": {"endpoint": "lexline", "arn": "arn:endpoint", "config": RUN, "instance_count": 1},
    "smoke_test": {"texts": [TEXT], "slowest_seconds": 0.1},
    "finished": {"scales": False, "teardown_at": None},
    "cost": COST,
    "standing_cost": STANDING,
    "durations": {"prepare": 2.0, "create_model": 0.4, "total": 200.0},
    "torn_down": [],
    "error": None,
    "page": f"s3://b/reports/{RUN}.html",
}
NOTHING: dict[str, Any] = {
    "job": None,
    "metrics": None,
    "comparison": None,
    "registered": None,
    "model": None,
    "endpoint": None,
    "smoke_test": None,
    "finished": None,
    "cost": None,
    "standing_cost": None,
    "page": None,
}


def words(*, local: bool = False, **changes: Any) -> str:
    document = Report.model_validate({**SUCCEEDED, **changes})
    return "\n".join(lines_of(json.loads(document.model_dump_json()), ID, local=local))


def test_success_tells_what_serves_how_good_it_is_what_it_says_and_what_it_costs() -> None:
    assert words().splitlines() == [
        f"{RUN} is live on the endpoint lexline.",
        "It learned from 2,088,628 words of sotu in 3 min 05 s of training on ml.m5.xlarge, and is version 7 "
        "of `lexline models`.",
        "Test perplexity 208: on text it has not seen, it is as unsure of the next word as if it chose "
        "evenly among 208 of the 33,278 words it knows.",
        f"On the same words it has perplexity 210.50; {FORMER}, which served, 230.25.",
        'It says, from seed 111: "My fellow citizens"',
        "Cost: training about $0.00473 (spot instances saved 60%, $0.0071); endpoint about $0.115 an hour, "
        "$2.76 a day, $83.95 a month for as long as it stands.",
        f"Report: s3://b/reports/{RUN}.html (`lexline report {ID} --save FILE` fetches it)",
        "Took 3 min 20 s: prepare 2.0 s, create model 0.4 s.",
    ]


def test_on_this_machine_the_cost_is_what_it_would_be_elsewhere() -> None:
    assert "\nCost on AWS: training about" in words(local=True)


def test_a_price_that_is_not_known_is_not_called_nothing() -> None:
    text = words(cost={**COST, "total": None}, standing_cost={**STANDING, "per_hour": None})
    assert "training unknown, for the price table has no ml.m5.xlarge" in text
    assert "endpoint unknown, for the price table has no ml.m5.large" in text


def test_a_serverless_endpoint_costs_by_request() -> None:
    serverless = {**ESTIMATE, "kind": "serverless", "per_hour": 0.0, "per_1000_requests": 0.06}
    assert "endpoint nothing while nobody asks, about $0.06 for 1,000" in words(standing_cost=serverless)


def test_a_champion_that_could_not_be_compared_is_named_with_the_reason() -> None:
    comparison = {"champion": FORMER, "tolerance": 0.0, "reason": "Its artifact is gone"}
    text = words(comparison=comparison)
    assert f"It could not be compared with {FORMER}, which served: Its artifact is gone." in text


def test_what_qualifies_a_comparison_is_told_with_it() -> None:
    notes = ["It may have read this text."]
    assert "which served, 230.25. It may have read this text." in words(
        comparison={**COMPARISON, "notes": notes}
    )


def test_an_endpoint_that_is_to_go_says_when() -> None:
    finished = {"scales": False, "teardown_at": "2026-11-26T10:00:00Z"}
    assert "The endpoint stands until 2026-11-2" in words(finished=finished)


def test_a_torn_down_model_is_not_called_live() -> None:
    text = words(torn_down=["endpoint/lexline", f"model/{RUN}"], standing_cost=None)
    assert "live" not in text
    assert f"Removed: endpoint/lexline and model/{RUN}." in text


def test_a_model_that_was_deployed_again_is_told_by_its_own_name() -> None:
    registered = {**REGISTERED, "model": FORMER}
    deployed = {**SUCCEEDED, **NOTHING, "registered": registered, "endpoint": SUCCEEDED["endpoint"]}
    text = words(**{**deployed, "work": "deploy", "dataset": None})
    assert text.startswith(f"{FORMER} is live on the endpoint lexline.\nTest perplexity 208: ")
    back = words(**{**deployed, "work": "deploy", "dataset": None, "event": "rolled_back"})
    assert back.startswith(f"The endpoint lexline is back at {FORMER}.")


@pytest.mark.parametrize("event", ["torn_down", "cleaned_up"])
def test_a_run_that_only_removes_says_what_and_why(event: str) -> None:
    removed = [f"model/{FORMER}"]
    text = words(
        **NOTHING, event=event, work="clean_up", dataset=None, reason="It is gone.", torn_down=removed
    )
    assert text.startswith(f"It is gone.\nRemoved: model/{FORMER}.")


def test_a_rejected_model_is_named_with_the_reason_its_score_and_how_to_have_it_all_the_same() -> None:
    text = words(
        status="Rejected",
        event="rejected",
        reason="210.50 is worse than 205.10. The endpoint was left as it was.",
        **{**NOTHING, "job": JOB, "metrics": METRICS, "registered": REGISTERED, "cost": COST},
    )
    assert text.startswith("The model was trained but not put into service: 210.50 is worse than 205.10.")
    assert "Test perplexity 208" in text
    assert "`lexline deploy 7 --force`" in text


def test_an_infinite_perplexity_can_be_said() -> None:
    assert "Test perplexity infinite" in words(metrics={**METRICS, "test_perplexity": float("inf")})


def test_an_unchanged_run_says_how_to_train_all_the_same() -> None:
    text = words(status="Unchanged", event="unchanged", reason=f"It is {FORMER}", **NOTHING)
    assert text.startswith(f"Nothing has changed, so nothing was trained. It is {FORMER}.")
    assert "`lexline run --dataset sotu --force`" in text


def test_a_skipped_run_gives_its_reason() -> None:
    waiting = {"outcome": "waiting", "dataset": "sotu", "reason": "Two of three files are there"}
    text = words(
        status="Skipped", event="skipped", reason="Two of three files are there", **NOTHING, dataset=waiting
    )
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
    text = words(status="Failed", event="failed", reason="...", error=error, **NOTHING)
    assert text.startswith(f"The run failed in {step}: The file is not UTF-8 at byte 17.")
    assert "While cleaning up: Compensate failed with EndpointBusy: it is Updating." in text
    assert (f"lexline logs {ID}" in text) == log_helps
    assert "back at what it served before" not in text


def test_a_failure_that_was_rolled_back_says_so() -> None:
    error = {"error": "SmokeTestFailed", "message": "It is silent", "step": "SmokeTest", "cleanup": []}
    text = words(status="Failed", event="rolled_back", reason="...", error=error, **NOTHING)
    assert "The endpoint is back at what it served before, and answers." in text
