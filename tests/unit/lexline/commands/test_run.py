"""`lexline run`, `deploy` and `rollback`: the requests that they send, and what they print."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError
from typer.testing import Result

from lexline.aws.models import Model
from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.aws.uploads import Uploaded
from lexline.aws.watcher import Snapshot
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.unit.lexline.pipeline import ExecutionInput
from tests.unit.lexline.samples import MODELS, ONE, RUN, THREE, TWO, endpoint

pytestmark = pytest.mark.usefixtures("deployed")
POLICIES = ("never", "always", "on_failure", "after:PT8H", "after:P2D", "when_idle:P1DT1H30M5S")
SKIPPED = {"status": "Skipped", "reason": "Nothing new."}


def snapshot(status: str, report: dict[str, Any] | None = None, error: str = "") -> Snapshot:
    return Snapshot(RUN, {"dataset": "sotu"}, status, report=report, error=error)


@pytest.fixture(autouse=True)
def requests(patch: Patch) -> list[tuple[str, Mapping[str, Any]]]:
    """The subjects and requests of the executions that were started. Each one has nothing to do."""
    started: list[tuple[str, Mapping[str, Any]]] = []

    def start(stack: Stack, subject: str, request: Mapping[str, Any]) -> Run:
        ExecutionInput.model_validate(request)
        started.append((subject, request))
        return RUN

    patch("aws.runs.start", start)
    patch("aws.watcher.Watcher.look", snapshot("SUCCEEDED", SKIPPED))
    return started


class TestFollowing:
    @pytest.mark.parametrize(
        ("last", "exit_code", "message"),
        [
            (snapshot("SUCCEEDED", SKIPPED), 0, "Nothing new."),
            (
                snapshot(
                    "FAILED",
                    {"status": "Failed", "reason": "", "error": {"step": "Prepare", "message": "No UTF-8"}},
                ),
                1,
                "The run failed in Prepare: No UTF-8.",
            ),
            (snapshot("ABORTED"), 1, "Another run cleans up after it."),
            (snapshot("ABORTED", error="StackDeleted The stack is deleted."), 1, "The stack is deleted."),
        ],
    )
    def test_a_run_ends_with_its_result_and_an_exit_code(
        self, patch: Patch, last: Snapshot, exit_code: int, message: str
    ) -> None:
        patch("aws.watcher.Watcher.look", last)
        result = run_lexline("run", "--dataset", "sotu")
        assert result.exit_code == exit_code
        assert message in result.output
        # If the stack was deleted, no other run cleans up.
        assert ("cleans up" in result.output) == ("cleans up" in message)

    def test_ctrl_c_stops_following_and_the_run_continues(self, patch: Patch) -> None:
        def interrupted(*_: object) -> Snapshot:
            raise KeyboardInterrupt

        patch("aws.watcher.Watcher.look", interrupted)
        result = run_lexline("run", "--dataset", "sotu")
        assert result.exit_code == 130
        assert "The run continues." in result.output
        assert f"lexline status --follow {RUN.id}" in result.output


class TestRun:
    @pytest.mark.parametrize(
        ("options", "fields"),
        [
            ("", {}),
            (
                "--set epochs=3 --set batch-size=20 --set tied=true --set recipe=awd",
                {"hyperparameters": {"epochs": 3, "batch_size": 20, "tied": True, "recipe": "awd"}},
            ),
            (
                "--set training.instance_type=ml.c5.xlarge --set hosting.endpoint_type=serverless",
                {"training": {"instance_type": "ml.c5.xlarge"}, "hosting": {"endpoint_type": "serverless"}},
            ),
            *((f"--teardown {policy}", {"teardown": policy}) for policy in POLICIES),
            ("--max-perplexity 90 --tolerance 0", {"max_perplexity": 90, "tolerance": 0}),
            ("--force", {"force": True}),
            (
                "--source-repo https://a --source-branch b --source-commit 0123abc --source-secret lexline/d",
                {"source": {"repo": "https://a", "branch": "b", "commit": "0123abc", "secret": "lexline/d"}},
            ),
        ],
    )
    def test_the_request_has_the_options(
        self, requests: list[Any], options: str, fields: dict[str, Any]
    ) -> None:
        run_lexline("run", "--dataset", "sotu", *options.split())
        assert requests == [("sotu", {"dataset": "sotu", **fields})]

    @pytest.mark.parametrize(
        "policy", ["", "sometimes", "after", "after:8h", "after:PT", "after:P", "idle:PT1H"]
    )
    def test_a_teardown_that_the_pipeline_would_reject_starts_no_run(
        self, requests: list[Any], policy: str
    ) -> None:
        result = run_lexline("run", "--dataset", "sotu", f"--teardown={policy}")
        assert (result.exit_code, requests) == (2, [])
        assert "--teardown" in result.output
        with pytest.raises(ValidationError):
            ExecutionInput.model_validate({"dataset": "sotu", "teardown": policy})

    def test_a_file_is_uploaded_and_the_run_that_trains_on_it_is_followed(
        self, tmp_path: Path, patch: Patch
    ) -> None:
        corpus = tmp_path / "Speeches[bold].txt"
        corpus.write_text("My fellow citizens")
        uploads: list[tuple[str, Path]] = []

        def upload(stack: Stack, dataset: str, path: Path, progress: Callable[[int], None]) -> Uploaded:
            progress(18)
            uploads.append((dataset, path))
            return Uploaded(f"uploads/{dataset}/{path.name}", "etag", "v1")

        patch("aws.uploads.upload", upload)
        patch("aws.runs.started_by", RUN)
        result = run_lexline("run", str(corpus))
        assert result.exit_code == 0
        assert uploads == [("speeches-bold", corpus)]
        folder = "s3://lexline-bucket/uploads/speeches-bold/"
        assert f"Uploaded Speeches[bold].txt (18 bytes) to {folder}" in result.output
        assert f"Run {RUN.id}" in result.output


class TestRunOfAFileWithOptions:
    """The command starts the run itself, and the upload's own execution finds nothing left to do."""

    @pytest.fixture
    def uploads(self, patch: Patch) -> list[str]:
        uploads: list[str] = []

        def upload(stack: Stack, dataset: str, path: Path, progress: Callable[[int], None]) -> Uploaded:
            uploads.append(path.name)
            return Uploaded(f"uploads/{dataset}/{path.name}", "etag", "v1")

        patch("aws.uploads.upload", upload)
        patch("aws.stack.quiet_seconds", 3)
        patch("aws.runs.problem_with", "")
        return uploads

    @pytest.fixture
    def run(self, tmp_path: Path) -> Callable[[], Result]:
        corpus = tmp_path / "sotu.txt"
        corpus.write_text("My fellow citizens")
        return lambda: run_lexline("run", str(corpus), "--set", "epochs=3", "--force")

    def test_the_request_has_the_options_and_is_sent_after_the_upload(
        self, requests: list[Any], uploads: list[str], run: Callable[[], Result]
    ) -> None:
        result = run()
        assert result.exit_code == 0
        assert uploads == ["sotu.txt"]
        request = {"dataset": "sotu", "hyperparameters": {"epochs": 3}, "force": True}
        assert requests == [("sotu", request)]
        assert f"Run {RUN.id}" in result.output

    @pytest.mark.parametrize(
        ("function", "value", "message"),
        [
            # Otherwise the upload's own run would train in place of the invalid one.
            ("runs.problem_with", "hyperparameters.epochs: no.", "hyperparameters.epochs: no."),
            ("stack.quiet_seconds", 0, "QuietSeconds is 0"),
        ],
    )
    def test_nothing_is_uploaded_if_the_uploads_own_run_would_train(
        self,
        requests: list[Any],
        uploads: list[str],
        run: Callable[[], Result],
        patch: Patch,
        function: str,
        value: object,
        message: str,
    ) -> None:
        patch(f"aws.{function}", value)
        result = run()
        assert (result.exit_code, uploads, requests) == (2, [], [])
        assert message in result.output

    def test_if_the_run_cannot_be_started_the_user_learns_that_the_upload_has_one_of_its_own(
        self, uploads: list[str], run: Callable[[], Result], patch: Patch
    ) -> None:
        def start(*_: object) -> Run:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "No"}}, "StartExecution")

        patch("aws.runs.start", start)
        result = run()
        assert (result.exit_code, uploads) == (1, ["sotu.txt"])
        assert "The files are uploaded" in result.output
        assert "The upload starts a run with the parameters of the stack." in result.output


