"""The local cloud alone, without this project's command: python -m localcloud."""

import os
import subprocess
import sys
from pathlib import Path

from localcloud import control
from tests.stack import PROJECT

_THEIRS = 'import boto3; print(boto3.client("s3").list_buckets()["Buckets"])'


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}


def test_it_says_how_another_shell_works_on_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localcloud"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout
        try:
            printed = next(line for line in server.stdout if line.lstrip().startswith('eval "$('))
            done = subprocess.run(
                ["bash", "-euc", f"{printed}\nexec {sys.executable} -c '{_THEIRS}'"],
                env={**environment(), "AWS_PROFILE": "another"},
                capture_output=True,
                text=True,
                timeout=300,
            )
        finally:
            server.terminate()
            server.stdout.read()
    assert server.returncode == 0
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    control.stop(tmp_path / ".localcloud")


def test_without_a_cloud_there_are_no_variables(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localcloud", "--env"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Start it with `python -m localcloud`" in done.stderr
