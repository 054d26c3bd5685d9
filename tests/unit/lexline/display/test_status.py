import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from lexline.aws.history import Step
from lexline.aws.http_api import HttpApi
from lexline.aws.lease import Lease
from lexline.aws.reports import Stored
from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.aws.watcher import Queue, Snapshot
from lexline.core.errors import UserError
from lexline.display import status
from tests.unit.lexline.conftest import Patch
from tests.unit.lexline.samples import EXECUTION, ONE, RUN, STANDING_COST, THREE, TWO, WHEN, endpoint

MODEL = {"model": ONE, "perplexity": 86.7, "since": WHEN.isoformat(), "status": "InService"}


@pytest.fixture(autouse=True)
def _reports(patch: Patch) -> None:
    patch("aws.reports.newest_first", [])


def shown(stack: Stack, width: int = 200) -> str:
    output = io.StringIO()
    status.show(Console(file=output, width=width), stack)
    return output.getvalue()


def test_the_overview_has_model_lease_teardown_cost_and_runs(stack: Stack, patch: Patch) -> None:
    patch("aws.http_api.HttpApi.get", lambda api, path: MODEL)
    patch("aws.endpoint.read", endpoint(ONE, teardown_at=WHEN))
    patch("aws.reports.document", {"standing_cost": STANDING_COST})
    patch("aws.lease.read", Lease(TWO, []))
    patch("aws.runs.recent", [RUN])
    # Anybody may start a run of a dataset with an invalid name, here one that is like Rich's markup.
    patch("aws.watcher.Watcher.look", Snapshot(RUN, {"dataset": "[/a]"}, "FAILED"))
    text = shown(stack)
    for expected in (
        "Stack     lexline on AWS in us-east-1, CREATE_COMPLETE",
        "Uploads   s3://lexline-bucket/uploads/DATASET/",
        f"Model     {ONE}, test perplexity 86.7, since 2026-11-2",
        "Lease     run 222222222222 uses the endpoint; runs that wait for it: none",
        f"Teardown  {WHEN.astimezone():%Y-%m-%d %H:%M}",
        "Cost      about $0.115 an hour",
        f"{RUN.id}  [/a]",
    ):
        assert expected in text


def test_invalid_executions_hide_no_run_that_serves_or_is_in_progress_or_a_datasets_last(
    stack: Stack, patch: Patch
) -> None:
    def run(name: str, state: str = "FAILED") -> Run:
        return Run(EXECUTION + name, state, WHEN, WHEN)

    def name(run: Run, dataset: str) -> str:
        return f"lexline--{dataset}-{run.id}"

    junk = [run(f"junk{number}") for number in range(100)]
    waiting, wiki, sotu, serving = (run(each, "SUCCEEDED") for each in ("waiting", "wiki", "sotu", "serving"))
    waiting = replace(waiting, status="RUNNING")
    older = run("older", "SUCCEEDED")
    patch("aws.http_api.HttpApi.get", lambda api, path: MODEL)
    patch("aws.endpoint.read", endpoint(name(serving, "sotu")))
    patch("aws.reports.document", None)
    patch("aws.lease.read", Lease("", []))
    patch("aws.runs.recent", [*junk, waiting, wiki, sotu, serving, older])
    stored = [(wiki, "wiki"), (sotu, "sotu"), (serving, "sotu"), (older, "sotu")]
    patch("aws.reports.newest_first", [Stored(name(each, dataset), "", WHEN) for each, dataset in stored])
    patch("aws.watcher.Watcher.look", lambda watcher: Snapshot(RUN, None, "FAILED"))
    text = shown(stack)
    assert all(each.id in text for each in (*junk[:5], waiting, wiki, sotu, serving))
    assert not any(each.id in text for each in (*junk[5:], older))
    assert next(line for line in text.splitlines() if "serves" in line).startswith(serving.id)
    # On a narrow terminal no value is cut.
    assert all(
        value in shown(stack, width=40)
        for value in (serving.id, "failed, serves", f"{WHEN.astimezone():%Y-%m-%d %H:%M:%S}")
    )


def test_the_overview_of_a_new_stack_says_how_to_start(stack: Stack, patch: Patch) -> None:
    def no_model(*_: object) -> dict[str, Any]:
        raise UserError("There is no model yet.", "Run.")

    patch("aws.http_api.HttpApi.get", no_model)
    patch("aws.endpoint.read", None)
    patch("aws.lease.read", Lease("", []))
    patch("aws.runs.recent", [])
    text = shown(stack)
    assert "Model     There is no model yet." in text
    assert "lexline run FILE" in text
    assert not any(name in text for name in ("Lease", "Teardown", "Cost"))


def test_a_model_without_perplexity_has_no_quality(stack: Stack, patch: Patch) -> None:
    patch("aws.http_api.HttpApi.get", lambda api, path: {**MODEL, "perplexity": None})
    assert "perplexity" not in status.current_model(HttpApi(stack))


def test_runs_that_wait_for_the_lease_are_listed() -> None:
    assert status.describe_lease(Lease(ONE, [TWO, THREE])) == (
        "run 111111111111 uses the endpoint; runs that wait for it: 222222222222 and 333333333333"
    )


def test_a_teardown_when_idle_has_its_period_and_not_the_time_of_the_next_check() -> None:
    idle = endpoint(ONE, teardown_at=WHEN, teardown_when_idle="PT1H")
    assert status.teardown_time(idle) == "after PT1H without requests"
    assert status.teardown_time(endpoint(ONE)) == ""


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"dataset": "sotu", "force": True}, "sotu"),
        ({"upload": {"key": "uploads/wiki/train.txt"}}, "wiki"),
        ({"model": "previous"}, "roll back"),
        ({"model": ONE}, "deploy 111111111111"),
        ({"model": "3"}, "deploy 3"),
        ({"teardown_of": {"run": ONE}}, "tear down 111111111111"),
        ({"cleanup_of": {"run": ONE}}, "clean up 111111111111"),
        ({"upload": "text"}, ""),
        ({"upload": {"key": 7}}, ""),
        ({"teardown_of": None}, ""),
        ([1], ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_the_work_of_an_execution_is_read_from_any_input(request_: Any, words: str) -> None:
    assert status.work(request_) == words


def running(*steps: str, queue: Queue | None = None) -> Snapshot:
    return Snapshot(RUN, {}, "RUNNING", [Step(name, "running", WHEN, 0) for name in steps], queue=queue)


def ended(execution: str, **report: str) -> Snapshot:
    return Snapshot(RUN, {}, execution, report=report or None)


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (running("Evaluate"), "running: evaluate the model"),
        (running("Acquire", queue=Queue(ONE, 0)), "waiting for the endpoint, which run 111111111111 uses"),
        (running(), "running"),
        (ended("SUCCEEDED", status="Rejected"), "rejected"),
        (ended("SUCCEEDED", status="Skipped", joined=ONE), "joined 111111111111"),
        (ended("SUCCEEDED", status="Succeeded", event="rolled_back"), "succeeded"),
        (ended("FAILED", status="Failed", event="failed"), "failed"),
        (ended("FAILED", status="Failed", event="rolled_back"), "failed, rolled back"),
        (ended("ABORTED"), "aborted"),
    ],
)
def test_the_outcome_of_a_run_is_its_result_or_its_step(snapshot: Snapshot, words: str) -> None:
    assert status.outcome(snapshot) == words
