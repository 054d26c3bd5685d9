"""report: one document says what became of the run, and everybody on the topic gets it."""

import json
from typing import Any

import pytest
import report
from botocore.stub import ANY

NAME = "lexline-sotu-0123456789ab"


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    return {
        "execution": documents.execution,
        "run": documents.run,
        "prepared": documents.prepared,
        "trained": documents.trained,
        "evaluated": documents.evaluated,
        "model": documents.model,
        "deployed": documents.deployed,
        "smoke_test": documents.smoke_test,
        "torn_down": None,
        "compensated": None,
        "caught": [],
        "skipped": None,
        "durations": {"plan": 0.1, "total": 700.5},
    }


@pytest.fixture
def reported(stubbed: Any, context: Any, environment: Any) -> Any:
    def run(event: Any) -> dict[str, Any]:
        stubbed.answers("sns", "publish", {"MessageId": "1"})
        return report.handler(event, context)

    return run


def never_reached(event: dict[str, Any], *fields: str) -> None:
    event.update(dict.fromkeys(fields))


def lambda_cause(message: str) -> str:
    return json.dumps({"errorMessage": message, "errorType": "X", "stackTrace": ["  File ..."]})


def test_a_run_that_served_its_model_succeeded(reported: Any, event: Any, documents: Any) -> None:
    document = reported(event)
    assert document == {
        "status": "Succeeded",
        "reason": documents.evaluated["reason"],
        "run": NAME,
        "execution": documents.execution["id"],
        "dataset": documents.prepared,
        "job": documents.trained,
        "metrics": documents.evaluated["metrics"],
        "model": documents.model,
        "endpoint": documents.deployed,
        "smoke_test": documents.smoke_test,
        "durations": {"plan": 0.1, "total": 700.5},
        "torn_down": [],
        "error": None,
    }


def test_the_document_is_published_with_a_subject_for_mailboxes(
    stubbed: Any, event: Any, context: Any, environment: Any
) -> None:
    stubbed.answers(
        "sns",
        "publish",
        {"MessageId": "1"},
        TopicArn=environment["TOPIC_ARN"],
        Subject=f"Lexline: {NAME} Succeeded",
        Message=ANY,
        MessageAttributes={"status": {"DataType": "String", "StringValue": "Succeeded"}},
    )
    report.handler(event, context)


def test_a_rejected_model_is_an_outcome_and_no_error(reported: Any, event: Any) -> None:
    event["evaluated"].update(accepted=False, reason="Test perplexity 600.00 is above max_perplexity, 500.")
    never_reached(event, "model", "deployed", "smoke_test")
    document = reported(event)
    assert document["status"] == "Rejected"
    assert document["reason"].endswith("500. The endpoint was left as it was.")
    assert document["error"] is None


def test_a_run_that_waits_for_more_files_is_skipped(reported: Any, event: Any) -> None:
    never_reached(event, "trained", "evaluated", "model", "deployed", "smoke_test")
    reason = "valid.txt and test.txt are still to come."
    event["prepared"] = {"outcome": "waiting", "dataset": "sotu", "reason": reason}
    document = reported(event)
    assert (document["status"], document["reason"]) == ("Skipped", reason)


def test_a_step_with_nothing_to_do_skips_the_run(reported: Any, event: Any) -> None:
    never_reached(event, "run", "prepared", "trained", "evaluated", "model", "deployed", "smoke_test")
    event["skipped"] = {"Error": "NothingToDo", "Cause": lambda_cause("Announced twice."), "Step": "Plan"}
    document = reported(event)
    assert (document["status"], document["reason"], document["run"]) == ("Skipped", "Announced twice.", None)


@pytest.mark.parametrize("cause", [lambda_cause("Exit code 1."), "Exit code 1."])
def test_a_failed_run_says_why_whether_a_function_or_a_token_said_it(
    reported: Any, event: Any, cause: str
) -> None:
    never_reached(event, "trained", "evaluated", "model", "deployed", "smoke_test")
    event["caught"] = [{"Error": "TrainingFailed", "Cause": cause, "Step": "Train"}]
    document = reported(event)
    assert document["status"] == "Failed"
    assert document["reason"] == "Train failed with TrainingFailed: Exit code 1."
    assert document["error"] == {
        "error": "TrainingFailed",
        "message": "Exit code 1.",
        "step": "Train",
        "cleanup": [],
    }


def test_the_first_error_is_the_reason_and_the_later_ones_are_told(reported: Any, event: Any) -> None:
    event["caught"] = [
        {"Error": "SmokeTestFailed", "Cause": lambda_cause("No text."), "Step": "SmokeTest"},
        {"Error": "AccessDenied", "Cause": lambda_cause("Not allowed."), "Step": "Compensate"},
    ]
    document = reported(event)
    assert document["error"]["error"] == "SmokeTestFailed"
    assert document["error"]["cleanup"] == ["Compensate failed with AccessDenied: Not allowed."]


@pytest.mark.parametrize("cause", ["", "{", "[1]", '"text"', '{"errorMessage": ', "{}"])
def test_no_cause_is_too_odd_to_report(reported: Any, event: Any, cause: str) -> None:
    event["caught"] = [{"Error": "States.Runtime", "Cause": cause, "Step": "Train"}]
    assert reported(event)["error"]["message"] == (cause or "States.Runtime")


def test_what_undoing_and_tearing_down_removed_is_listed(reported: Any, event: Any) -> None:
    event["compensated"] = {"training_job": "Stopped", "serving": None, "removed": [f"model/{NAME}"]}
    event["torn_down"] = {"removed": ["endpoint/lexline"]}
    assert reported(event)["torn_down"] == [f"model/{NAME}", "endpoint/lexline"]


def test_every_status_is_counted(reported: Any, event: Any, metrics_written: Any) -> None:
    reported(event)
    assert '"RunsSucceeded":[1.0]' in metrics_written().replace(" ", "")
