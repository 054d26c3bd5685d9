"""`lexline run --dry-run`: everything is checked and said, and nothing is uploaded or started."""

from pathlib import Path
from typing import Any

import pytest

from lexline.aws.datasets import StoredFile
from lexline.aws.lease import Lease
from lexline.aws.outlook import Former, Outlook
from lexline.aws.stack import Stack
from tests.unit.lexline.conftest import Patch, raising, run_lexline
from tests.unit.lexline.pipeline import Run
from tests.unit.lexline.samples import ONE, TWO, WHEN, endpoint
from tests.unit.pipeline.documents import Documents

DURATIONS = {"plan": 0.4, "train": 312.0, "deploy": 241.0}
FORMER = Former("1" * 12, WHEN, "Rejected", DURATIONS, 658.0, 0.0059, 413_568, {"epochs": 6})
PRICES = {
    **{"date": "2026-09-22", "region": "us-east-1", "training": {}},
    **{"hosting": {"ml.m5.large": 0.115}, "serverless": {"2048": 0.00004}},
}


class Known:
    """What the command finds. A test may change it."""

    def __init__(self, patch: Patch) -> None:
        self.patch = patch
        self.requests: list[Any] = []
        self.plan: dict[str, Any] = {}
        self.problem = ""
        patch("aws.runs.planned", self._planned)
        self.is_known(files=[], endpoint=None, owner="", outlook=Outlook(FORMER, 0.23), warnings=[])
        patch("aws.prices.current", PRICES)
        patch("aws.stack.quiet_seconds", 3)
        for function in ("runs.start", "uploads.upload", "uploads.delete"):
            patch(f"aws.{function}", raising(AssertionError("A dry run changes nothing.")))

    def _planned(self, stack: Stack, request: Any) -> tuple[dict[str, Any], str]:
        self.requests.append(request)
        return ({}, self.problem) if self.problem else (self.plan, "")

    def is_known(self, **found: Any) -> None:
        if "files" in found:
            self.patch(
                "aws.datasets.files_of", [StoredFile(name, 1000, WHEN, "e") for name in found["files"]]
            )
            self.patch("aws.datasets.original_name", lambda stack, dataset, files: dataset)
        if "endpoint" in found:
            self.patch("aws.endpoint.read", found["endpoint"])
        if "owner" in found:
            self.patch("aws.lease.read", Lease(found["owner"], []))
        if "outlook" in found:
            self.patch("aws.outlook.of", found["outlook"])
        if "warnings" in found:
            self.patch("aws.quotas.warnings", found["warnings"])

    def is_planned(self, **fields: Any) -> None:
        run = Documents().run
        run["training"]["spot"] = False
        self.plan = Run.model_validate({**run, **fields}).model_dump(mode="json")


