"""A training job as a process: AWS's own training toolkit in a directory laid out as /opt/ml in a container.

    Starting     the request is read; what cannot run here is refused
    Downloading  channels come from S3 with the execution role's credentials
    Training     `train`, the toolkit's entry point, fetches the source and runs the script
    Uploading    /opt/ml/model and /opt/ml/output/data go to S3 as model.tar.gz and output.tar.gz

The toolkit finds that directory through SAGEMAKER_BASE_DIR: jobs run side by side, /opt stays untouched.
"""

import json
import logging
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from localcloud.sagemaker.artifacts import ObjectStore, S3Store, StoreError, download_prefix, pack, split_uri
from localcloud.sagemaker.failure import algorithm_error, shorten
from localcloud.sagemaker.images import ImageNotFound, training_runner
from localcloud.sagemaker.process import Process, container_environment

_HOST = "algo-1"
_INSTANCE_GROUP = "homogeneousCluster"
_DEFAULT_MAX_RUNTIME = 86_400
"""Seconds; AWS's default when the request names none."""
_REMEMBERED_LINES = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingLaunch:
    """What one job needs to run.

    request: the validated CreateTrainingJob parameters, as botocore names them.
    directory: stands for /opt/ml; made by the run, removed when it has finished.
    environment: AWS_* variables of a process acting as the execution role: AWS_ENDPOINT_URL, AWS_REGION,
        AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. Data comes and
        artifacts go with these credentials and no others; they must outlive the job.
    """

    job_name: str
    job_arn: str
    request: Mapping[str, Any]
    directory: Path
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class TrainingOutcome:
    """How a job ended.

    failure_reason: set when status is Failed, at most 1,024 characters.
    model_artifacts_uri: s3://.../model.tar.gz when one was uploaded.
    training_seconds: whole seconds from the start of the download to the end of the upload (AWS bills these).
    """

    status: Literal["Completed", "Failed", "Stopped"]
    secondary_status: Literal["Completed", "Failed", "Stopped", "MaxRuntimeExceeded"]
    failure_reason: str | None
    model_artifacts_uri: str | None
    training_seconds: int


class TrainingEvents(Protocol):
    """Hears what happens to a job, on the run's own threads."""

    def secondary_status(self, status: str, message: str) -> None:
        """The job moved to Starting, Downloading, Training, Uploading or Stopping; never a final status."""

    def log(self, stream: str, timestamp_ms: int, line: str) -> None:
        """The job printed a line (stdout or stderr); stream is "<job name>/algo-1-<epoch ms>"."""

    def finished(self, outcome: TrainingOutcome) -> None:
        """The job has ended, exactly once: no process of it runs and its directory is gone."""


class _Failed(Exception):
    """The job cannot go on; the message is its FailureReason."""


class _Stopped(Exception):
    """The job was asked to end before it was done."""


