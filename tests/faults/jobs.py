"""Training jobs that train nothing: the status machine, the log, the metrics and the artifacts of a real one.

A job reads what a real one reads and leaves what a real one leaves, with its execution role's credentials,
and so fails where the role or the data would have failed it. How it ends, and how good its model is, the plan
says:

    test_perplexity          a hundredth better with each job, from 50 on
    valid_perplexity, train_perplexity, words_per_second, vocabulary_size
    champion_perplexity      where there is a channel `champion`: that model's own test_perplexity
    challenger_perplexity    likewise: test_perplexity again
"""

import itertools
import json
import shutil
import threading
import time
from collections.abc import Mapping
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
from tests.faults.matching import Plan

FIRST_PERPLEXITY = 50.0
STAGE_SECONDS = 0.005
"""What a stage takes, so that a Describe may see it."""
TRAINING_SECONDS = 60
"""What SageMaker says it took, and bills."""
IDENTITY = "model.json"
"""The file of model.tar.gz that says which model this is."""
METRICS = ("train_perplexity", "words_per_second", "valid_perplexity", "test_perplexity", "vocabulary_size",
           "champion_perplexity", "challenger_perplexity")  # fmt: skip
_MOST_WORDS = 200


@dataclass(frozen=True)
class Script:
    """What becomes of one job. It trains for `seconds` or until `due`; `metrics` are laid over its own."""

    outcome: str
    reason: str
    seconds: float
    due: threading.Event
    perplexity: float
    metrics: Mapping[str, float | None]


