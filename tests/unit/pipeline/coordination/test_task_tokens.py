"""tokens: who waits for a resource is remembered until he was answered, and no longer than he can wait."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.serving import Deployed
from coordination import task_tokens
from core.errors import TrainingFailed

JOB = "arn:aws:sagemaker:eu-west-1:111122223333:training-job/lexline--sotu-0123456789ab"
RUN = "lexline--sotu-0123456789ab"


@pytest.fixture
def waits(machine: Any) -> str:
    """An execution that waits; its ARN."""
    return str(machine.start("first", {}))


def test_nobody_waits_until_somebody_does(table: Any) -> None:
    assert task_tokens.find(JOB) is None
    assert task_tokens.store(JOB, "token-1", RUN) == task_tokens.Waiting(JOB, "token-1", RUN, asked=False)
    assert task_tokens.find(JOB) == task_tokens.Waiting(JOB, "token-1", RUN, asked=False)


def test_a_newer_token_takes_the_place_of_the_one_before_and_knows_what_was_asked(table: Any) -> None:
    task_tokens.store(JOB, "token-1", RUN)
    task_tokens.mark_accepted(JOB, RUN)
    assert task_tokens.store(JOB, "token-2", RUN) == task_tokens.Waiting(JOB, "token-2", RUN, asked=True)


def test_what_another_run_asked_for_is_not_this_ones(table: Any) -> None:
    task_tokens.store(JOB, "token-1", "another")
    task_tokens.mark_accepted(JOB, "another")
    assert not task_tokens.store(JOB, "token-2", RUN).asked
    task_tokens.mark_accepted(JOB, RUN)
    found = task_tokens.find(JOB)
    assert found
    assert found.asked


def test_an_item_that_nobody_forgets_goes_when_no_execution_can_wait_any_more(table: Any) -> None:
    task_tokens.store(JOB, "token-1", RUN)
    # The state machine's TimeoutSeconds is 30 days.
    assert table.get(JOB)["expires"] == pytest.approx(time.time() + 31 * 24 * 3600, abs=5)


def test_whoever_waits_is_answered_with_a_document_and_forgotten(
    table: Any, machine: Any, waits: str, documents: Any
) -> None:
    waiting = task_tokens.store(JOB, machine.wait(waits), RUN)
    task_tokens.complete(waiting, Deployed.model_validate(documents.deployed))
    assert machine.heard(waits) == "Success"
    assert json.loads(machine.executions[waits].output) == documents.deployed
    assert task_tokens.find(JOB) is None


def test_whoever_waits_is_answered_with_an_error_by_name_and_forgotten(
    table: Any, machine: Any, waits: str
) -> None:
    waiting = task_tokens.store(JOB, machine.wait(waits), RUN)
    task_tokens.complete(waiting, TrainingFailed("Exit code 1."))
    assert machine.heard(waits) == "TrainingFailed"
    assert task_tokens.find(JOB) is None


def test_a_cause_of_any_length_is_told_as_far_as_it_fits(stubbed: Any, table: Any) -> None:
    stubbed.answers("stepfunctions", "send_task_failure", {})
    task_tokens.complete(task_tokens.store(JOB, "token-1", RUN), TrainingFailed("x" * 100_000))
    # SendTaskFailure's reference.
    assert len(stubbed.parameters["SendTaskFailure"]["cause"]) == 32_768


def test_who_waits_no_more_is_no_error_and_what_was_asked_stays_known(
    table: Any, machine: Any, waits: str, documents: Any
) -> None:
    waiting = task_tokens.store(JOB, machine.wait(waits), RUN)
    machine.wait(waits)
    task_tokens.complete(waiting, Deployed.model_validate(documents.deployed))
    assert machine.heard(waits) == ""
    assert task_tokens.find(JOB) == waiting


def test_a_token_that_came_meanwhile_is_not_forgotten_with_the_one_that_was_answered(
    table: Any, machine: Any, waits: str, documents: Any
) -> None:
    waiting = task_tokens.store(JOB, machine.wait(waits), RUN)
    table.meanwhile(lambda: task_tokens.store(JOB, "token-2", RUN))
    task_tokens.complete(waiting, Deployed.model_validate(documents.deployed))
    assert task_tokens.find(JOB) == task_tokens.Waiting(JOB, "token-2", RUN, asked=False)


def test_whose_turn_it_is_hears_so_or_is_known_not_to(machine: Any, waits: str) -> None:
    token = machine.wait(waits)
    assert task_tokens.wake(token) is True
    assert machine.heard(waits) == "YourTurn"
    assert task_tokens.wake(token) is False
    assert task_tokens.wake("no token of this account") is False


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_reply_says_whether_anybody_heard_it(stubbed: Any, documents: Any, code: str) -> None:
    deployed = Deployed.model_validate(documents.deployed)
    stubbed.answers(
        "stepfunctions", "send_task_success", {}, taskToken="token-1", output=deployed.model_dump_json()
    )
    assert task_tokens.send_result("token-1", deployed) is True
    stubbed.refuses("stepfunctions", "send_task_success", code)
    assert task_tokens.send_result("token-1", deployed) is False


def test_a_reply_that_cannot_be_given_now_is_an_error(stubbed: Any, documents: Any) -> None:
    stubbed.refuses("stepfunctions", "send_task_success", "ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        task_tokens.send_result("token-1", Deployed.model_validate(documents.deployed))
