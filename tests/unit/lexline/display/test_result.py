"""The result of a run in sentences, from reports that the pipeline could write."""

import json
from typing import Any

import pytest

from lexline.display.result import lines_of
from tests.unit.lexline.pipeline import Report
from tests.unit.lexline.samples import (
    COMPARISON,
    COST,
    ENDPOINT,
    JOB,
    METRICS,
    NOTHING_DONE,
    ONE,
    REGISTERED,
    RUN,
    SUCCEEDED,
    TRAINED,
)


def text_of(**changes: Any) -> str:
    report = Report.model_validate({**SUCCEEDED, **changes})
    return "\n".join(lines_of(json.loads(report.model_dump_json()), RUN.id))


def test_success_has_the_model_its_quality_a_text_and_its_cost() -> None:
    assert text_of().splitlines() == [
        f"{JOB} is live on the endpoint lexline.",
        "It was trained on 2,088,628 words of sotu for 3 min 05 s on ml.m5.xlarge, and is version 7 in "
        "`lexline models`.",
        "Test perplexity 208: on unseen text, the model is as uncertain about the next word as if it chose "
        "at random among 208 words. Its vocabulary has 33,278 words.",
        f"On the same words, it has a perplexity of 210.50, and {ONE}, which served before, has 230.25.",
        'Sample text (seed 111): "My fellow citizens"',
        "Cost on AWS: training about $0.00473 (spot instances saved 60%, $0.0071); endpoint about $0.115 an "
        "hour, $2.76 a day, $83.95 a month while it exists.",
        f"Report: s3://b/reports/{JOB}.html (`lexline report {RUN.id} --save FILE` saves it)",
        "Duration: 3 min 20 s (prepare 2.0 s, create model 0.4 s).",
    ]


FAILURE = {
    "error": "InvalidDataset",
    "message": "The file is not UTF-8 at byte 17",
    "step": "Prepare",
    "cleanup": ["Compensate failed with EndpointBusy: it is Updating"],
}
REJECTED = {
    **NOTHING_DONE,
    "status": "Rejected",
    "event": "rejected",
    "reason": "210.50 is worse than 205.10. The endpoint was left as it was.",
    "job": TRAINED,
    "metrics": METRICS,
    "registered": REGISTERED,
    "cost": COST,
}
DEPLOYED = {
    **NOTHING_DONE,
    "registered": {**REGISTERED, "model": ONE},
    "endpoint": ENDPOINT,
    "work": "deploy",
    "dataset": None,
}


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        (
            {"comparison": {"champion": ONE, "tolerance": 0.0, "reason": "Its artifact is gone"}},
            [f"It could not be compared with {ONE}, which served before: Its artifact is gone."],
        ),
        (
            {"comparison": {**COMPARISON, "notes": ["It may have read this text."]}},
            ["has 230.25. It may have read this text."],
        ),
        (
            {"finished": {"scales": False, "teardown_at": "2026-11-26T10:00:00Z"}},
            ["The endpoint will be torn down at 2026-11-2"],
        ),
        (
            {"removed": ["endpoint/lexline", f"model/{JOB}"], "standing_cost": None},
            ["and then torn down, as requested.", f"Removed: endpoint/lexline and model/{JOB}."],
        ),
        ({"metrics": {**METRICS, "test_perplexity": float("inf")}}, ["Test perplexity infinite"]),
        (DEPLOYED, [f"{ONE} is live on the endpoint lexline.\nTest perplexity 208: "]),
        ({**DEPLOYED, "event": "rolled_back"}, [f"The endpoint lexline serves {ONE} again."]),
        (
            REJECTED,
            [
                "The model was trained but not deployed: 210.50 is worse than 205.10.",
                "Test perplexity 208",
                "`lexline deploy 7 --force`",
            ],
        ),
        (
            {**NOTHING_DONE, "status": "Unchanged", "event": "unchanged", "reason": f"It is {ONE}"},
            [
                f"Nothing has changed, so no model was trained. It is {ONE}.",
                "`lexline run --dataset sotu --force`",
            ],
        ),
        (
            {**NOTHING_DONE, "status": "Skipped", "event": "skipped", "reason": "Two files are missing"},
            ["There was nothing to do: Two files are missing."],
        ),
        (
            {**NOTHING_DONE, "status": "Skipped", "event": "skipped", "reason": "It joined.", "joined": ONE},
            ["There was nothing to do: It joined.", "`lexline status --follow 111111111111`"],
        ),
        (
            {**NOTHING_DONE, "status": "Failed", "event": "failed", "error": FAILURE},
            [
                "The run failed in Prepare: The file is not UTF-8 at byte 17.",
                "During the cleanup: Compensate failed with EndpointBusy: it is Updating.",
            ],
        ),
        (
            {**NOTHING_DONE, "status": "Failed", "event": "failed", "error": {**FAILURE, "step": "Train"}},
            ["The run failed in Train", f"`lexline logs {RUN.id}`"],
        ),
        (
            {**NOTHING_DONE, "status": "Failed", "event": "rolled_back", "error": FAILURE},
            ["The endpoint serves the previous model again."],
        ),
        *(
            (
                {
                    **NOTHING_DONE,
                    "event": work,
                    "work": work,
                    "reason": "It is gone.",
                    "removed": ["model/m"],
                },
                ["It is gone.\nRemoved: model/m."],
            )
            for work in ("teardown", "cleanup")
        ),
    ],
)
def test_each_result_says_what_happened_and_what_to_do_next(
    changes: dict[str, Any], texts: list[str]
) -> None:
    result = text_of(**changes)
    for text in texts:
        assert text in result


def test_a_model_that_was_torn_down_is_not_called_live() -> None:
    assert "live" not in text_of(removed=["endpoint/lexline"], standing_cost=None)


def test_only_a_failed_training_points_to_the_log_and_only_a_rollback_to_the_previous_model() -> None:
    result = text_of(**NOTHING_DONE, status="Failed", event="failed", error=FAILURE)
    assert "lexline logs" not in result
    assert "previous model" not in result
