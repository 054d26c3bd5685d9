"""pytest fixtures: a local cloud for the tests of any project.

Installed with this project, pytest loads the plugin by itself:

    def test_a_bucket(local_cloud):
        s3 = local_cloud.client("s3")
        s3.create_bucket(Bucket="mine")

    def test_my_program(local_cloud_environment):
        boto3.client("sagemaker").list_training_jobs()  # on the local cloud

The cloud starts with the first test that asks for it, in a few seconds, and ends with the session. Each
process of pytest-xdist has a cloud of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from localcloud.control import LocalCloud


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Start a local cloud: `client(SERVICE)` is a boto3 client, `environment()` a program's variables."""
    # Import it here: most sessions that load this plugin start no cloud.
    from localcloud import control

    state_dir = tmp_path_factory.mktemp("localcloud") / "state"
    yield control.start(state_dir, owner=os.getpid())
    control.stop(state_dir)


@pytest.fixture
def local_cloud_environment(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> LocalCloud:
    """Let AWS's SDKs work on the cloud until the test ends, in this process and in its subprocesses.

    boto3 keeps a default session. It is replaced, because it may have read other credentials.
    """
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return local_cloud
