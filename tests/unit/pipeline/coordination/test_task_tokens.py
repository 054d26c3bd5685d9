"""task_tokens: the token of a waiting state is kept until the wait is completed."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from contracts.serving import Deployed
from coordination import task_tokens
from coordination.task_tokens import Waiting
from core.errors import TrainingFailed
from tests.unit.pipeline.documents import NAME, SAGEMAKER, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.stubbed_aws import StubbedAws

JOB = f"{SAGEMAKER}:training-job/{NAME}"


@pytest.fixture
def execution(machine: ExecutionsInMemory) -> str:
    return machine.start("first", {})


@pytest.fixture
def deployed(documents: Documents) -> Deployed:
    return Deployed.model_validate(documents.deployed)


def test_a_stored_token_is_found(table: TableInMemory) -> None:
    assert task_tokens.find(JOB) is None
    task_tokens.store(JOB, "token-1", NAME)
    assert task_tokens.find(JOB) == Waiting(JOB, "token-1", NAME, accepted=False)


def test_a_newer_token_replaces_the_older_and_keeps_that_the_change_was_accepted(
    table: TableInMemory,
) -> None:
    task_tokens.store(JOB, "token-1", NAME)
    task_tokens.mark_accepted(JOB, NAME)
    task_tokens.store(JOB, "token-2", NAME)
    assert task_tokens.find(JOB) == Waiting(JOB, "token-2", NAME, accepted=True)


def test_a_change_that_was_accepted_for_another_run_is_not_this_runs(table: TableInMemory) -> None:
    task_tokens.store(JOB, "token-1", "another")
    task_tokens.mark_accepted(JOB, "another")
    task_tokens.store(JOB, "token-2", NAME)
    assert task_tokens.find(JOB) == Waiting(JOB, "token-2", NAME, accepted=False)
    task_tokens.mark_accepted(JOB, NAME)
    assert task_tokens.find(JOB) == Waiting(JOB, "token-2", NAME, accepted=True)


def test_an_item_expires_after_the_longest_execution(table: TableInMemory) -> None:
    """The state machine's TimeoutSeconds is 30 days."""
    task_tokens.store(JOB, "token-1", NAME)
    assert table.get(JOB)["expires"] > time.time() + 30 * 24 * 3600


def test_a_wait_ends_with_a_result_and_the_item_is_deleted(
    table: TableInMemory, machine: ExecutionsInMemory, execution: str, deployed: Deployed
) -> None:
    token = machine.wait(execution)
    task_tokens.store(JOB, token, NAME)
    task_tokens.complete(JOB, token, deployed)
    assert machine.heard(execution) == "Success"
    assert Deployed.model_validate(json.loads(machine.executions[execution].output)) == deployed
    assert task_tokens.find(JOB) is None


def test_a_cause_is_cut_to_the_limit_of_send_task_failure(stubbed: StubbedAws, table: TableInMemory) -> None:
    stubbed.answers("stepfunctions", "send_task_failure", {})
    task_tokens.complete(JOB, "token-1", TrainingFailed("x" * 100_000))
    assert len(stubbed.parameters["SendTaskFailure"]["cause"]) == 32_768


def test_the_item_stays_if_no_state_waits_for_its_token_any_more(
    table: TableInMemory, machine: ExecutionsInMemory, execution: str, deployed: Deployed
) -> None:
    token = machine.wait(execution)
    task_tokens.store(JOB, token, NAME)
    machine.wait(execution)
    task_tokens.complete(JOB, token, deployed)
    assert machine.heard(execution) == ""
    assert task_tokens.find(JOB) == Waiting(JOB, token, NAME, accepted=False)


def test_a_token_that_was_stored_in_the_meantime_is_not_deleted(
    table: TableInMemory, machine: ExecutionsInMemory, execution: str, deployed: Deployed
) -> None:
    token = machine.wait(execution)
    task_tokens.store(JOB, token, NAME)
    table.meanwhile(lambda: task_tokens.store(JOB, "token-2", NAME))
    task_tokens.complete(JOB, token, deployed)
    assert task_tokens.find(JOB) == Waiting(JOB, "token-2", NAME, accepted=False)


def test_wake_returns_whether_the_run_still_waited(machine: ExecutionsInMemory, execution: str) -> None:
    token = machine.wait(execution)
    assert task_tokens.wake(token) is True
    assert machine.heard(execution) == "YourTurn"
    assert task_tokens.wake(token) is False
    assert task_tokens.wake("no token of this account") is False


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_stale_token_is_no_error(stubbed: StubbedAws, deployed: Deployed, code: str) -> None:
    stubbed.refuses("stepfunctions", "send_task_success", code)
    assert task_tokens.send_result("token-1", deployed) is False


def test_other_errors_are_raised(stubbed: StubbedAws, deployed: Deployed) -> None:
    stubbed.refuses("stepfunctions", "send_task_success", "ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        task_tokens.send_result("token-1", deployed)
