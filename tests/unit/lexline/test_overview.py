import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from lexline import overview
from lexline.errors import UserError
from lexline.follow import Snapshot
from lexline.history import Step
from lexline.lease import Lease
from lexline.overview import outcome, served
from lexline.runs import Run
from lexline.serving import Serving
from lexline.target import Stack, Target

HOLDER = "lexline-a-111111111111"
WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = Run("arn", "RUNNING", WHEN, None)
JOINED = "uploads/a/b.txt joined run lexline-a-0123456789ab, which begins when it has been quiet for 30 s."


class Api:
    """GET /model with a fixed outcome."""

    def __init__(self, answer: dict[str, Any] | UserError) -> None:
        self._answer = answer

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/model"
        if isinstance(self._answer, UserError):
            raise self._answer
        return self._answer


def test_the_served_model_is_told_with_its_score_and_age() -> None:
    model = {"model": "lexline-a-0", "perplexity": 86.7, "since": WHEN.isoformat(), "status": "InService"}
    text = served(Api(model))  # type: ignore[arg-type]
    assert text.startswith("lexline-a-0, test perplexity 86.7, since 2026-11-2")
    assert "perplexity" not in served(Api({**model, "perplexity": None}))  # type: ignore[arg-type]


def test_where_no_model_serves_the_apis_reason_is_told() -> None:
    assert served(Api(UserError("There is no model yet.", "Run."))) == "There is no model yet."  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (Snapshot(RUN, "a", "RUNNING", [Step("Evaluate", "running", WHEN, 0)]), "running: judge the model"),
        (Snapshot(RUN, "a", "RUNNING", [Step("Acquire", "running", WHEN, 0)], in_line="in line"), "in line"),
        (Snapshot(RUN, "a", "RUNNING"), "running"),
        (Snapshot(RUN, "a", "SUCCEEDED", report={"status": "Rejected"}), "rejected"),
        (
            Snapshot(RUN, "a", "SUCCEEDED", report={"status": "Skipped", "reason": JOINED}),
            "joined 0123456789ab",
        ),
        (
            Snapshot(RUN, "a", "SUCCEEDED", report={"status": "Succeeded", "event": "rolled_back"}),
            "succeeded",
        ),
        (Snapshot(RUN, "a", "FAILED", report={"status": "Failed", "event": "failed"}), "failed"),
        (
            Snapshot(RUN, "a", "FAILED", report={"status": "Failed", "event": "rolled_back"}),
            "failed, rolled back",
        ),
        (Snapshot(RUN, "a", "ABORTED"), "aborted"),
    ],
)
def test_a_runs_outcome_is_one_word_or_its_step(snapshot: Snapshot, words: str) -> None:
    assert outcome(snapshot) == words


def test_a_run_of_a_dataset_with_an_impossible_name_is_listed_like_any_other(
    target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its execution has failed, but it was started, and stays on the list.
    monkeypatch.setattr(overview, "HttpApi", lambda *_: Api(UserError("There is no model yet.", "")))
    monkeypatch.setattr(overview.runs, "recent", lambda *_: [RUN])
    monkeypatch.setattr(overview.Watcher, "look", lambda self: Snapshot(RUN, "[/a]", "FAILED"))
    monkeypatch.setattr(overview.serving, "read", lambda *_: None)
    monkeypatch.setattr(overview.lease, "read", lambda *_: Lease("", []))
    written = io.StringIO()
    overview.show(Console(file=written, width=200), target, stack)
    assert "[/a]" in written.getvalue()


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (Lease("", []), ""),
        (Lease(HOLDER, []), "run 111111111111 has the endpoint; in line for it: nobody"),
        (
            Lease(HOLDER, ["lexline-b-222222222222", "lexline-c-333333333333"]),
            "run 111111111111 has the endpoint; in line for it: 222222222222 and 333333333333",
        ),
    ],
)
def test_who_works_on_the_endpoint_and_who_waits_is_told(held: Lease, words: str) -> None:
    assert overview.at_work(held).removeprefix("At work").strip() == words


def test_when_an_endpoint_is_to_go_is_told() -> None:
    stays = Serving("InService", "lexline-a-0", "lexline-a-0", "", 1, None, "")
    assert overview.going(None) == overview.going(stays) == ""
    after = overview.going(replace(stays, take_down_at=WHEN))
    assert f"{WHEN.astimezone():%Y-%m-%d %H:%M}" in after
    # The time of the next look is not when it goes.
    idle = overview.going(replace(stays, take_down_at=WHEN, take_down_when_idle="PT1H"))
    assert "nobody has asked it for text for PT1H" in idle
    assert "2026" not in idle
