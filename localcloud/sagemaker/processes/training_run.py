"""A training job as processes.

On each host, AWS's training toolkit or the request's ContainerEntrypoint runs with an /opt/ml of its own.

    Starting     check the request; refuse what cannot run here
    Downloading  download channels and checkpoints with the execution role's credentials
    Training     run the toolkit (programs/training_toolkit.py), which fetches the source and runs the script;
                 upload checkpoints
    Uploading    upload /opt/ml/model and /opt/ml/output/data as model.tar.gz and output.tar.gz

A managed spot job can lose its instances (`TrainingRun.interrupt`). It is then Interrupted and starts again
in new directories, with the checkpoints in S3.

Jobs and hosts run side by side and cannot see each other's files (container.py). Where the kernel forbids
that, SAGEMAKER_BASE_DIR tells the toolkit its directory, scripts must use the SM_* variables instead of
/opt/ml, and a job with a ContainerEntrypoint fails. Hosts find each other through programs/torchrun.py, which
replaces torchrun, instead of DNS.
"""

import logging
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from localcloud.sagemaker.processes import container
from localcloud.sagemaker.processes.artifacts import (
    ObjectStore,
    S3Store,
    StoreError,
    download_prefix,
    pack,
    split_uri,
)
from localcloud.sagemaker.processes.checkpoints import Checkpoints
from localcloud.sagemaker.processes.failure_reasons import shorten
from localcloud.sagemaker.processes.images import ImageNotFound, training_runner
from localcloud.sagemaker.processes.job_clock import JobClock
from localcloud.sagemaker.processes.supervised_process import container_environment
from localcloud.sagemaker.processes.training_hosts import TrainingHost, TrainingHosts, entrypoint

_BY_TORCHRUN = "sagemaker_torch_distributed_enabled"
_CHECKPOINTS = "/opt/ml/checkpoints"
_TORCHRUN = Path(__file__).parent / "programs" / "torchrun.py"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingLaunch:
    """What one job needs to run.

    request: the validated CreateTrainingJob parameters, as botocore names them.
    directory: holds a folder for each host, which stands for its /opt/ml. The run creates and removes it.
    hidden: a folder that the job cannot see; it holds the folders of other jobs.
    environment: AWS_* variables of a process that acts as the execution role: AWS_ENDPOINT_URL, AWS_REGION,
        AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. All data and
        artifacts are transferred with these credentials, so they must outlive the job.
    """

    job_name: str
    job_arn: str
    request: Mapping[str, Any]
    directory: Path
    hidden: Path
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class TrainingOutcome:
    """How a job ended.

    failure_reason: set if status is Failed, at most 1,024 characters.
    model_artifacts_uri: s3://.../model.tar.gz if one was uploaded.
    training_seconds: whole seconds from the start of the download to the end of the upload, without the time
        in which the job had no instances (AWS bills these seconds).
    """

    status: Literal["Completed", "Failed", "Stopped"]
    secondary_status: Literal["Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"]
    failure_reason: str | None
    model_artifacts_uri: str | None
    training_seconds: int


class TrainingEvents(Protocol):
    """Receives the progress of a job, on the run's own threads."""

    def secondary_status(self, status: str, message: str) -> None:
        """Handle a move to Starting, Downloading, Training, Interrupted, Uploading or Stopping."""

    def log(self, stream: str, timestamp_ms: int, line: str) -> None:
        """Handle a line of standard output or error; stream is "<job name>/<host>-<epoch ms>"."""

    def finished(self, outcome: TrainingOutcome) -> None:
        """Handle the end of the job, once: its processes have ended and its directory is removed."""


_Ending = Literal["Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"]


class _Failed(Exception):
    """The job cannot continue; the message is its FailureReason."""


class _Stopped(Exception):
    """The job was stopped before it was done."""


class _Interrupted(Exception):
    """The job lost its instances."""


