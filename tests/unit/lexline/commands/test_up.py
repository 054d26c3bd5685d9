"""`lexline up`: parameters are checked first, one `up` at a time, and signals leave no process behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lexline.aws.stack import Stack
from lexline.core import lock
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.waiting import wait_until

# A SAM CLI of which one command never ends. It starts a child, as `sam build` starts pip.
SAM = """#!/bin/sh
if [ "$1" = "$HANGING" ]; then
    sleep 600 &
    echo $$ $! > "{pids}.new"
    mv "{pids}.new" "{pids}"
    wait
fi
"""
UP = """
import signal, sys
from pathlib import Path
from types import SimpleNamespace
import boto3
# A shell lets its background jobs ignore Ctrl-C's signal, and nohup lets them ignore a closed terminal's.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.executable = {python!r}
from lexline.aws import target
from lexline.cli import app
session = boto3.Session(aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1")
aws = target.Target("mine", session, {{"PATH": "/usr/bin:/bin", "HANGING": {hanging!r}}}, Path({work!r}))
target.Target.apigateway = SimpleNamespace(get_account=lambda: {{"cloudwatchRoleArn": "role"}})
target.for_profile = lambda *_: aws
app(["up", "--profile", "me", "--stack", "mine"])
"""
Up = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """up(command): a process of `lexline up` whose `sam COMMAND` never ends."""
    sam = tmp_path / "bin" / "sam"
    sam.parent.mkdir()
    sam.write_text(SAM.format(pids=tmp_path / "pids"))
    sam.chmod(0o755)
    processes: list[subprocess.Popen[str]] = []

    def start(hanging: str) -> subprocess.Popen[str]:
        code = UP.format(python=str(sam.with_name("python")), hanging=hanging, work=str(tmp_path / "work"))
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def pids_of_sam(folder: Path) -> list[int]:
    wait_until((folder / "pids").exists, "SAM")
    return [int(pid) for pid in (folder / "pids").read_text().split()]


@pytest.mark.parametrize(
    ("command", "number", "to_the_group", "message"),
    [
        ("build", signal.SIGINT, True, "The stack mine was not changed."),
        ("build", signal.SIGTERM, False, "The stack mine was not changed."),
        ("deploy", signal.SIGINT, False, "CloudFormation completes"),
        ("deploy", signal.SIGHUP, False, "CloudFormation completes"),
    ],
)
def test_a_signal_ends_sam_and_its_children_and_says_what_continues(
    up: Up, tmp_path: Path, command: str, number: signal.Signals, to_the_group: bool, message: str
) -> None:
    process = up(command)
    pids = pids_of_sam(tmp_path)
    (os.killpg if to_the_group else os.kill)(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert message in output
    assert "`lexline up --profile me --stack mine` with the same parameters" in output
    assert "Traceback" not in output
    wait_until(lambda: all(map(is_over, pids)), "the end of SAM and its child")


def is_over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_second_up_says_which_process_is_the_first(up: Up, tmp_path: Path) -> None:
    first = up("build")
    pids_of_sam(tmp_path)
    second = up("build")
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"is in progress in {tmp_path / 'work'}: process {first.pid}." in output
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    # The lock ends with its process.
    with lock.only_one(tmp_path / "work"):
        pass


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("assignment", "messages"),
    [
        *((wrong, [f"--parameter {wrong} is invalid"]) for wrong in ("Epochs", "=3", "Ep ochs=3")),
        ("Epochs=7", ["--parameter Epochs is given twice, as 6 and as 7."]),
        ("epochs=3", ["no parameter epochs", "Did you mean Epochs?"]),
        ("TrainingInstance=ml.m5.large", ["no parameter", "Did you mean TrainingInstanceType?"]),
        ("Nope=3", ["no parameter Nope", "template.yaml", "QuietSeconds"]),
        ("Nlayers=abc", ['Nlayers="abc" is invalid', "Give "]),
        ("Nlayers=", ['Nlayers="" is invalid']),
        (
            "Recipe=clasic",
            ['Recipe="clasic" is invalid', "Did you mean classic?", "one of classic, fast, awd"],
        ),
        ("TrainingInstanceType=ml.m5." + "x" * 60, ["is invalid", "SageMaker instance type"]),
    ],
)
def test_a_parameter_that_the_template_does_not_allow_is_refused_before_anything_starts(
    patch: Patch, assignment: str, messages: list[str]
) -> None:
    started: list[object] = []
    patch("aws.target.start_cloud", lambda *_: started.append(_))
    result = run_lexline("up", "--parameter", "Epochs=6", "--parameter", assignment)
    assert result.exit_code == 2
    assert all(message in result.output for message in messages)
    assert started == []


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("running", "message"), [(True, "already running."), (False, "Starting the local cloud ...")]
)
def test_up_starts_the_local_cloud_only_if_it_is_not_running(
    running: bool, message: str, patch: Patch, stack: Stack
) -> None:
    local = replace(stack.target, endpoint_url="http://127.0.0.1:1")
    patch("aws.target.cloud_in", local if running else None)
    patch("aws.target.start_cloud", local)
    patch("aws.sam.deploy", None)
    patch("aws.stack.read", stack)
    result = run_lexline("up")
    assert result.exit_code == 0
    assert message in result.output
    assert ("Starting" in result.output) == (not running)