@pytest.fixture
def known(deployed: Stack, patch: Patch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Known:
    monkeypatch.chdir(tmp_path)
    for name in ("sotu.txt", "one.txt"):
        (tmp_path / name).write_text("My fellow citizens")
    found = Known(patch)
    found.is_planned()
    return found


def dry(*arguments: str) -> str:
    result = run_lexline("run", *arguments, "--dry-run")
    assert result.exit_code == 0, result.output
    return result.output


def test_a_file_is_not_uploaded_and_everything_is_said(known: Known) -> None:
    known.is_known(files=["sotu.txt", "old.txt"], endpoint=endpoint(TWO), owner=ONE)
    text = dry("sotu.txt")
    assert known.requests == [{"dataset": "sotu"}]
    for line in (
        "The request is valid. Nothing was uploaded or started. The run would:",
        "  1. upload 1 file (18 bytes) to s3://lexline-bucket/uploads/sotu/: sotu.txt",
        "  2. wait until run 111111111111 no longer uses the endpoint",
        "  3. check and prepare the 2 files (1.0 kB) of the dataset sotu",
        "  4. train a model with recipe fast, 6 epochs, on ml.m5.xlarge, unless the model that serves was "
        "made of the same data, scripts and hyperparameters",
        f"  5. reject it if it is no better than guessing or it is worse than {TWO}, which serves",
        "  6. deploy it to the endpoint lexline (ml.m5.large), and generate test texts",
        "Last time, run 111111111111 took 10 min 58 s (Train 5 min 12 s, Deploy the endpoint 4 min 01 s). It "
        "trained on 413,568 words for 6 epochs, and ended as Rejected on 2026-11-2",
        "Last time, training cost about $0.0059.",
        "Training costs about $0.23 an hour at list prices.",
        "The endpoint costs about $0.115 an hour, $2.76 a day, $83.95 a month while it exists.",
        "Prices of 2026-09-22 for us-east-1, in US dollars without tax.",
        "run the same command without --dry-run",
    ):
        assert line in text
    assert "Last run" not in text


def test_a_dataset_that_exists_is_trained_on_with_the_options(known: Known) -> None:
    known.is_known(files=["a.txt", "b.txt"], outlook=Outlook(None, None))
    hosting = {"endpoint_type": "serverless", "serverless_memory_mb": 2048}
    training = {"instance_type": "ml.z9.large", "instance_count": 2}
    known.is_planned(
        **{"hosting": hosting, "training": training, "force": True, "max_perplexity": 90, "tolerance": 0.02},
        **{"teardown": {"when_idle": "PT1H"}, "hyperparameters": {"recipe": "awd"}},
    )
    text = dry("--dataset", "sotu", "--force", "--set", "epochs=3")
    assert known.requests == [{"dataset": "sotu", "force": True, "hyperparameters": {"epochs": 3}}]
    for line in (
        "  1. check and prepare the 2 files (2.0 kB) of the dataset sotu",
        "  2. train a model with recipe awd, the recipe's number of epochs, on 2 x ml.z9.large on spot "
        "instances\n",
        "  3. reject it if it is no better than guessing or its test perplexity is above 90\n",
        "  4. deploy it to the endpoint lexline (serverless, 2,048 MB), and generate test texts; tear it "
        "down when it had no request for PT1H",
        "no run has trained on this dataset yet",
        "The price of training on ml.z9.large is not known.",
        "costs nothing while there are no requests; 1,000 requests of one second cost about $0.04",
    ):
        assert line in text
    assert "upload " not in text.partition("\n")[2]


def test_files_to_replace_are_counted_and_stay(known: Known) -> None:
    known.is_known(files=["sotu.txt", "old.txt", "older.txt"])
    text = dry("sotu.txt", "one.txt", "--dataset", "sotu", "--replace")
    assert "delete the 2 other files of the dataset" in text
    assert "check and prepare the 2 files (36 bytes)" in text


def test_many_files_take_one_line(known: Known, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.txt").write_text("text")
    names = [f"{number:02}.txt" for number in range(20)]
    assert "00.txt, 01.txt, 02.txt, 03.txt, 04.txt and 15 more" in dry(*names, "--dataset", "a")


def test_a_model_that_is_torn_down_at_once_has_no_standing_cost(known: Known) -> None:
    known.is_known(files=["a.txt"])
    known.is_planned(teardown="always")
    text = dry("--dataset", "sotu")
    assert "generate test texts, then tear it down" in text
    assert "The endpoint costs" not in text


def test_who_may_not_invoke_plan_is_told_what_is_known(known: Known) -> None:
    known.is_known(files=["a.txt"], warnings=["The quota is too small."])
    known.plan = {}
    text = dry("--dataset", "sotu")
    assert "train a model as the stack's parameters and the options say" in text
    assert "Warning: The quota is too small." in text


@pytest.mark.parametrize(
    ("arguments", "problem", "files", "message"),
    [
        (["sotu.txt", "--set", "epochs=0"], "hyperparameters.epochs: no", [], "hyperparameters.epochs: no"),
        (["--dataset", "sotu"], "", [], "The dataset sotu has no files."),
        (["sotu.txt", "--teardown", "sometimes"], "", [], "--teardown sometimes is invalid"),
        (["missing.txt"], "", [], "missing.txt"),
    ],
)
def test_what_is_invalid_is_said_with_exit_code_2(
    known: Known, arguments: list[str], problem: str, files: list[str], message: str
) -> None:
    known.problem = problem
    known.is_known(files=files)
    result = run_lexline("run", *arguments, "--dry-run")
    assert result.exit_code == 2
    assert message in result.output


def test_options_that_the_uploads_own_run_would_not_have_are_refused(known: Known, patch: Patch) -> None:
    patch("aws.stack.quiet_seconds", 0)
    result = run_lexline("run", "sotu.txt", "--set", "epochs=3", "--dry-run")
    assert result.exit_code == 2
    assert "QuietSeconds is 0" in result.output
    assert "Nothing was uploaded or started." in dry("sotu.txt")


def test_the_quotas_are_checked_for_the_settings_of_the_run(known: Known, patch: Patch) -> None:
    training = {**Documents().run["training"], "instance_type": "ml.g5.xlarge"}
    known.is_planned(training=training)
    patch("aws.quotas.warnings", lambda target, run: [f"No {run['training']['instance_type']} is left."])
    assert "Warning: No ml.g5.xlarge is left." in dry(
        "sotu.txt", "--set", "training.instance_type=ml.g5.xlarge"
    )
