"""entry_point: what the handlers of all steps and events do, and first of all fencing and correlation."""

import contextlib
import importlib
import io
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError, EndpointConnectionError

import entry_point
from contracts.base import Contract
from contracts.run import Lease, LeasedInput, StepInput
from contracts.serving import DeployInput, FinishInput, SmokeTestInput, TeardownInput
from contracts.training import TrainInput
from core.errors import AccessDenied, InvalidInput, LeaseLost, NothingToDo, PipelineError, ServiceUnavailable
from core.logging import logger
from entry_point import step
from steps import deploy, finish, gather, plan, smoke_test, teardown, train
from tests.unit.pipeline.documents import NAME, SAGEMAKER, Document, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.stubbed_aws import StubbedAws

PIPELINE = Path(entry_point.__file__).parent


class Fenced(LeasedInput):
    pass


class Unfenced(StepInput):
    lease: Lease | None = None


class Result(Contract):
    number: float


@pytest.fixture
def worked() -> list[str]:
    """The runs for which `work` was called."""
    return []


@pytest.fixture
def work(worked: list[str]) -> Callable[[Any], Result]:
    def work(given: Any) -> Result:
        worked.append(given.run.name)
        return Result(number=7)

    return work


@pytest.fixture
def event(documents: Documents) -> Document:
    return documents.input("run", "lease")


# --- fencing


def test_a_step_renews_the_lease_before_it_works(
    lease_held: TableInMemory, stubbed: StubbedAws, event: Document, context: LambdaContext
) -> None:
    before = lease_held.get("endpoint/lexline")["until"]
    renewed = []

    @step(Fenced)
    def handler(given: Fenced) -> None:
        renewed.append(lease_held.get("endpoint/lexline")["until"])

    assert handler(event, context) == {}
    assert renewed[0] > before
    assert stubbed.calls == ["UpdateItem"]


@pytest.mark.parametrize("lease", [{"owner": "another", "generation": 8}, {"generation": 8}, {}])
def test_a_step_without_the_lease_does_not_work(
    table: TableInMemory,
    event: Document,
    context: LambdaContext,
    worked: list[str],
    work: Any,
    lease: dict[str, Any],
) -> None:
    if lease:
        table.put("endpoint/lexline", **lease, waiting={})
    with pytest.raises(LeaseLost):
        step(Fenced)(work)(event, context)
    assert worked == []


@pytest.mark.parametrize("has_lease", [True, False])
def test_a_step_that_needs_no_lease_renews_none(
    stubbed: StubbedAws, event: Document, context: LambdaContext, work: Any, has_lease: bool
) -> None:
    """Its contract has no lease, or it checks the lease itself."""
    given = event if has_lease else {"run": event["run"]}
    assert step(Unfenced)(work)(given, context) == {"number": 7}
    assert stubbed.calls == []


def test_a_lease_that_cannot_be_renewed_now_is_retried(
    stubbed: StubbedAws, event: Document, context: LambdaContext, worked: list[str], work: Any
) -> None:
    stubbed.refuses("dynamodb", "update_item", "InternalServerError", status=500)
    with pytest.raises(ServiceUnavailable, match="UpdateItem"):
        step(Fenced)(work)(event, context)
    assert worked == []


@pytest.mark.parametrize(
    ("module", "contract"),
    [
        (train, TrainInput),
        (deploy, DeployInput),
        (smoke_test, SmokeTestInput),
        (finish, FinishInput),
        (teardown, TeardownInput),
    ],
)
def test_these_steps_are_fenced(
    lease_held: TableInMemory,
    stubbed: StubbedAws,
    documents: Documents,
    context: LambdaContext,
    module: Any,
    contract: type[Contract],
) -> None:
    """Compensate checks its lease itself."""
    documents.lease["generation"] = 6
    fields = contract.model_fields.keys() - {"token"}
    with pytest.raises(LeaseLost, match="another run holds it now"):
        module.handler(
            documents.input(*fields) | ({"token": "t"} if module in (train, deploy) else {}), context
        )
    assert stubbed.calls == ["UpdateItem"]


# --- input, result and errors


