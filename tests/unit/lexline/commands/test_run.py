"""`lexline run`, `deploy` and `rollback`: the requests that they send, and what they print."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError
from typer.testing import Result

from lexline.aws.datasets import StoredFile
from lexline.aws.models import Model
from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.aws.uploads import Uploaded
from lexline.aws.watcher import Snapshot
from lexline.core.errors import UserError
from lexline.core.local_files import LocalFile
from tests.unit.lexline.conftest import Patch, raising, run_lexline
from tests.unit.lexline.pipeline import ExecutionInput
from tests.unit.lexline.samples import MODELS, ONE, RUN, THREE, TWO, WHEN, endpoint

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
                    {
                        "status": "Failed",
                        "reason": "",
                        "error": {"step": "AssembleDataset", "message": "No UTF-8"},
                    },
                ),
                1,
                "The run failed in the step “Split the text”: No UTF-8.",
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
            ("--incomparable accept", {"incomparable": "accept"}),
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


class Bucket:
    """The dataset's files, what is uploaded and deleted, and the questions that were answered before."""

    def __init__(self, patch: Patch) -> None:
        self.present: list[StoredFile] = []
        self.actions: list[str] = []
        self.originals: list[str] = []
        patch("aws.datasets.files_of", lambda stack, dataset: self.present)
        patch("aws.datasets.original_name", lambda stack, dataset, files: dataset)
        patch("aws.uploads.upload", self.upload)
        patch("aws.uploads.delete", self.delete)

    def has(self, *names: str) -> None:
        self.present = [StoredFile(name, 1000, WHEN, "etag") for name in names]

    def upload(
        self,
        stack: Stack,
        dataset: str,
        original: str,
        files: list[LocalFile],
        progress: Callable[[int], None],
    ) -> Uploaded:
        for file in files:
            progress(file.size)
            self.actions.append(f"upload {dataset}/{file.name}")
        self.originals.append(original)
        return Uploaded(f"uploads/{dataset}/{files[-1].name}", "etag", "v1")

    def delete(self, stack: Stack, dataset: str, names: list[str]) -> None:
        self.actions += [f"delete {dataset}/{name}" for name in names]


