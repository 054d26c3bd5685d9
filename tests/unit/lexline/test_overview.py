import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from lexline import overview
from lexline.errors import UserError
from lexline.follow import Snapshot
from lexline.history import Step
from lexline.overview import outcome, served
from lexline.runs import Run
from lexline.target import Stack, Target

WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = Run("arn", "RUNNING", WHEN, None)


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
        (Snapshot(RUN, "a", "RUNNING", [Step("Train", "running", WHEN, 0)]), "running: Train"),
        (Snapshot(RUN, "a", "RUNNING"), "running"),
        (Snapshot(RUN, "a", "SUCCEEDED", report={"status": "Rejected"}), "rejected"),
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
    written = io.StringIO()
    overview.show(Console(file=written, width=200), target, stack)
    assert "[/a]" in written.getvalue()
