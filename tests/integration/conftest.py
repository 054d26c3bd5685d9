"""One local cloud for all integration tests, and clients of it."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from localcloud import control
from localcloud.control import LocalCloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A running local cloud, ended with the session; nothing of it may be left then.

    Waits and retry pauses of state machines are a fiftieth of what they say, time-outs are as they say.
    """
    state_dir = tmp_path_factory.mktemp("cloud") / "state"
    running = control.start(state_dir, owner=os.getpid(), environment={"SFN_WAIT_SCALE": "0.02"})
    tree = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
    yield running
    tree += psutil.Process(running.pid).children(recursive=True)
    control.stop(state_dir)
    assert not state_dir.exists()
    assert [process for process in tree if process.is_running()] == []


@pytest.fixture(scope="session")
def client(cloud: LocalCloud) -> Callable[..., Any]:
    """client(service, **arguments): a boto3 client of the cloud, as its administrator."""
    return cloud.client