class TrainingRun:
    """One training job with its threads and processes, on one host or several."""

    def __init__(
        self,
        launch: TrainingLaunch,
        events: TrainingEvents,
        *,
        store: ObjectStore | None = None,
        stop_grace: float = 120.0,
    ) -> None:
        """Prepare a run.

        Args:
            launch: What to run.
            events: Receives the job's progress.
            store: Holds channels and artifacts; by default S3, as the execution role.
            stop_grace: Seconds between SIGTERM and SIGKILL when the job is stopped or interrupted; as on AWS.
        """
        self._launch = launch
        self._events = events
        self._store = store
        self._stop_grace = stop_grace
        self._lock = threading.Lock()
        self._stopping: _Ending | None = None
        self._stop_requested = threading.Event()
        self._pause: float | None = None
        self._trained = False
        self._closed = False
        self._clock = JobClock(launch.request.get("StoppingCondition", {}))
        self._hosts = self._new_hosts()
        self._checkpoints: list[Checkpoints] = []
        self._thread = threading.Thread(target=self._run, name=f"training-{launch.job_name}", daemon=True)

    def start(self) -> None:
        """Start the job; return immediately. Failures are reported by events.finished."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the job; return immediately. events.finished reports the outcome, Stopped."""
        self._end("Stopped", "Stopping the training job", self._stop_grace)

    def interrupt(self, pause: float = 0.0) -> None:
        """Take the job's spot instances away; return immediately.

        The processes get SIGTERM, and SIGKILL after stop_grace. The job is then Interrupted and gets new
        instances after `pause` seconds. A job that has finished training or is being stopped is not
        interrupted.

        Raises:
            ValueError: The job has no spot instances.
        """
        if not self._launch.request.get("EnableManagedSpotTraining", False):
            raise ValueError(f"{self._launch.job_name} is not a managed spot training job.")
        with self._lock:
            if self._trained or self._stopping or self._pause is not None:
                return
            self._pause = pause
            self._hosts.stop(self._stop_grace)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the job has finished; return False on a time-out."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Kill the job and remove its directory, without further events: the server is shutting down."""
        self._closed = True
        self._end("Stopped", "The local cloud is going down", 0)
        self.join()

    def _end(self, final: _Ending, message: str, grace: float) -> None:
        with self._lock:
            first = self._stopping is None
            self._stopping = self._stopping or final
            self._stop_requested.set()
            self._hosts.stop(grace)
        if first:
            self._report("Stopping", message)

    def _still_wanted(self) -> None:
        if self._clock.wait_left <= 0:
            self._end_of_wait()
        self._go_on()

    def _go_on(self) -> None:
        if self._stopping:
            raise _Stopped
        if self._pause is not None:
            raise _Interrupted

    def _report(self, status: str, message: str) -> None:
        if not self._closed:
            self._events.secondary_status(status, message)

    def _run(self) -> None:
        try:
            outcome = self._outcome()
        finally:
            container.remove(self._launch.directory)
        if not self._closed:
            self._events.finished(outcome)

    def _outcome(self) -> TrainingOutcome:
        model: str | None = None
        try:
            try:
                while not self._attempt():
                    self._await_instances()
                self._report("Uploading", "Uploading generated training model")
            except _Stopped:
                pass
            except _Failed:
                self._upload("output/data", "output.tar.gz")
                raise
            if not self._closed and self._hosts.started:
                model = self._upload("model", "model.tar.gz")
                self._upload("output/data", "output.tar.gz")
        except _Failed as failure:
            return TrainingOutcome("Failed", "Failed", shorten("", str(failure)), None, self._clock.seconds)
        except Exception as error:
            log.exception("The training job %s failed", self._launch.job_name)
            reason = shorten("InternalServerError: We encountered an internal error. ", repr(error))
            return TrainingOutcome("Failed", "Failed", reason, None, self._clock.seconds)
        if self._stopping:
            return TrainingOutcome("Stopped", self._stopping, None, model, self._clock.seconds)
        return TrainingOutcome("Completed", "Completed", None, model, self._clock.seconds)

    def _attempt(self) -> bool:
        """Train on one set of instances; return False if the job lost them."""
        try:
            self._report("Starting", "Preparing the instances for training")
            self._prepare()
            self._train()
        except _Interrupted:
            return False
        return True

    def _await_instances(self) -> None:
        """Delete everything of the lost instances, then wait for new ones. Only the files in S3 remain."""
        self._report("Interrupted", "The managed spot training instances were interrupted")
        self._clock.has_no_instances()
        container.remove(self._launch.directory)
        self._checkpoints = []
        with self._lock:
            self._hosts = self._new_hosts()
            pause, self._pause = self._pause or 0.0, None
        self._stop_requested.wait(min(pause, self._clock.wait_left))
        self._still_wanted()

    def _new_hosts(self) -> TrainingHosts:
        launch = self._launch
        return TrainingHosts(launch.job_name, launch.request, launch.directory, launch.hidden, self._log_line)

    def _prepare(self) -> None:
        request, directory = self._launch.request, self._launch.directory
        try:
            training_runner(request["AlgorithmSpecification"]["TrainingImage"])
        except ImageNotFound as error:
            raise _Failed(f"ClientError: {error}") from error
        _refuse_unsupported(request)
        self._hosts.lay_out()
        tools = directory / "tools"
        tools.mkdir()
        (tools / "torchrun").symlink_to(_TORCHRUN)
        self._still_wanted()
        self._clock.has_instances()
        self._report("Downloading", "Downloading input data")
        for channel in request.get("InputDataConfig", []):
            self._download(channel)
        if "CheckpointConfig" in request:
            self._download_checkpoints(request["CheckpointConfig"]["S3Uri"])

    def _download(self, channel: Mapping[str, Any]) -> None:
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        into, *copies = self._hosts.folders(f"input/data/{channel['ChannelName']}")
        into.mkdir()
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
        for copy in copies:
            shutil.copytree(into, copy, copy_function=os.link)

    def _download_checkpoints(self, uri: str) -> None:
        try:
            for folder in self._hosts.folders("checkpoints"):
                checkpoints = Checkpoints(self._objects(), uri, folder)
                checkpoints.download(self._still_wanted)
                self._checkpoints.append(checkpoints)
        except (StoreError, ValueError) as error:
            raise _Failed(f"ClientError: Checkpoint download failed: {error} ({uri})") from error

    def _train(self) -> None:
        for checkpoints in self._checkpoints:
            checkpoints.follow()
        try:
            with self._lock:
                self._go_on()
                self._hosts.start(self._environment)
            self._report("Training", "Training image download completed. Training in progress.")
            self._await_hosts()
        finally:
            for checkpoints in self._checkpoints:
                checkpoints.abandon()
        with self._lock:
            self._trained = self._pause is None
        if not self._closed:
            self._finish_checkpoints()
        if self._hosts.failure and not self._stopping:
            raise _Failed(self._hosts.failure)
        self._go_on()

    def _await_hosts(self) -> None:
        self._clock.trains()
        runtime_left, wait_left = self._clock.runtime_left, self._clock.wait_left
        if not self._hosts.wait(min(runtime_left, wait_left)):
            if wait_left < runtime_left:
                self._end_of_wait()
            else:
                message = "Training job runtime exceeded MaxRuntimeInSeconds provided"
                self._end("MaxRuntimeExceeded", message, self._stop_grace)
            self._hosts.wait()
        self._clock.has_trained()

    def _end_of_wait(self) -> None:
        message = "Training job wait time exceeded MaxWaitTimeInSeconds provided"
        self._end("MaxWaitTimeExceeded", message, self._stop_grace)

    def _finish_checkpoints(self) -> None:
        try:
            for checkpoints in self._checkpoints:
                checkpoints.finish()
        except StoreError as error:
            # A failed job already has a more useful reason.
            if not self._hosts.failure:
                uri = self._launch.request["CheckpointConfig"]["S3Uri"]
                raise _Failed(f"ClientError: Checkpoint upload failed: {error} ({uri})") from error

    def _log_line(self, stream: str, timestamp_ms: int, line: str) -> None:
        if not self._closed:
            self._events.log(stream, timestamp_ms, line)

    def _upload(self, folder: str, name: str) -> str | None:
        """Merge this folder of all hosts into one archive and upload it.

        Returns:
            The archive's URI, or None if the folders are empty.
        """
        output = self._launch.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        uri = f"{output}/{self._launch.job_name}/output/{name}"
        archive = self._launch.directory / name
        try:
            if not pack(self._hosts.folders(folder), archive):
                return None
            self._objects().upload(archive, *split_uri(uri))
        except (StoreError, ValueError) as error:
            raise _Failed(f"ClientError: Artifact upload failed: {error} ({uri})") from error
        return uri

    def _objects(self) -> ObjectStore:
        if self._store is None:
            self._store = S3Store(self._launch.environment)
        return self._store

    def _environment(self, host: TrainingHost) -> dict[str, str]:
        launch = self._launch
        contained = container.refusal() is None
        tools = container.TOOLS if contained else str(launch.directory / "tools")
        environment = container_environment(
            launch.environment,
            {
                **({} if contained else {"SAGEMAKER_BASE_DIR": str(host.directory)}),
                "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
                "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit then does not resolve algo-1 by DNS
                "TRAINING_JOB_NAME": launch.job_name,
                "TRAINING_JOB_ARN": launch.job_arn,
                "LOCALCLOUD_RENDEZVOUS": f"{tools}/rendezvous",
                "GLOO_SOCKET_IFNAME": "lo",  # gloo would resolve the machine's name by DNS
                **self._share_of_processors(),
                **launch.request.get("Environment", {}),
            },
        )
        return {**environment, "PATH": f"{tools}{os.pathsep}{environment['PATH']}"}

    def _share_of_processors(self) -> dict[str, str]:
        if self._hosts.count == 1:
            # Threads spin briefly before they sleep. On two cores, a lone job then trained 1.7 times as fast
            # as with threads that sleep immediately, and two jobs side by side 1.7 times slower, not 50.
            return {"GOMP_SPINCOUNT": "2000"}
        return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self._hosts.count))}