def test_a_wrong_input_is_refused_by_field_before_any_work(
    stubbed: StubbedAws, event: Document, context: LambdaContext, worked: list[str], work: Any
) -> None:
    event["lease"]["generation"] = 0
    with pytest.raises(InvalidInput, match=r"lease\.generation: .* \(given: 0\); surprise: is not a field"):
        step(Fenced)(work)({**event, "surprise": 1}, context)
    assert (worked, stubbed.calls) == ([], [])


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject"), AccessDenied),
        (EndpointConnectionError(endpoint_url="https://s3"), ServiceUnavailable),
        (NothingToDo("nothing"), NothingToDo),
    ],
)
def test_an_error_is_translated_counted_and_logged(
    documents: Documents,
    context: LambdaContext,
    metrics_written: Callable[[], str],
    raised: Exception,
    expected: type[Exception],
) -> None:
    @step(Unfenced)
    def handler(given: Unfenced) -> None:
        raise raised

    with pytest.raises(expected) as error:
        handler({"run": documents.run}, context)
    lines = [json.loads(line) for line in metrics_written().splitlines()]
    assert [1.0] in [line.get("Errors") for line in lines]
    (logged,) = [line for line in lines if line.get("message") == str(error.value)]
    assert (logged["correlation_id"], logged["error"]) == (NAME, expected.__name__)


@pytest.mark.parametrize(
    ("number", "text"), [(1.5, 1.5), (float("inf"), "Infinity"), (float("-inf"), "-Infinity")]
)
def test_a_result_is_valid_json(
    documents: Documents, context: LambdaContext, number: float, text: Any
) -> None:
    @step(Unfenced)
    def handler(given: Unfenced) -> Result:
        return Result(number=number)

    result = handler({"run": documents.run}, context)
    assert json.loads(json.dumps(result, allow_nan=False)) == {"number": text}


# --- the correlation id

EXECUTION = Documents().execution["id"]
REQUEST = "52fdfc07-2182-154f-163f-5f0f9a621d72"
STEPS = {file.stem for file in PIPELINE.glob("steps/*.py")} - {"__init__", "plan", "report"}
# An event for each handler, and the correlation id of its log lines. The steps get an incomplete input, and
# log an error.
EVENTS: dict[str, tuple[Document, str]] = {
    **{f"steps.{name}": ({"run": {"name": NAME}}, NAME) for name in STEPS},
    "steps.plan": ({"execution": {"id": EXECUTION}}, EXECUTION),
    "steps.report": ({"execution": {"id": EXECUTION}, "run": None}, EXECUTION),
    "events.execution_ended": ({"detail": {"executionArn": EXECUTION}}, EXECUTION),
    "events.callback": ({"resources": [f"{SAGEMAKER}:training-job/{NAME}"]}, NAME),
    "events.sweep": ({}, REQUEST),
    "events.alarm": ({}, REQUEST),
    "events.stack_deletion": (
        {
            "RequestType": "Create",
            "RequestId": "2f6f2f1a",
            "ResponseURL": "https://example.com/response",
            "LogicalResourceId": "Leftovers",
            "StackId": "arn",
        },
        "2f6f2f1a",
    ),
}
# The first AWS call of the handlers that find nothing wrong with their event.
FIRST_CALLS = {
    "events.callback": ("dynamodb", "get_item"),
    "events.sweep": ("dynamodb", "get_item"),
    "events.execution_ended": ("stepfunctions", "describe_execution"),
}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[Any]]:
    """logged(): the lines written so far, which are all JSON."""
    log = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    return lambda: [json.loads(line) for line in (log.getvalue() + capsys.readouterr().out).splitlines()]


def test_every_handler_has_an_event_here() -> None:
    files = [*PIPELINE.glob("steps/*.py"), *PIPELINE.glob("events/*.py")]
    handlers = [file for file in files if "\ndef handler(" in file.read_text(encoding="utf-8")]
    assert {f"{file.parent.name}.{file.stem}" for file in handlers} == EVENTS.keys()


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_log_line_of_a_handler_has_the_correlation_id(
    name: str,
    stubbed: StubbedAws,
    context: LambdaContext,
    logged: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event, expected = EVENTS[name]
    if name in FIRST_CALLS:
        stubbed.refuses(*FIRST_CALLS[name], "AccessDeniedException", "not authorized")
    # CloudFormation, which accepts any response.
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: contextlib.nullcontext())
    with contextlib.suppress(PipelineError):
        importlib.import_module(name).handler(event, context)
    lines = logged()
    assert lines
    assert {line.get("correlation_id") for line in lines} == {expected}


def test_plan_logs_the_runs_name(
    documents: Documents, context: LambdaContext, logged: Callable[[], list[Any]]
) -> None:
    run = plan.handler({"execution": documents.execution, "request": {"dataset": "sotu"}}, context)
    assert {line["correlation_id"] for line in logged()} == {run["name"]}


def test_the_next_invocation_has_its_own_id(context: LambdaContext, logged: Callable[[], list[Any]]) -> None:
    for event in ({"run": {"name": NAME}}, {}):
        with contextlib.suppress(PipelineError):
            gather.handler(event, context)
    assert [line["correlation_id"] for line in logged() if "message" in line] == [NAME, REQUEST]
