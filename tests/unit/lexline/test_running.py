"""`lexline run`, `deploy` and `rollback`: what they ask the pipeline for, and what they say."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.request import ExecutionInput
from lexline import registry, runs, serving
from lexline.commands import watching
from lexline.errors import UsageError
from lexline.follow import Snapshot
from lexline.registry import Model
from lexline.runs import Run, Uploaded
from lexline.serving import Serving
from lexline.target import Stack, Target
from tests.unit.lexline.conftest import EXECUTION, run_lexline

pytestmark = pytest.mark.usefixtures("deployed")

WHEN = datetime(2026, 11, 23, tzinfo=UTC)
RUN = Run(EXECUTION + "one", "RUNNING", WHEN, None)
NOTHING = {"status": "Skipped", "reason": "Nothing new."}
ONE = "lexline-sotu-111111111111"
TWO = "lexline-sotu-222222222222"


def snapshot(status: str, report: dict[str, Any] | None = None) -> Snapshot:
    return Snapshot(RUN, "sotu", status, report=report)


def follows(monkeypatch: pytest.MonkeyPatch, outcome: Callable[[], Snapshot]) -> None:
    monkeypatch.setattr(watching, "follow", lambda *_: outcome())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What executions were started for and with; each skips its work."""
    started: list[Any] = []

    def start(target: Target, stack: Stack, about: str, request: Mapping[str, Any]) -> Run:
        started.append((about, request))
        # The pipeline refuses an input that it does not know.
        ExecutionInput.model_validate(request)
        return RUN

    monkeypatch.setattr(runs, "start", start)
    follows(monkeypatch, lambda: snapshot("SUCCEEDED", NOTHING))
    return started


@pytest.mark.usefixtures("asked")
class TestWatching:
    def test_a_run_that_had_nothing_to_do_ends_with_0(self) -> None:
        result = run_lexline("run", "--dataset", "sotu")
        assert result.exit_code == 0
        assert "Nothing new." in result.output

    def test_a_run_that_fails_ends_with_1_and_its_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        error = {"step": "Prepare", "message": "Not UTF-8 at byte 3"}
        follows(monkeypatch, lambda: snapshot("FAILED", {"status": "Failed", "reason": "", "error": error}))
        result = run_lexline("run", "--dataset", "sotu")
        assert result.exit_code == 1
        assert "The run failed in Prepare: Not UTF-8 at byte 3." in result.output

    def test_a_run_that_was_aborted_says_who_cleans_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        follows(monkeypatch, lambda: snapshot("ABORTED"))
        result = run_lexline("run", "--dataset", "sotu")
        assert result.exit_code == 1
        assert "The run ended as ABORTED." in result.output
        assert "a run of its own cleans up" in result.output

    def test_where_the_stack_is_deleted_nobody_is_said_to_clean_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stopped = replace(snapshot("ABORTED"), error="StackDeleted The stack is being deleted.")
        follows(monkeypatch, lambda: stopped)
        result = run_lexline("run", "--dataset", "sotu")
        assert "The stack is being deleted." in result.output
        assert "cleans up" not in result.output

    def test_ctrl_c_leaves_the_run_and_says_how_to_come_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted() -> Snapshot:
            raise KeyboardInterrupt

        follows(monkeypatch, interrupted)
        result = run_lexline("run", "--dataset", "sotu")
        assert result.exit_code == 130
        assert "The run goes on without you." in result.output
        assert f"lexline status --follow {RUN.id}" in result.output