@pytest.fixture
def bucket(patch: Patch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket, and a folder with files to upload, which is the current one."""
    patch("aws.runs.started_by", RUN)
    patch("aws.stack.quiet_seconds", 3)
    patch("aws.runs.problem_with", "")
    monkeypatch.chdir(tmp_path)
    for name in ("sotu.txt", "Speeches[bold].txt", "корпус.txt", "My Data/one.txt", "My Data/a/two.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("My fellow citizens")
    (tmp_path / "My Data" / "empty.txt").touch()
    (tmp_path / "My Data" / ".hidden").touch()
    return Bucket(patch)


class TestUpload:
    def test_a_file_is_uploaded_and_the_run_that_trains_on_it_is_followed(self, bucket: Bucket) -> None:
        result = run_lexline("run", "Speeches[bold].txt")
        assert result.exit_code == 0
        assert bucket.actions == ["upload speeches-bold/Speeches[bold].txt"]
        folder = "s3://lexline-bucket/uploads/speeches-bold/"
        assert result.output.splitlines()[:2] == [
            "Dataset speeches-bold, from the name Speeches[bold].txt",
            f"Uploaded Speeches[bold].txt (18 bytes) to {folder}",
        ]
        assert f"Run {RUN.id}" in result.output

    def test_a_folder_is_uploaded_with_its_folders_and_what_is_left_out_is_said(self, bucket: Bucket) -> None:
        result = run_lexline("run", "My Data")
        assert bucket.actions == ["upload my-data/a/two.txt", "upload my-data/one.txt"]
        assert bucket.originals == ["My Data"]
        assert result.output.splitlines()[:3] == [
            "Dataset my-data, from the name My Data",
            "Not uploaded: My Data/.hidden (hidden); My Data/empty.txt (empty).",
            "Uploaded 2 files (36 bytes) to s3://lexline-bucket/uploads/my-data/: a/two.txt and one.txt",
        ]

    def test_several_files_and_folders_are_uploaded_together(self, bucket: Bucket) -> None:
        result = run_lexline("run", "sotu.txt", "My Data", "корпус.txt", "--dataset", "all")
        assert result.exit_code == 0
        names = ["a/two.txt", "one.txt", "sotu.txt", "корпус.txt"]
        assert bucket.actions == [f"upload all/{name}" for name in names]
        assert "Dataset" not in result.output

    def test_hundreds_of_files_take_few_lines(self, bucket: Bucket, tmp_path: Path) -> None:
        for number in range(500):
            (tmp_path / "My Data" / f"{number:03}.txt").write_text("text")
            (tmp_path / "My Data" / f"empty-{number:03}.txt").touch()
        result = run_lexline("run", "My Data")
        assert len(bucket.actions) == 502
        assert len(result.output.partition("Next:")[0].splitlines()) < 10
        assert "empty-004.txt and 496 more (empty)" in result.output
        assert "Uploaded 502 files" in result.output
        assert "003.txt, 004.txt and 497 more" in result.output

    def test_a_name_in_another_script_is_said(self, bucket: Bucket) -> None:
        result = run_lexline("run", "корпус.txt")
        assert bucket.actions == ["upload korpus/корпус.txt"]
        assert bucket.originals == ["корпус"]
        assert "Dataset korpus, from the name корпус.txt" in result.output

    def test_another_name_of_an_existing_dataset_is_refused(self, bucket: Bucket, patch: Patch) -> None:
        bucket.has("корпус.txt")
        patch("aws.datasets.original_name", "korpus")
        for arguments in (["корпус.txt"], ["sotu.txt", "--dataset", "Корпус!"], ["--dataset", "Корпус!"]):
            result = run_lexline("run", *arguments)
            assert (result.exit_code, bucket.actions) == (2, [])
            assert 'was made from the name "korpus"' in result.output
        # With its own name it is meant.
        assert run_lexline("run", "корпус.txt", "--dataset", "korpus").exit_code == 0

    def test_one_more_file_makes_the_dataset_grow_and_that_is_said(self, bucket: Bucket) -> None:
        bucket.has("a.txt", "b.txt", "sotu.txt")
        result = run_lexline("run", "sotu.txt")
        assert "The dataset sotu has 2 files more from before." in result.output
        assert "`lexline datasets sotu` lists them." in result.output
        assert bucket.actions == ["upload sotu/sotu.txt"]

    def test_ctrl_c_says_what_became_of_the_upload(self, bucket: Bucket, patch: Patch) -> None:
        patch("aws.uploads.upload", raising(KeyboardInterrupt()))
        result = run_lexline("run", "sotu.txt")
        assert result.exit_code == 130
        assert "The upload did not complete." in result.output
        assert "run the same command again" in result.output

    def test_an_upload_that_s3_refuses_says_why_and_how_to_go_on(self, bucket: Bucket, patch: Patch) -> None:
        denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "No"}}, "PutObject")
        patch("aws.uploads.upload", raising(denied))
        result = run_lexline("run", "sotu.txt")
        assert result.exit_code == 1
        assert "The upload did not complete. AWS denied access to PutObject. No." in result.output
        assert "run the same command again" in result.output


class TestReplace:
    def test_the_other_files_are_shown_and_deleted_after_the_upload(
        self, bucket: Bucket, requests: list[Any]
    ) -> None:
        bucket.has("a.txt", "b/c.txt", "sotu.txt")
        result = run_lexline("run", "sotu.txt", "--replace", answer="y\n")
        assert result.exit_code == 0
        assert "The dataset sotu has 2 files (2.0 kB) to delete." in result.output
        assert "  a.txt (1.0 kB)\n  b/c.txt (1.0 kB)\n" in result.output
        assert "Upload the new files, and then delete these?" in result.output
        assert bucket.actions == ["upload sotu/sotu.txt", "delete sotu/a.txt", "delete sotu/b/c.txt"]
        # This run lists the files after the deletion, and the upload's own might not.
        assert requests == [("sotu", {"dataset": "sotu"})]
        assert "Deleted 2 files" in result.output
        assert "from before" not in result.output

    @pytest.mark.parametrize("answer", ["n\n", ""])
    def test_without_a_yes_nothing_is_uploaded_or_deleted(
        self, bucket: Bucket, requests: list[Any], answer: str
    ) -> None:
        bucket.has("a.txt")
        result = run_lexline("run", "sotu.txt", "--replace", answer=answer)
        assert (result.exit_code, bucket.actions, requests) == (1, [], [])
        assert "--yes" in result.output

    def test_with_yes_nobody_is_asked(self, bucket: Bucket) -> None:
        bucket.has(*(f"{number:02}.txt" for number in range(30)))
        result = run_lexline("run", "sotu.txt", "--replace", "--yes")
        assert "19.txt (1.0 kB)\n  and 10 more\n" in result.output
        assert len(bucket.actions) == 31

    @pytest.mark.parametrize(
        ("error", "exit_code"),
        [
            (KeyboardInterrupt(), 130),
            (ClientError({"Error": {"Code": "SlowDown", "Message": "Slow"}}, "PutObject"), 1),
            (UserError("It broke.", "Mend it."), 1),
        ],
    )
    def test_nothing_is_deleted_unless_the_upload_succeeded(
        self, bucket: Bucket, patch: Patch, error: BaseException, exit_code: int
    ) -> None:
        bucket.has("a.txt")
        patch("aws.uploads.upload", raising(error))
        result = run_lexline("run", "sotu.txt", "--replace", "--yes")
        assert (result.exit_code, bucket.actions) == (exit_code, [])

    def test_if_there_is_nothing_to_replace_nobody_is_asked(
        self, bucket: Bucket, requests: list[Any]
    ) -> None:
        bucket.has("sotu.txt")
        assert run_lexline("run", "sotu.txt", "--replace").exit_code == 0
        assert bucket.actions == ["upload sotu/sotu.txt"]
        assert requests == []


class TestUploadWithOptions:
    """The command starts the run itself, and the upload's own execution finds nothing left to do."""

    @staticmethod
    def run() -> Result:
        return run_lexline("run", "sotu.txt", "--set", "epochs=3", "--force")

    def test_the_request_has_the_options_and_is_sent_after_the_upload(
        self, requests: list[Any], bucket: Bucket
    ) -> None:
        result = self.run()
        assert result.exit_code == 0
        assert bucket.actions == ["upload sotu/sotu.txt"]
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
        self, requests: list[Any], bucket: Bucket, patch: Patch, function: str, value: object, message: str
    ) -> None:
        patch(f"aws.{function}", value)
        result = self.run()
        assert (result.exit_code, bucket.actions, requests) == (2, [], [])
        assert message in result.output

    def test_if_the_run_cannot_be_started_the_user_learns_that_the_upload_has_one_of_its_own(
        self, bucket: Bucket, patch: Patch
    ) -> None:
        denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "No"}}, "StartExecution")
        patch("aws.runs.start", raising(denied))
        result = self.run()
        assert (result.exit_code, bucket.actions) == (1, ["upload sotu/sotu.txt"])
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