@pytest.fixture
def registered(patch: Patch) -> None:
    """Versions 1 and 2 were approved, version 3 was rejected."""

    def find(stack: Stack, wanted: str) -> Model:
        return next(model for model in MODELS if wanted in (str(model.version), model.name))

    patch("aws.models.find", find)


@pytest.mark.usefixtures("registered")
class TestDeploy:
    def test_the_request_has_the_models_name_and_the_options(self, requests: list[Any]) -> None:
        result = run_lexline("deploy", "1", "--set", "hosting.instance_count=2", "--teardown", "after:P1D")
        assert result.exit_code == 0
        assert f"Deploying {ONE} (version 1, trained 2026-11-2" in result.output
        request = {"model": ONE, "hosting": {"instance_count": 2}, "teardown": "after:P1D"}
        assert requests == [("deploy-111111111111", request)]

    def test_a_rejected_model_is_deployed_only_with_force(self, requests: list[Any]) -> None:
        rejected = run_lexline("deploy", "3")
        assert rejected.exit_code == 1
        assert f"Version 3 ({THREE}) is rejected: It is worse." in rejected.output
        assert "--force" in rejected.output
        assert requests == []
        assert run_lexline("deploy", "3", "--force").exit_code == 0
        assert requests == [("deploy-333333333333", {"model": THREE, "force": True})]


@pytest.mark.usefixtures("registered")
class TestRollback:
    def test_the_previous_model_is_named_and_requested(self, requests: list[Any], patch: Patch) -> None:
        patch("aws.endpoint.read", endpoint(TWO, previous=ONE))
        result = run_lexline("rollback")
        assert result.exit_code == 0
        assert f"Rolling back from {TWO} to {ONE} (version 1" in result.output
        assert requests == [("rollback", {"model": "previous"})]

    @pytest.mark.parametrize(
        ("current", "message"),
        [
            (None, "The endpoint lexline does not serve a model."),
            (endpoint(TWO, status="Failed"), "The endpoint lexline does not serve a model."),
            (endpoint(TWO, previous=""), f"The endpoint lexline served no model before {TWO}."),
            (endpoint(TWO, previous=THREE), "is rejected: It is worse."),
        ],
    )
    def test_without_a_model_to_go_back_to_no_run_starts(
        self, requests: list[Any], patch: Patch, current: object, message: str
    ) -> None:
        patch("aws.endpoint.read", current)
        result = run_lexline("rollback")
        assert result.exit_code == 1
        assert message in result.output
        assert requests == []
