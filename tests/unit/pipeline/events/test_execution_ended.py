"""execution_ended: the event starts the handover, and comes again until Step Functions confirms the end."""

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from coordination import lease
from core.errors import ServiceUnavailable
from events import execution_ended
from tests.unit.pipeline.conftest import NewRun
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_lease_is_passed_on_if_step_functions_confirms_the_end(
    table: TableInMemory,
    machine: ExecutionsInMemory,
    new_run: NewRun,
    context: LambdaContext,
    confirmed: bool,
) -> None:
    run = new_run("first")
    arn = run.execution.id
    event = {
        "source": "aws.states",
        "resources": [arn],
        "detail": {"executionArn": arn, "status": "SUCCEEDED"},
    }
    lease.acquire(run, machine.wait(arn))
    if confirmed:
        machine.end(arn, "SUCCEEDED")
        execution_ended.handler(event, context)
        assert lease.read("lexline").owner is None
    else:
        with pytest.raises(ServiceUnavailable, match=r"does not report yet that .* has ended"):
            execution_ended.handler(event, context)
        assert lease.read("lexline").owner == run.name
