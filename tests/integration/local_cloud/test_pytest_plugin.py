"""The pytest plugin that other projects use."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.stack import NO_SUCH_PROXY, PROJECT

# The plugin is named here and not found by itself: the environment may have another checkout installed.
THEIRS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "PYTHONPATH": str(PROJECT),
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
_THEIR_TESTS = """
import os

import boto3

ADDRESSES = set()


def test_a_client(local_cloud):
    local_cloud.client("s3").create_bucket(Bucket="theirs")
    ADDRESSES.add(local_cloud.endpoint_url)


def test_their_own_code(local_cloud_environment):
    assert [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]] == ["theirs"]
    assert boto3.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
    assert boto3.client("sts").get_caller_identity()["Account"] == "000000000000"
    ADDRESSES.add(local_cloud_environment.endpoint_url)


def test_one_cloud_serves_the_session_and_the_variables_are_gone():
    assert len(ADDRESSES) == 1
    assert os.environ["AWS_ACCESS_KEY_ID"] == "somebody"
"""


def test_another_projects_tests_use_one_local_cloud(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(_THEIR_TESTS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "localcloud.pytest_plugin",
            "-p",
            "no:cacheprovider",
            ".",
        ],
        cwd=tmp_path,
        env={**os.environ, **NO_SUCH_PROXY, **THEIRS},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_the_plugin_is_installed_with_the_project() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"localcloud": "localcloud.pytest_plugin"}