class TrainingRun:
    """One training job, on threads and processes of its own."""

    def __init__(
        self,
        launch: TrainingLaunch,
        events: TrainingEvents,
        *,
        store: ObjectStore | None = None,
        stop_grace: float = 120.0,
    ) -> None:
        """store: where channels and artifacts are; by default S3, as the execution role.
        stop_grace: seconds between SIGTERM and SIGKILL when the job is stopped; AWS gives 120.
        """
        self._launch = launch
        self._events = events
        self._store = store
        self._stop_grace = stop_grace
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._stopping: Literal["Stopped", "MaxRuntimeExceeded"] | None = None
        self._closed = False
        self._began: float | None = None
        self._last_lines: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        self._stream = f"{launch.job_name}/{_HOST}-{_now_ms()}"
        self._thread = threading.Thread(target=self._run, name=f"training-{launch.job_name}", daemon=True)

    def start(self) -> None:
        """Begin; returns at once. Every failure from here on arrives as events.finished."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the job to stop; returns at once. The outcome, Stopped, arrives as events.finished."""
        self._end("Stopped", "Stopping the training job", self._stop_grace)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the job has finished; False when it has not within timeout seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Kill the job and remove its directory, with no further events: the server itself is going away."""
        self._closed = True
        self._end("Stopped", "The local cloud is going down", 0)
        self.join()

    def _end(self, final: Literal["Stopped", "MaxRuntimeExceeded"], message: str, grace: float) -> None:
        with self._lock:
            first = self._stopping is None
            self._stopping = self._stopping or final
            if self._process:
                self._process.stop(grace)
        if first:
            self._report("Stopping", message)

    def _still_wanted(self) -> None:
        if self._stopping:
            raise _Stopped

    def _report(self, status: str, message: str) -> None:
        if not self._closed:
            self._events.secondary_status(status, message)

    def _run(self) -> None:
        try:
            outcome = self._outcome()
        finally:
            shutil.rmtree(self._launch.directory, ignore_errors=True)
        if not self._closed:
            self._events.finished(outcome)

    def _outcome(self) -> TrainingOutcome:
        model: str | None = None
        try:
            try:
                self._report("Starting", "Preparing the instances for training")
                self._prepare()
                self._train()
                self._report("Uploading", "Uploading generated training model")
            except _Stopped:
                pass
            except _Failed:
                self._upload("output/data", "output.tar.gz")
                raise
            if not self._closed and self._process:
                model = self._upload("model", "model.tar.gz")
                self._upload("output/data", "output.tar.gz")
        except _Failed as failure:
            return TrainingOutcome("Failed", "Failed", shorten("", str(failure)), None, self._seconds())
        except Exception as error:
            log.exception("training job %s", self._launch.job_name)
            reason = shorten("InternalServerError: We encountered an internal error. ", repr(error))
            return TrainingOutcome("Failed", "Failed", reason, None, self._seconds())
        if self._stopping:
            return TrainingOutcome("Stopped", self._stopping, None, model, self._seconds())
        return TrainingOutcome("Completed", "Completed", None, model, self._seconds())

    def _seconds(self) -> int:
        return 0 if self._began is None else round(time.monotonic() - self._began)

    def _prepare(self) -> None:
        request, directory = self._launch.request, self._launch.directory
        try:
            training_runner(request["AlgorithmSpecification"]["TrainingImage"])
        except ImageNotFound as error:
            raise _Failed(f"ClientError: {error}") from error
        _refuse_unsupported(request)
        _lay_out(request, directory)
        self._still_wanted()
        self._began = time.monotonic()
        self._report("Downloading", "Downloading input data")
        for channel in request.get("InputDataConfig", []):
            self._download(channel)

    def _download(self, channel: Mapping[str, Any]) -> None:
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        into = self._launch.directory / "input" / "data" / channel["ChannelName"]
        into.mkdir(parents=True)
        try:
            files = download_prefix(self._objects(), uri, into, self._still_wanted)
        except (StoreError, ValueError) as error:
            raise _Failed(f"ClientError: Data download failed: {error} ({uri})") from error
        if files == 0:
            raise _Failed(
                f'ClientError: Data download failed: No S3 objects found under S3 URL "{uri}" given in input'
                f' data source of channel "{channel["ChannelName"]}". Please ensure that objects exist under'
                " that S3 prefix."
            )

    def _train(self) -> None:
        directory = self._launch.directory
        with self._lock:
            self._still_wanted()
            self._process = Process(
                [sys.executable, str(Path(sys.executable).with_name("train"))],
                directory=directory,
                environment=self._environment(),
                on_line=self._hear,
            )
        self._report("Training", "Training image download completed. Training in progress.")
        limit = self._launch.request.get("StoppingCondition", {}).get(
            "MaxRuntimeInSeconds", _DEFAULT_MAX_RUNTIME
        )
        if not self._process.wait(limit):
            self._end(
                "MaxRuntimeExceeded",
                "Training job runtime exceeded MaxRuntimeInSeconds provided",
                self._stop_grace,
            )
            self._process.wait()
        self._still_wanted()
        code = self._process.exit_code
        if code is None:
            raise _Failed(
                "InternalServerError: We encountered an internal error. Please try again. The training job's"
                " supervisor was killed, and the job with it."
            )
        if code != 0:
            report = directory / "output" / "failure"
            text = report.read_text(errors="replace") if report.exists() else None
            raise _Failed(algorithm_error(text, code, self._last_lines))

    def _hear(self, line: str) -> None:
        if line and not self._closed:  # CloudWatch Logs has no empty events
            self._last_lines.append(line)
            self._events.log(self._stream, _now_ms(), line)

    def _upload(self, folder: str, name: str) -> str | None:
        """Upload a folder of the job as an archive; its URI, or None when the folder is empty."""
        directory = self._launch.directory / folder
        if not directory.is_dir() or not any(directory.iterdir()):
            return None
        output = self._launch.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        uri = f"{output}/{self._launch.job_name}/output/{name}"
        archive = self._launch.directory / name
        try:
            pack(directory, archive)
            self._objects().upload(archive, *split_uri(uri))
        except (StoreError, ValueError) as error:
            raise _Failed(f"ClientError: Artifact upload failed: {error} ({uri})") from error
        return uri

    def _objects(self) -> ObjectStore:
        if self._store is None:
            self._store = S3Store(self._launch.environment)
        return self._store

    def _environment(self) -> dict[str, str]:
        launch = self._launch
        return container_environment(
            launch.environment,
            {
                "SAGEMAKER_BASE_DIR": str(launch.directory),
                "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
                "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit then does not look algo-1 up in DNS
                "TRAINING_JOB_NAME": launch.job_name,
                "TRAINING_JOB_ARN": launch.job_arn,
                **launch.request.get("Environment", {}),
            },
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _refuse_unsupported(request: Mapping[str, Any]) -> None:
    """Fail what would otherwise run differently from AWS, and say so."""

    def refuse(what: str) -> None:
        raise _Failed(f"ClientError: the local cloud does not support {what}.")

    if (
        request["ResourceConfig"].get("InstanceCount", 1) != 1
        or "InstanceGroups" in request["ResourceConfig"]
    ):
        refuse("training on more than one instance; set ResourceConfig.InstanceCount to 1")
    if request["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
        refuse("artifacts that are not compressed; leave OutputDataConfig.CompressionType out")
    if "ContainerEntrypoint" in request["AlgorithmSpecification"]:
        refuse("AlgorithmSpecification.ContainerEntrypoint")
    if "CheckpointConfig" in request:
        refuse("CheckpointConfig")
    for channel in request.get("InputDataConfig", []):
        name = channel["ChannelName"]
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            refuse(f'data that is not an S3Prefix (channel "{name}")')
        mode = channel.get("InputMode", request["AlgorithmSpecification"]["TrainingInputMode"])
        if mode == "Pipe":
            refuse(f'the input mode Pipe (channel "{name}")')


def _lay_out(request: Mapping[str, Any], directory: Path) -> None:
    """Write input/config/*.json as SageMaker does, and the empty folders a script expects."""
    for folder in ("input/config", "input/data", "model", "output/data"):
        (directory / folder).mkdir(parents=True)
    channels = {}
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        described = {
            "TrainingInputMode": channel.get(
                "InputMode", request["AlgorithmSpecification"]["TrainingInputMode"]
            ),
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        if "ContentType" in channel:
            described["ContentType"] = channel["ContentType"]
        channels[channel["ChannelName"]] = described
    instance_type = request["ResourceConfig"]["InstanceType"]
    config = {
        "hyperparameters": request.get("HyperParameters", {}),
        "inputdataconfig": channels,
        "resourceconfig": {
            "current_host": _HOST,
            "current_instance_type": instance_type,
            "current_group_name": _INSTANCE_GROUP,
            "hosts": [_HOST],
            "instance_groups": [
                {"instance_group_name": _INSTANCE_GROUP, "instance_type": instance_type, "hosts": [_HOST]}
            ],
            "network_interface_name": "lo",
        },
    }
    for name, content in config.items():
        (directory / "input" / "config" / f"{name}.json").write_text(json.dumps(content))
