"""The view Runs: what it shows, how often it asks AWS, and what it starts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from lexline.aws.history import Step
from lexline.aws.lease import Lease
from lexline.aws.reports import Stored
from lexline.aws.runs import Run, id_in
from lexline.aws.stack import Stack
from lexline.aws.training_progress import Progress
from lexline.aws.watcher import Snapshot
from lexline.playground.runs import Runs
from tests.unit.lexline.conftest import Patch
from tests.unit.lexline.samples import (
    COST,
    EXECUTION,
    JOB,
    MODELS,
    ONE,
    RUN,
    SUCCEEDED,
    THREE,
    TWO,
    WHEN,
    endpoint,
)

Ask = Callable[..., Any]
ENDED = Run(EXECUTION + "two", "SUCCEEDED", WHEN - timedelta(hours=1), WHEN)
TRAIN = Step("Train", "running", WHEN, 0.0)


@pytest.fixture
def looks(patch: Patch) -> list[str]:
    """The ids of the runs whose histories were read. The first run trains, and the second has ended."""
    found: list[str] = []
    progress = Progress(
        *(2, 2, 10, 20, 900.0, 200.0, 250.0),
        train_curve=((0.5, 400.0), (1.5, 200.0)),
        valid_curve=((1, 250.0),),
    )

    def look(watcher: Any) -> Snapshot:
        run = watcher._run
        found.append(run.id)
        request = {"dataset": "<b>sotu"}
        if run == RUN:
            return Snapshot(run, request, "RUNNING", [TRAIN], progress, now=WHEN)
        return Snapshot(run, request, "SUCCEEDED", report=SUCCEEDED, now=WHEN)

    patch("aws.watcher.Watcher.look", look)
    patch("aws.runs.recent", [RUN, ENDED])
    return found


@pytest.fixture(autouse=True)
def _registered(patch: Patch) -> None:
    patch("aws.endpoint.read", endpoint(TWO, previous=ONE))
    patch("aws.models.newest", MODELS)
    patch("aws.models.find", lambda _, wanted: next(model for model in MODELS if model.name == wanted))
    patch("aws.reports.newest_first", [Stored(f"lexline--sotu-{ENDED.id}", "s3://b/r", WHEN)])
    patch("aws.reports.document", lambda _, run: {"cost": COST} if run == TWO else None)
    patch("aws.lease.read", Lease("", ()))


@pytest.fixture
def started(patch: Patch) -> list[Any]:
    """The requests of the runs that were started."""
    requests: list[Any] = []
    patch("aws.runs.start", lambda _, subject, request: requests.append((subject, request)) or RUN)
    return requests


def test_the_overview_has_what_serves_and_the_main_runs(ask: Ask, looks: list[str]) -> None:
    overview = ask("overview")
    assert (overview["model"], overview["previous"], overview["serves"]) == (TWO, ONE, True)
    one, two = overview["runs"]
    assert (one["id"], one["ended"], one["outcome"], one["report"]) == (RUN.id, False, "running: train", None)
    assert (two["id"], two["ended"], two["duration"]) == (ENDED.id, True, "1 h 00 min")
    assert two["report"].startswith(f"/report/{ENDED.id}/")


def test_without_an_endpoint_nothing_serves(ask: Ask, looks: list[str], patch: Patch) -> None:
    patch("aws.endpoint.read", None)
    assert ask("overview")["serves"] is False
    assert ask("overview")["model"] == ""


def test_a_run_has_its_steps_its_progress_and_its_curve(ask: Ask, looks: list[str]) -> None:
    run = ask("run", run=RUN.id)
    assert run["steps"][0]["label"] == "Train"
    assert (run["trains"], run["fraction"], run["epochs"]) == (True, 0.75, 2)
    assert "epoch 2 of 2" in run["training"]
    assert run["curve"] == {"training": [[0.5, 400.0], [1.5, 200.0]], "unseen": [[1.0, 250.0]]}
    assert run["result"] == []


def test_a_run_that_has_ended_has_its_result(ask: Ask, looks: list[str]) -> None:
    result = ask("run", run=ENDED.id)["result"]
    assert result[0] == f"{JOB} is live on endpoint lexline."
    # The page has a link to the report, and the steps with their durations.
    assert not any(line.startswith(("Report:", "Duration:")) for line in result)


def test_a_run_that_does_not_exist_is_named(page: Any, looks: list[str]) -> None:
    response = page.post("/api/run", json={"run": "none"})
    assert (response.status_code, response.json()["message"]) == (400, "There is no recent run none.")


def test_histories_are_read_once_whatever_pages_are_open(ask: Ask, looks: list[str]) -> None:
    for _ in range(5):
        ask("overview")
        ask("run", run=RUN.id)
    assert looks == [RUN.id, ENDED.id]


def test_only_a_run_in_progress_is_read_again_after_a_while(
    stack: Stack, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, now = Runs(stack, "token"), [100.0]
    monkeypatch.setattr("lexline.playground.runs.time.monotonic", lambda: now[0])
    runs.overview({})
    now[0] += 10
    runs.overview({})
    assert looks == [RUN.id, ENDED.id, RUN.id]


def test_the_history_has_every_models_verdict_and_cost(ask: Ask) -> None:
    third, second, first = ask("history")
    assert (third["approval"], third["reason"], third["serves"]) == ("rejected", "It is worse.", "")
    assert (second["serves"], first["serves"]) == ("now", "before")
    assert second["cost"].startswith("about $0.00473")
    assert second["report"].startswith(f"/report/{id_in(TWO)}/")
    assert (first["cost"], first["report"], first["dataset"]) == ("", None, "[/so]")


def test_a_report_of_another_form_has_no_cost(ask: Ask, patch: Patch) -> None:
    patch("aws.reports.document", lambda _, run: {"cost": {"total": "much"}})
    assert ask("history")[0]["cost"] == ""


def test_a_rollback_deploys_the_model_that_was_confirmed(ask: Ask, page: Any, started: list[Any]) -> None:
    plan = ask("rollback-plan")
    assert (plan["current"], plan["name"], plan["approved"]) == (TWO, ONE, True)
    assert ask("rollback", expected=ONE) == {"run": RUN.id}
    assert started == [("rollback", {"model": "previous"})]
    # Somebody has deployed another model since the page asked.
    response = page.post("/api/rollback", json={"expected": THREE})
    assert response.status_code == 502
    assert "in the meantime" in response.json()["message"]
    assert page.post("/api/rollback", json={}).status_code == 502
    assert len(started) == 1


def test_a_rejected_model_is_deployed_only_if_the_user_insists(
    ask: Ask, page: Any, started: list[Any]
) -> None:
    assert ask("deploy", model=ONE) == {"run": RUN.id}
    for force in (False, None, "true", 1):
        response = page.post("/api/deploy", json={"model": THREE, "force": force})
        assert response.status_code == 502
        assert "is rejected: It is worse." in response.json()["message"]
    assert ask("deploy", model=THREE, force=True) == {"run": RUN.id}
    assert started == [
        (f"deploy-{id_in(ONE)}", {"model": ONE}),
        (f"deploy-{id_in(THREE)}", {"model": THREE, "force": True}),
    ]
