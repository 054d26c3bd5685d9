"""Killed processes: the run fails or recovers, and leaves nothing."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from localcloud import control
from tests.e2e.command import lexline
from tests.stack import TINY, DeployedStack, deploy
from tests.waiting import wait_until

LONG = {**TINY, "Epochs": "1000"}


def processes(root: int, text: str) -> list[psutil.Process]:
    """Return the live descendants of a process whose command line contains the text."""
    found = []
    for process in psutil.Process(root).children(recursive=True):
        try:
            if text in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def training_script(stack: DeployedStack) -> psutil.Process:
    """Wait until a job has printed its first training perplexity, and return its script's process."""
    logs = stack.cloud.client("logs")

    def trains() -> list[object]:
        group = "/aws/sagemaker/TrainingJobs"
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            jobs = stack.cloud.client("sagemaker").list_training_jobs(StatusEquals="InProgress")
            names = tuple(job["TrainingJobName"] for job in jobs["TrainingJobSummaries"])
            return [
                event
                for page in pages
                for event in page["events"]
                if event["logStreamName"].startswith(names) and "train_perplexity=" in event["message"]
            ]
        except logs.exceptions.ResourceNotFoundException:
            return []

    wait_until(trains, "a job to train", pause=0.5)
    found = processes(stack.cloud.pid, "train.py")
    # The toolkit's processes name the script too. They are its ancestors.
    (script,) = set(found) - {parent for process in found for parent in process.parents()}
    return script


def test_a_killed_training_process_fails_the_run_and_leaves_nothing(
    stack: DeployedStack, corpus: bytes, resources: Callable[[], set[str]]
) -> None:
    stack.report(stack.start_by_upload("killed", "corpus.txt", corpus))
    before = resources()
    execution = stack.start({"dataset": "killed", "hyperparameters": {"epochs": 1000}})
    training_script(stack).kill()
    description = stack.wait(execution)
    assert (description["status"], description["error"]) == ("FAILED", "TrainingFailed")
    assert "SIGKILL" in description["cause"] or "signal 9" in description["cause"], description["cause"]
    assert resources() == before
    wait_until(lambda: not processes(stack.cloud.pid, "train.py"), "the end of the job's processes")


def test_a_killed_endpoint_process_is_replaced(stack: DeployedStack, corpus: bytes) -> None:
    """Meanwhile the API asks callers to try again (503), and never responds with a wrong text."""
    for execution in stack.executions():
        stack.wait(execution)
    stack.report(stack.start_by_upload("served", "corpus.txt", corpus))
    assert stack.call_api("POST", "/generate", {"seed": 1}).status == 200

    def servers() -> list[psutil.Process]:
        found = processes(stack.cloud.pid, "inference_server.py")
        return [process for process in found if "supervisor.py" not in " ".join(process.cmdline())]

    # The former endpoint's process ends some time after the update.
    (server,) = wait_until(lambda: found if len(found := servers()) == 1 else [], "a single server")
    server.kill()
    wait_until(lambda: not control.alive(server), "the end of the server")

    def responds() -> bool:
        time.sleep(0.3)  # More requests than the API's usage plan allows would get 429.
        response = stack.call_api("POST", "/generate", {"seed": 1})
        assert response.status in (200, 503), response
        return response.status == 200

    wait_until(responds, "a response of another process")
    sagemaker = stack.cloud.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=stack.outputs["EndpointName"])
    assert endpoint["EndpointStatus"] == "InService"


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[DeployedStack]:
    """A stack on a local cloud that the test may kill."""
    home = tmp_path / "home"
    yield deploy(control.start(home, owner=os.getpid()), LONG)
    control.stop(home)


@pytest.mark.slow
def test_a_killed_local_cloud_ends_its_processes_and_starts_again_empty(
    own_stack: DeployedStack, corpus: bytes
) -> None:
    own_stack.start_by_upload("lost", "corpus.txt", corpus)
    script = training_script(own_stack)
    server = psutil.Process(own_stack.cloud.pid)
    tree = [server, script, *server.children(recursive=True)]

    server.kill()

    wait_until(lambda: not any(map(control.alive, tree)), "the end of all processes")
    status = lexline(own_stack, "status")
    assert "lexline up" in status.stdout + status.stderr
    again = control.start(own_stack.cloud.state_dir, owner=os.getpid())
    assert again.client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert again.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
    assert again.client("s3").list_buckets()["Buckets"] == []
