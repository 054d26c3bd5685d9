"""gather: an upload's run waits until its dataset is quiet, or joins the run that already does."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.run import Run
from core.errors import InvalidInput, NothingToDo
from steps import gather

UPLOAD = {"bucket": "texts", "key": "uploads/sotu/1.txt", "etag": "9b2cf535", "size": 120}


def given(run: Run) -> dict[str, Any]:
    return {"run": json.loads(run.model_dump_json())}


def test_the_first_upload_is_told_to_wait_for_the_deployments_quiet_period(
    table: Any, new_run: Callable[..., Run], context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (quiet, seconds) in enumerate([("60", 60), ("0.5", 1), ("0", 0)]):
        monkeypatch.setenv("QUIET_SECONDS", quiet)
        run = new_run(quiet, dataset=f"dataset-{number}", upload=UPLOAD)
        assert gather.handler(given(run), context) == {"seconds": seconds, "joined": None}


def test_when_it_has_been_quiet_the_run_goes_on(
    table: Any, new_run: Callable[..., Run], context: Any, clock: Callable[[float], None]
) -> None:
    run = new_run("first", upload=UPLOAD)
    gather.handler(given(run), context)
    clock(61)
    assert gather.handler(given(run), context) == {"seconds": 0, "joined": None}


def test_an_upload_that_joins_anothers_run_has_nothing_left_to_do(
    table: Any, new_run: Callable[..., Run], context: Any
) -> None:
    gather.handler(given(new_run("first", upload=UPLOAD)), context)
    with pytest.raises(NothingToDo, match="joined run"):
        gather.handler(given(new_run("second", upload=UPLOAD)), context)


def test_what_is_no_run_is_refused(table: Any, context: Any) -> None:
    with pytest.raises(InvalidInput, match="run: Field required"):
        gather.handler({}, context)
