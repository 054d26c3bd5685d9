"""gather: a run that an upload started waits, joins another run, or begins."""

import json
from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.run import Run
from steps import gather
from tests.unit.pipeline.conftest import Clock, NewRun
from tests.unit.pipeline.documents import Document
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory

UPLOAD = {"bucket": "texts", "key": "uploads/sotu/1.txt", "etag": "9b2cf535", "size": 120}
Gathers = Callable[[Run], Document]


@pytest.fixture
def gathers(table: TableInMemory, context: LambdaContext) -> Gathers:
    return lambda run: gather.handler({"run": json.loads(run.model_dump_json())}, context)


@pytest.mark.parametrize(("quiet", "seconds"), [("60", 60), ("0.5", 1), ("0", 0)])
def test_the_first_upload_waits_for_the_deployments_quiet_period(
    gathers: Gathers, new_run: NewRun, clock: Clock, monkeypatch: pytest.MonkeyPatch, quiet: str, seconds: int
) -> None:
    monkeypatch.setenv("QUIET_SECONDS", quiet)
    run = new_run("first", upload=UPLOAD)
    assert gathers(run) == {"seconds": seconds, "joined": None}
    clock(seconds + 1)
    assert gathers(run) == {"seconds": 0, "joined": None}


def test_a_later_upload_joins_the_run_of_the_first(gathers: Gathers, new_run: NewRun) -> None:
    first = new_run("first", upload=UPLOAD)
    gathers(first)
    assert gathers(new_run("second", upload=UPLOAD)) == {"seconds": 0, "joined": first.name}