def _refuse_unsupported(request: Mapping[str, Any]) -> None:
    """Refuse a request that would run differently from AWS."""

    def refuse(what: str) -> None:
        raise _Failed(f"ClientError: the local cloud does not support {what}.")

    if "InstanceGroups" in request["ResourceConfig"]:
        refuse("ResourceConfig.InstanceGroups; set InstanceType and InstanceCount")
    several = request["ResourceConfig"].get("InstanceCount", 1) > 1
    program = entrypoint(request)
    by_torchrun = request.get("HyperParameters", {}).get(_BY_TORCHRUN, "").lower() == "true"
    if several and not by_torchrun and program is None:
        refuse(f'more than one instance without torchrun; set the hyperparameter {_BY_TORCHRUN} to "true"')
    if request["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
        refuse("artifacts that are not compressed; leave OutputDataConfig.CompressionType out")
    if program is None and "ContainerArguments" in request["AlgorithmSpecification"]:
        refuse("ContainerArguments without ContainerEntrypoint")
    if program and (refusal := container.refusal()):
        refuse(
            "ContainerEntrypoint on this machine, because the kernel refuses to give the job an /opt/ml of"
            f' its own ({refusal}). Allow user namespaces (docs/local-cloud.md, "Jobs and /opt/ml")'
        )
    checkpoints = request.get("CheckpointConfig", {}).get("LocalPath", _CHECKPOINTS)
    if checkpoints.rstrip("/") != _CHECKPOINTS:
        refuse(f"checkpoints in {checkpoints}; leave CheckpointConfig.LocalPath out, for {_CHECKPOINTS}")
    for channel in request.get("InputDataConfig", []):
        name = channel["ChannelName"]
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            refuse(f'data that is not an S3Prefix (channel "{name}")')
        if several and source.get("S3DataDistributionType") == "ShardedByS3Key":
            refuse(f'data that is sharded over instances (channel "{name}"); set FullyReplicated')
        mode = channel.get("InputMode", request["AlgorithmSpecification"]["TrainingInputMode"])
        if mode == "Pipe":
            refuse(f'the input mode Pipe (channel "{name}")')