class Jobs:
    """Makes the runs of jobs (`training.records.RunFactory`), each with the plan's script."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._made = itertools.count()

    def __call__(self, launch: TrainingLaunch, events: TrainingEvents) -> "ScriptedRun":
        job = [launch.job_name]
        ends = self._plan.take("job", ["training-job"], job) or {}
        metrics = self._plan.take("metrics", ["training-job"], job) or {}
        script = Script(
            outcome=ends.get("outcome", "Completed"),
            reason=ends.get("reason", ""),
            seconds=ends.get("seconds", 0.0),
            due=self._plan.due,
            perplexity=FIRST_PERPLEXITY * 0.99 ** next(self._made),
            metrics=metrics,
        )
        return ScriptedRun(launch, events, script)


class _Failed(Exception):
    """The job cannot go on; the message is its FailureReason."""


class _Stopped(Exception):
    """The job was asked to end before it was done."""


class ScriptedRun:
    """One job (`localcloud.sagemaker.training.records.Run`), on a thread of its own."""

    def __init__(self, launch: TrainingLaunch, events: TrainingEvents, script: Script) -> None:
        self._launch = launch
        self._events = events
        self._script = script
        self._stopping = threading.Event()
        self._closed = False
        self._trained: dict[str, Any] = {}
        self._stream = f"{launch.job_name}/algo-1-{time.time_ns() // 1_000_000}"
        self._thread = threading.Thread(target=self._run, name=f"training-{launch.job_name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def close(self) -> None:
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
        ended = self._script.outcome
        try:
            self._store = S3Store(self._launch.environment)
            self._report("Starting", "Preparing the instances for training")
            if ended == "MaxWaitTimeExceeded":
                return TrainingOutcome("Stopped", "MaxWaitTimeExceeded", None, None, 0)
            self._prepare()
            self._train()
            if ended == "Failed":
                raise _Failed(self._script.reason)
            if ended in ("Stopped", "MaxRuntimeExceeded"):
                self._report("Stopping", "Stopping the training job")
            self._report("Uploading", "Uploading generated training model")
            model = self._upload()
        except _Stopped:
            return self._stopped()
        except _Failed as failure:
            return TrainingOutcome("Failed", "Failed", shorten("", str(failure)), None, TRAINING_SECONDS)
        except Exception as error:
            reason = shorten("InternalServerError: We encountered an internal error. ", repr(error))
            return TrainingOutcome("Failed", "Failed", reason, None, TRAINING_SECONDS)
        if ended == "Stopped":
            return TrainingOutcome("Stopped", "Stopped", None, model, TRAINING_SECONDS)
        if ended == "MaxRuntimeExceeded":
            return TrainingOutcome("Stopped", "MaxRuntimeExceeded", None, model, TRAINING_SECONDS)
        return TrainingOutcome("Completed", "Completed", None, model, TRAINING_SECONDS)

    def _stopped(self) -> TrainingOutcome:
        """What a job that was stopped leaves: the model as far as it had come."""
        model = None
        if self._trained and not self._closed:
            try:
                model = self._upload()
            except _Failed as failure:
                return TrainingOutcome("Failed", "Failed", shorten("", str(failure)), None, TRAINING_SECONDS)
        return TrainingOutcome("Stopped", "Stopped", None, model, TRAINING_SECONDS)

    def _report(self, status: str, message: str) -> None:
        if self._closed:
            raise _Stopped
        self._events.secondary_status(status, message)
        self._wait(STAGE_SECONDS)

    def _wait(self, seconds: float | None) -> None:
        if self._stopping.wait(seconds):
            raise _Stopped

    def _say(self, **values: object) -> None:
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
            try:
                self._store.download(*split_uri(source), directory / "sourcedir.tar.gz", lambda: None)
            except (StoreError, ValueError) as error:
                raise _Failed(
                    f"AlgorithmError: Framework Error: the source cannot be read: {error}"
                ) from error

    def _download(self, channel: str, uri: str) -> None:
        into = self._launch.directory / channel
        into.mkdir(parents=True)
        try:
            files = download_prefix(self._store, uri, into, lambda: None)
        except (StoreError, ValueError) as error:
            raise _Failed(f"ClientError: Data download failed: {error} ({uri})") from error
        if files == 0:
            raise _Failed(
                f'ClientError: Data download failed: No S3 objects found under S3 URL "{uri}" given in input'
                f' data source of channel "{channel}". Please ensure that objects exist under that S3 prefix.'
            )

    # --- training -----------------------------------------------------------------------------------------

    def _train(self) -> None:
        """Print, and prepare, what the artifacts hold: metrics.json, and the words of the text."""
        self._report("Training", "Training image download completed. Training in progress.")
        self._keep_checkpoint()
        if self._script.outcome == "Interrupted":
            self._report("Interrupted", "Training job was interrupted: its spot instance was taken back")
            for status in ("Starting", "Downloading", "Training"):
                self._report(status, "Going on on another instance")
        words = self._words()
        metrics = self._metrics(len(words))
        self._tell(metrics)
        self._trained = self._document(metrics, words)
        if self._script.outcome == "InProgress":
            self._wait(None)
        end = time.monotonic() + self._script.seconds
        while time.monotonic() < end and not self._script.due.is_set():
            self._wait(STAGE_SECONDS)

    def _words(self) -> list[str]:
        """The words of the training text, in order of the alphabet."""
        try:
            text = (self._launch.directory / "training" / "train").read_text(encoding="utf-8")
        except OSError as error:
            raise _Failed(
                f"AlgorithmError: ExecuteUserScriptError: ExitCode 1\nErrorMessage: {error}"
            ) from error
        return sorted(set(text.split()))

    def _metrics(self, words: int) -> dict[str, float | None]:
        perplexity = self._script.metrics.get("test_perplexity", self._script.perplexity)
        measured = {
            "train_perplexity": 45.0,
            "words_per_second": 50_000.0,
            "valid_perplexity": 52.0,
            "test_perplexity": perplexity,
            # Guessing has this perplexity, and a tiny corpus's model is to be better than that.
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
        try:
            unpack(archive, archive.parent / "unpacked")
            identity = json.loads((archive.parent / "unpacked" / IDENTITY).read_text())
            return float(identity["test_perplexity"])
        except (BadArchive, OSError, ValueError, KeyError) as error:
            raise _Failed(f"AlgorithmError: the champion's model cannot be read: {error!r}") from error

    def _tell(self, metrics: Mapping[str, float | None]) -> None:
        """The lines of train.py, by which MetricDefinitions read the metrics."""
        told = {name: f"{value:.2f}" for name, value in metrics.items() if value is not None}

        def say(*names: str, **more: object) -> None:
            values = {name: told[name] for name in names if name in told}
            if values:
                self._say(**more, **values)

        if "vocabulary_size" in told:
            self._say(
                vocabulary_size=int(metrics["vocabulary_size"] or 0), parameters=1000, train_tokens=1000
            )
        say("words_per_second", "train_perplexity", epoch="1/1", step="1/1", lr="0.002")
        say("valid_perplexity", epoch="1/1", seconds="1.0")
        say("test_perplexity")
        say("champion_perplexity", "challenger_perplexity")

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
            "words": words[:_MOST_WORDS],
        }

    # --- writing ------------------------------------------------------------------------------------------

    def _keep_checkpoint(self) -> None:
        config = self._launch.request.get("CheckpointConfig")
        if config:
            file = self._launch.directory / "checkpoint.json"
            file.write_text('{"epoch": 1}')
            try:
                bucket, prefix = split_uri(config["S3Uri"])
                self._store.upload(file, bucket, f"{prefix.rstrip('/')}/checkpoint.json")
            except (StoreError, ValueError) as error:
                raise _Failed(
                    f"ClientError: Checkpoint upload failed: {error} ({config['S3Uri']})"
                ) from error

    def _upload(self) -> str:
        """model.tar.gz and output.tar.gz; the model's URI."""
        document = {name: value for name, value in self._trained.items() if name != "words"}
        identity = {
            "job": self._launch.job_name,
            "test_perplexity": document["test_perplexity"],
            "words": self._trained["words"],
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
        try:
            self._store.upload(archive, *split_uri(uri))
        except (StoreError, ValueError) as error:
            raise _Failed(f"ClientError: Artifact upload failed: {error} ({uri})") from error
        return uri
