"""step: what every step's handler shares, and first of all that a run without the lease goes no further."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from contracts.base import Contract
from contracts.run import Lease, Run
from core.errors import AccessDenied, InvalidInput, LeaseLost, NothingToDo, ServiceUnavailable
from entry_point import step


class Fenced(Contract):
    run: Run
    lease: Lease


class Free(Contract):
    run: Run


class Answer(Contract):
    number: float


@pytest.fixture
def did() -> list[str]:
    """The runs for which the step's own work was done."""
    return []


@pytest.fixture
def work(did: list[str]) -> Callable[[Any], Answer]:
    def work(given: Any) -> Answer:
        did.append(given.run.name)
        return Answer(number=7)

    return work


def test_a_step_shows_that_its_run_is_alive_before_it_works(
    lease_held: Any, stubbed: Any, documents: Any, context: Any
) -> None:
    before = lease_held.get("endpoint/lexline")["until"]
    seen = []

    @step(Fenced)
    def handler(given: Fenced) -> None:
        seen.append(lease_held.get("endpoint/lexline")["until"])

    assert handler({"run": documents.run, "lease": documents.lease}, context) == {}
    assert seen[0] > before
    assert stubbed.calls == ["UpdateItem"]


@pytest.mark.parametrize("now", [{"owner": "another", "generation": 8}, {"generation": 8}, {}])
def test_a_step_of_a_run_that_has_lost_the_lease_does_not_work(
    table: Any, documents: Any, context: Any, did: list[str], work: Any, now: dict[str, Any]
) -> None:
    if now:
        table.put("endpoint/lexline", **now, waiting={})
    with pytest.raises(LeaseLost):
        step(Fenced)(work)({"run": documents.run, "lease": documents.lease}, context)
    assert did == []


def test_a_step_that_sees_to_it_itself_is_not_fenced(
    stubbed: Any, documents: Any, context: Any, did: list[str], work: Any
) -> None:
    step(Fenced, fenced=False)(work)({"run": documents.run, "lease": documents.lease}, context)
    assert did == [documents.run["name"]]
    assert stubbed.calls == []


def test_a_step_before_the_lease_needs_none(
    stubbed: Any, documents: Any, context: Any, did: list[str], work: Any
) -> None:
    assert step(Free)(work)({"run": documents.run}, context) == {"number": 7}
    assert stubbed.calls == []


def test_a_lease_that_cannot_be_asked_for_now_is_an_error_to_try_again(
    stubbed: Any, documents: Any, context: Any, did: list[str], work: Any
) -> None:
    stubbed.refuses("dynamodb", "update_item", "InternalServerError", status=500)
    with pytest.raises(ServiceUnavailable, match="UpdateItem"):
        step(Fenced)(work)({"run": documents.run, "lease": documents.lease}, context)
    assert did == []


def test_a_document_that_is_wrong_is_refused_before_anything_is_done(
    stubbed: Any, documents: Any, context: Any, did: list[str], work: Any
) -> None:
    documents.lease["generation"] = 0
    with pytest.raises(InvalidInput, match=r"lease\.generation: .* \(given: 0\); surprise: Extra inputs"):
        step(Fenced)(work)({"run": documents.run, "lease": documents.lease, "surprise": 1}, context)
    assert (did, stubbed.calls) == ([], [])


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject"), AccessDenied),
        (EndpointConnectionError(endpoint_url="https://s3"), ServiceUnavailable),
        (NothingToDo("nothing"), NothingToDo),
    ],
)
def test_what_goes_wrong_has_a_name_that_the_state_machine_knows(
    stubbed: Any,
    documents: Any,
    context: Any,
    metrics_written: Any,
    raised: Exception,
    told: type[Exception],
) -> None:
    @step(Free)
    def handler(given: Free) -> None:
        raise raised

    with pytest.raises(told):
        handler({"run": documents.run}, context)
    assert '"Errors":[1.0]' in metrics_written().replace(" ", "")


@pytest.mark.parametrize(
    ("number", "text"), [(1.5, 1.5), (float("inf"), "Infinity"), (float("-inf"), "-Infinity")]
)
def test_an_answer_is_json_whatever_its_numbers(
    stubbed: Any, documents: Any, context: Any, number: float, text: Any
) -> None:
    @step(Free)
    def handler(given: Free) -> Answer:
        return Answer(number=number)

    answer = handler({"run": documents.run}, context)
    assert json.loads(json.dumps(answer, allow_nan=False)) == {"number": text}


def test_every_log_line_names_the_run(
    stubbed: Any, documents: Any, context: Any, metrics_written: Any
) -> None:
    @step(Free)
    def handler(given: Free) -> None:
        raise NothingToDo("There is nothing to do.")

    with pytest.raises(NothingToDo):
        handler({"run": documents.run}, context)
    lines = [json.loads(line) for line in metrics_written().splitlines()]
    (line,) = [line for line in lines if line.get("message") == "There is nothing to do."]
    assert (line["correlation_id"], line["error"]) == (documents.run["name"], "NothingToDo")
