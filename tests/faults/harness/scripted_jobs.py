"""Training jobs that train nothing. They have the statuses, log, metrics and artifacts of real jobs.

A job reads and writes what a real job does, with the credentials of its execution role. So it fails if the
role or the data would make a real job fail. The fault plan sets how it ends and its metrics, which otherwise
are:

    test_perplexity          50 for the first job, and 1 % better for each further one
    champion_perplexity      the champion's test_perplexity, if there is a channel `champion`
    challenger_perplexity    test_perplexity again, in the same case
    others                   constants
"""

import contextlib
import itertools
import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.sagemaker.processes.artifacts import (
    BadArchive,
    S3Store,
    StoreError,
    download_prefix,
    pack,
    split_uri,
    unpack,
)
from localcloud.sagemaker.processes.failure_reasons import shorten
from localcloud.sagemaker.processes.images import ImageNotFound, training_runner
from localcloud.sagemaker.processes.training_run import TrainingEvents, TrainingLaunch, TrainingOutcome
from tests.faults.harness.fault_plan import FaultPlan

FIRST_PERPLEXITY = 50.0
STAGE_SECONDS = 0.005
"""The duration of a stage. Describe may see each stage."""
TRAINING_SECONDS = 60
"""The training time that SageMaker reports and bills."""
IDENTITY = "model.json"
"""The file of model.tar.gz with the name of the job, its test perplexity and its words."""
_MAX_WORDS = 200
_STOPS = ("Stopped", "MaxRuntimeExceeded")
"""The outcomes of a job that is stopped after its training."""


@dataclass(frozen=True)
class Script:
    """The plan for one job."""

    outcome: str
    reason: str
    seconds: float
    """How long the job trains, at most until `delays_over` is set."""
    delays_over: threading.Event
    perplexity: float
    metrics: Mapping[str, float | None]
    """Metrics that replace the job's own."""