class TestRun:
    def test_without_settings_only_the_dataset_is_asked_for(self, asked: list[Any]) -> None:
        run_lexline("run", "--dataset", "sotu")
        assert asked == [("sotu", {"dataset": "sotu"})]

    def test_settings_reach_the_execution(self, asked: list[Any]) -> None:
        run_lexline(
            "run", "--dataset", "sotu", "--set", "epochs=3", "--set", "hosting.endpoint_type=serverless",
            "--teardown", "when_idle:PT1H", "--max-perplexity", "90", "--tolerance", "0.02", "--force",
            "--source-repo", "https://git.example.com/a/b", "--source-branch", "main",
            "--source-commit", "0123abc", "--source-secret", "lexline/git",
        )  # fmt: skip
        ((_, request),) = asked
        assert request == {
            "dataset": "sotu",
            "hyperparameters": {"epochs": 3},
            "hosting": {"endpoint_type": "serverless"},
            "teardown": "when_idle:PT1H",
            "max_perplexity": 90.0,
            "tolerance": 0.02,
            "force": True,
            "source": {
                "repo": "https://git.example.com/a/b",
                "branch": "main",
                "commit": "0123abc",
                "secret": "lexline/git",
            },
        }

    def test_a_file_is_uploaded_and_the_run_that_takes_it_along_followed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = tmp_path / "Speeches[bold].txt"
        corpus.write_text("My fellow citizens")
        uploads: list[tuple[str, Path]] = []

        def upload(
            target: Target, stack: Stack, dataset: str, path: Path, sent: Callable[[int], None]
        ) -> Uploaded:
            sent(18)
            uploads.append((dataset, path))
            return Uploaded(f"uploads/{dataset}/{path.name}", "etag", "v1")

        monkeypatch.setattr(runs, "upload", upload)
        monkeypatch.setattr(runs, "started_by", lambda *_, **__: RUN)
        follows(monkeypatch, lambda: snapshot("SUCCEEDED", NOTHING))
        result = run_lexline("run", str(corpus))
        assert result.exit_code == 0
        assert uploads == [("speeches-bold", corpus)]
        into = "s3://lexline-bucket/uploads/speeches-bold/"
        assert f"Uploaded Speeches[bold].txt (18 bytes) to {into}" in result.output
        assert f"Run {RUN.id}" in result.output


def model(version: int, name: str, approval: str = "Approved", reason: str = "") -> Model:
    return Model(version, name, "sotu", WHEN, 86.7, "", None, None, approval, reason, "", "")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 was taken, version 2 refused."""
    models = {"1": model(1, ONE), "2": model(2, TWO, "Rejected", "It is worse.")}

    def find(target: Target, stack: Stack, wanted: str) -> Model:
        for version, each in models.items():
            if wanted in (version, each.name):
                return each
        raise UsageError(f"There is no model {wanted}.", "`lexline models` lists those there are.")

    monkeypatch.setattr(registry, "find", find)


@pytest.mark.usefixtures("registered")
class TestDeploy:
    def test_a_model_goes_into_service_by_its_name_with_settings_of_hosting(self, asked: list[Any]) -> None:
        result = run_lexline("deploy", "1", "--set", "hosting.instance_count=2", "--teardown", "after:P1D")
        assert result.exit_code == 0
        assert f"Deploying {ONE} (version 1, trained 2026-11-2" in result.output
        assert asked == [
            (
                "deploy-111111111111",
                {"model": ONE, "hosting": {"instance_count": 2}, "teardown": "after:P1D"},
            )
        ]

    def test_a_rejected_model_needs_force_and_the_reason_is_told(self, asked: list[Any]) -> None:
        refused = run_lexline("deploy", "2")
        assert refused.exit_code == 1
        assert f"Version 2 ({TWO}) is Rejected: It is worse." in refused.output
        assert "--force" in refused.output
        assert asked == []
        assert run_lexline("deploy", "2", "--force").exit_code == 0
        assert asked == [("deploy-222222222222", {"model": TWO, "force": True})]

    def test_an_unknown_model_starts_nothing(self, asked: list[Any]) -> None:
        result = run_lexline("deploy", "7")
        assert result.exit_code == 2
        assert "`lexline models`" in result.output
        assert asked == []


def serves(
    monkeypatch: pytest.MonkeyPatch, previous: str = ONE, status: str = "InService", there: bool = True
) -> None:
    live = Serving(status, "lexline-sotu-333333333333", TWO, previous, 1, None, "") if there else None
    monkeypatch.setattr(serving, "read", lambda *_: live)


@pytest.mark.usefixtures("registered")
class TestRollback:
    def test_it_says_what_it_goes_back_to_and_asks_for_that(
        self, asked: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serves(monkeypatch)
        result = run_lexline("rollback")
        assert result.exit_code == 0
        assert f"Going back from {TWO} to {ONE} (version 1" in result.output
        assert result.output.index("Going back") < result.output.index(f"Run {RUN.id}")
        assert asked == [("rollback", {"model": "previous"})]

    @pytest.mark.parametrize(
        ("live", "complaint"),
        [
            ({"there": False}, "No model serves on the endpoint lexline"),
            ({"status": "Failed"}, "No model serves on the endpoint lexline"),
            ({"previous": ""}, f"Nothing served on the endpoint lexline before {TWO}."),
            ({"previous": TWO}, "is Rejected: It is worse."),
        ],
    )
    def test_where_there_is_nothing_to_go_back_to_nothing_is_started(
        self, asked: list[Any], monkeypatch: pytest.MonkeyPatch, live: dict[str, Any], complaint: str
    ) -> None:
        serves(monkeypatch, **live)
        result = run_lexline("rollback")
        assert result.exit_code == 1
        assert complaint in result.output
        assert asked == []
