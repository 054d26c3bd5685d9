"""Fixtures of the pipeline's unit tests: the documents of a run, and AWS as a stub or in memory.

`stubbed` stubs all clients. Where a response depends on earlier calls, `table` and `machine` take the place
of the stubs of DynamoDB and Step Functions.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.report import ReportInput
from contracts.run import Run
from coordination import lease
from core import aws, names, ownership
from core.logging import logger
from tests.unit.pipeline.documents import ACCOUNT, ENVIRONMENT, REGION, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.stubbed_aws import Described, ExpectedCalls, Owners, StubbedAws

Clock = Callable[[float], None]
NewRun = Callable[..., Run]


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The functions' environment variables, which are set for every test."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return ENVIRONMENT


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubbedAws]:
    stub = StubbedAws(monkeypatch)
    yield stub
    stub.close()
    stub.assert_all_made()


@pytest.fixture(autouse=True)
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    """The owners of SageMaker's resources; the calls that read them are not announced."""
    owners = Owners()
    monkeypatch.setattr(ownership, "read", owners.read)
    return owners


@pytest.fixture
def described() -> Described:
    return Described()


@pytest.fixture
def expect(stubbed: StubbedAws, described: Described) -> ExpectedCalls:
    return ExpectedCalls(stubbed, described)


@pytest.fixture
def table(stubbed: StubbedAws, monkeypatch: pytest.MonkeyPatch) -> TableInMemory:
    """The table; `stubbed.calls` has its operations too."""
    in_memory = TableInMemory(ENVIRONMENT["TABLE"])
    in_memory.client.meta.events.register("provide-client-params", stubbed.note)
    monkeypatch.setattr(aws, "dynamodb", lambda: in_memory.client)
    return in_memory


@pytest.fixture
def machine(stubbed: StubbedAws, monkeypatch: pytest.MonkeyPatch) -> ExecutionsInMemory:
    """The state machine's executions. None moves by itself."""
    in_memory = ExecutionsInMemory(ENVIRONMENT["STATE_MACHINE_ARN"])
    in_memory.client.meta.events.register("provide-client-params", stubbed.note)
    monkeypatch.setattr(aws, "stepfunctions", lambda: in_memory.client)
    return in_memory


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def results(documents: Documents) -> dict[str, Any]:
    """Report's input: the results of a run that trained, deployed and verified its model."""
    return {name: getattr(documents, name, None) for name in ReportInput.model_fields} | {"caught": []}


@pytest.fixture
def lease_held(table: TableInMemory, documents: Documents) -> TableInMemory:
    """The table, in which the documents' run holds the lease."""
    table.put(
        "endpoint/lexline",
        owner=documents.lease["owner"],
        execution=documents.execution["id"],
        generation=documents.lease["generation"],
        until=time.time() + lease.SECONDS / 2,
        waiting={},
    )
    return table


@dataclass
class _Context:
    function_name: str = "lexline-step"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:lexline-step"
    aws_request_id: str = "52fdfc07-2182-154f-163f-5f0f9a621d72"
    log_stream_name: str = "2026/03/01/[$LATEST]0f9a621d"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


@pytest.fixture
def context() -> LambdaContext:
    return cast("LambdaContext", _Context())


@pytest.fixture
def new_run(machine: ExecutionsInMemory, documents: Documents) -> NewRun:
    """new_run(name, **fields): the run of a new execution of this name."""

    def made(name: str, **fields: Any) -> Run:
        document = {**documents.run, **fields}
        upload = document["upload"]
        arn = machine.start(name, {"upload": upload} if upload else {"dataset": "sotu"})
        run = names.run_name("lexline", "sotu", arn)
        execution = {**documents.execution, "id": arn}
        return Run.model_validate({**document, "name": run, "subject": run, "execution": execution})

    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """clock(seconds): let so much time pass."""
    passed = [0.0]
    now = time.time

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    return let_pass


@pytest.fixture
def metrics_written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """metrics_written(): everything that the handler wrote to its log, with CloudWatch metrics in it."""
    # The logger keeps the stream of the moment it was made; pytest has another for each phase of a test.
    now = SimpleNamespace(write=lambda text: sys.stdout.write(text), flush=lambda: sys.stdout.flush())
    monkeypatch.setattr(logger.registered_handler, "stream", now)
    return lambda: capsys.readouterr().out