class ScriptedJobs:
    """The factory of training jobs for the local SageMaker. Each job gets its script from the plan."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._numbers = itertools.count()

    def __call__(self, launch: TrainingLaunch, events: TrainingEvents) -> "ScriptedJob":
        job = [launch.job_name]
        end = self._plan.take("job", ["training-job"], job) or {}
        script = Script(
            outcome=end.get("outcome", "Completed"),
            reason=end.get("reason", ""),
            seconds=end.get("seconds", 0.0),
            delays_over=self._plan.delays_over,
            perplexity=FIRST_PERPLEXITY * 0.99 ** next(self._numbers),
            metrics=self._plan.take("metrics", ["training-job"], job) or {},
        )
        return ScriptedJob(launch, events, script)


class _Failed(Exception):
    """The job cannot continue. The message is its FailureReason."""


class _Stopped(Exception):
    """The job was stopped before its end."""


class ScriptedJob:
    """One training job, on its own thread."""

    def __init__(self, launch: TrainingLaunch, events: TrainingEvents, script: Script) -> None:
        self._launch = launch
        self._events = events
        self._script = script
        self._stopping = threading.Event()
        self._closed = False
        self._training_report: dict[str, Any] = {}
        self._stream = f"{launch.job_name}/algo-1-{time.time_ns() // 1_000_000}"
        self._thread = threading.Thread(target=self._run, name=f"training-{launch.job_name}", daemon=True)

    def start(self) -> None:
        """Start the job."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the job. It still uploads its model."""
        self._stopping.set()

    def close(self) -> None:
        """End the job without a trace, and wait for its thread."""
        self._closed = True
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            outcome = self._outcome()
        finally:
            shutil.rmtree(self._launch.directory, ignore_errors=True)
        if not self._closed:
            self._events.finished(outcome)

    def _outcome(self) -> TrainingOutcome:
        planned = self._script.outcome
        try:
            self._store = S3Store(self._launch.environment)
            self._report("Starting", "Preparing the instances for training")
            if planned == "MaxWaitTimeExceeded":
                return TrainingOutcome("Stopped", "MaxWaitTimeExceeded", None, None, 0)
            try:
                self._prepare()
                self._train()
                if planned == "Failed":
                    raise _Failed(self._script.reason)
                if planned in _STOPS:
                    self._report("Stopping", "Stopping the training job")
                self._report("Uploading", "Uploading generated training model")
            except _Stopped:
                planned = "Stopped"
                if self._closed or not self._training_report:
                    return TrainingOutcome("Stopped", "Stopped", None, None, TRAINING_SECONDS)
            model = self._upload()
        except _Stopped:
            return TrainingOutcome("Stopped", "Stopped", None, None, TRAINING_SECONDS)
        except _Failed as failure:
            return TrainingOutcome("Failed", "Failed", shorten("", str(failure)), None, TRAINING_SECONDS)
        except Exception as error:
            reason = shorten("InternalServerError: We encountered an internal error. ", repr(error))
            return TrainingOutcome("Failed", "Failed", reason, None, TRAINING_SECONDS)
        if planned == "MaxRuntimeExceeded":
            return TrainingOutcome("Stopped", "MaxRuntimeExceeded", None, model, TRAINING_SECONDS)
        if planned == "Stopped":
            return TrainingOutcome("Stopped", "Stopped", None, model, TRAINING_SECONDS)
        return TrainingOutcome("Completed", "Completed", None, model, TRAINING_SECONDS)

    def _report(self, status: str, message: str) -> None:
        if self._closed:
            raise _Stopped
        self._events.secondary_status(status, message)
        self._wait(STAGE_SECONDS)

    def _wait(self, seconds: float | None) -> None:
        if self._stopping.wait(seconds):
            raise _Stopped

    def _print(self, **values: object) -> None:
        line = " ".join(f"{key}={value}" for key, value in values.items())
        self._events.log(self._stream, time.time_ns() // 1_000_000, line)

    # --- reading ------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        request, directory = self._launch.request, self._launch.directory
        try:
            training_runner(request["AlgorithmSpecification"]["TrainingImage"])
        except ImageNotFound as error:
            raise _Failed(f"ClientError: {error}") from error
        self._report("Downloading", "Downloading input data")
        for channel in request.get("InputDataConfig", []):
            self._download(channel["ChannelName"], channel["DataSource"]["S3DataSource"]["S3Uri"])
        source = request.get("HyperParameters", {}).get("sagemaker_submit_directory")
        if source:
            with _failing("AlgorithmError: Framework Error: the source cannot be read"):
                self._store.download(*split_uri(source), directory / "sourcedir.tar.gz", lambda: None)

    def _download(self, channel: str, uri: str) -> None:
        into = self._launch.directory / channel
        into.mkdir(parents=True)
        with _failing("ClientError: Data download failed"):
            files = download_prefix(self._store, uri, into, lambda: None)
        if files == 0:
            raise _Failed(
                f'ClientError: Data download failed: No S3 objects found under S3 URL "{uri}" given in input'
                f' data source of channel "{channel}". Please ensure that objects exist under that S3 prefix.'
            )

    # --- training -----------------------------------------------------------------------------------------

    def _train(self) -> None:
        """Print the metrics, and prepare the content of the artifacts."""
        self._report("Training", "Training image download completed. Training in progress.")
        self._keep_checkpoint()
        if self._script.outcome == "Interrupted":
            self._report("Interrupted", "Training job was interrupted: its spot instance was taken back")
            for status in ("Starting", "Downloading", "Training"):
                self._report(status, "Continuing on another instance")
        words = self._words()
        metrics = self._metrics(len(words))
        self._print_metrics(metrics)
        self._training_report = self._document(metrics, words)
        if self._script.outcome == "InProgress":
            self._wait(None)
        end = time.monotonic() + self._script.seconds
        while time.monotonic() < end and not self._script.delays_over.is_set():
            self._wait(STAGE_SECONDS)

    def _words(self) -> list[str]:
        """Return the words of all texts of the dataset, in alphabetical order."""
        with _failing("AlgorithmError: ExecuteUserScriptError: ExitCode 1\nErrorMessage"):
            texts = (self._launch.directory / "training").glob("[!m]*")  # without manifest.json
            return sorted({word for text in texts for word in text.read_text(encoding="utf-8").split()})

    def _metrics(self, words: int) -> dict[str, float | None]:
        perplexity = self._script.metrics.get("test_perplexity", self._script.perplexity)
        measured = {
            "train_perplexity": 45.0,
            "words_per_second": 50_000.0,
            "valid_perplexity": 52.0,
            "test_perplexity": perplexity,
            # The gate rejects a model that is no better than guessing, which has this perplexity.
            "vocabulary_size": max(words, 1_000),
        }
        champion = self._launch.directory / "champion"
        if champion.is_dir():
            measured |= {
                "champion_perplexity": self._perplexity_of(champion / "model.tar.gz"),
                "challenger_perplexity": perplexity,
            }
        return {**measured, **self._script.metrics}

    def _perplexity_of(self, archive: Path) -> float:
        with _failing("AlgorithmError: the champion's model cannot be read"):
            unpack(archive, archive.parent / "unpacked")
            identity = json.loads((archive.parent / "unpacked" / IDENTITY).read_text())
        return float(identity["test_perplexity"])

    def _print_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Print the lines of train.py that MetricDefinitions match."""
        shown = {name: f"{value:.2f}" for name, value in metrics.items() if value is not None}

        def print_line(*names: str, **more: object) -> None:
            values = {name: shown[name] for name in names if name in shown}
            if values:
                self._print(**more, **values)

        print_line("vocabulary_size", parameters=1000, train_tokens=1000)
        print_line("words_per_second", "train_perplexity", epoch="1/1", step="1/1", lr="0.002")
        print_line("valid_perplexity", epoch="1/1", seconds="1.0")
        print_line("test_perplexity")
        print_line("champion_perplexity", "challenger_perplexity")

    def _document(self, metrics: Mapping[str, float | None], words: list[str]) -> dict[str, Any]:
        comparison = None
        if "champion_perplexity" in metrics:
            judged = {
                "vocabulary_size": metrics["vocabulary_size"],
                "tokenizer": "prose",
                "unknown_share": 0.0,
            }
            comparison = {
                "comparable": True,
                "champion": {"perplexity": metrics["champion_perplexity"], **judged},
                "challenger": {"perplexity": metrics["challenger_perplexity"], **judged},
                "words": metrics["vocabulary_size"],
                "tokens": 1000,
                "notes": [],
            }
        epoch = {"epoch": 1, "lr": 0.002, "seconds": 1.0, "words_per_second": metrics["words_per_second"],
                 "train_perplexity": metrics["train_perplexity"],
                 "valid_perplexity": metrics["valid_perplexity"]}  # fmt: skip
        return {
            "recipe": "fast",
            "world_size": 1,
            "vocabulary_size": metrics["vocabulary_size"],
            "parameters": 1000,
            "epochs": [epoch],
            "best_epoch": 1,
            "stopped": None,
            "resumed": int(self._script.outcome == "Interrupted"),
            "valid_perplexity": metrics["valid_perplexity"],
            "test_perplexity": metrics["test_perplexity"],
            "seconds": float(TRAINING_SECONDS),
            "comparison": comparison,
            "samples": [{"prompt": "", "temperature": 1.0, "seed": 1111, "text": " ".join(words[:20])}],
            "words": words[:_MAX_WORDS],
        }

    # --- writing ------------------------------------------------------------------------------------------

    def _keep_checkpoint(self) -> None:
        config = self._launch.request.get("CheckpointConfig")
        if config:
            file = self._launch.directory / "checkpoint.json"
            file.write_text('{"epoch": 1}')
            with _failing("ClientError: Checkpoint upload failed"):
                bucket, prefix = split_uri(config["S3Uri"])
                self._store.upload(file, bucket, f"{prefix.rstrip('/')}/checkpoint.json")

    def _upload(self) -> str:
        """Upload model.tar.gz and output.tar.gz, and return the model's URI."""
        document = {name: value for name, value in self._training_report.items() if name != "words"}
        identity = {
            "job": self._launch.job_name,
            "test_perplexity": document["test_perplexity"],
            "words": self._training_report["words"],
        }
        self._put("output.tar.gz", {"metrics.json": document})
        return self._put("model.tar.gz", {IDENTITY: identity, "metrics.json": document})

    def _put(self, name: str, files: Mapping[str, Any]) -> str:
        output = self._launch.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        uri = f"{output}/{self._launch.job_name}/output/{name}"
        archive = self._launch.directory / name
        folder = self._launch.directory / f"{name}.d"
        folder.mkdir()
        for path, content in files.items():
            (folder / path).write_text(json.dumps(content))
        pack([folder], archive)
        with _failing("ClientError: Artifact upload failed"):
            self._store.upload(archive, *split_uri(uri))
        return uri


@contextlib.contextmanager
def _failing(reason: str) -> Iterator[None]:
    """Let the job fail for this reason, with the error that the block raises."""
    try:
        yield
    except (BadArchive, OSError, StoreError, ValueError) as error:
        raise _Failed(f"{reason}: {error}") from error
