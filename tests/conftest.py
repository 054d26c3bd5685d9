"""One local cloud for all tests that need one, and the project deployed on it once."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcloud import control
from localcloud.control import LocalCloud
from tests.stack import TINY, DeployedStack, deploy


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share the tests out among processes, where there are several: what needs a cloud goes to one of them.

    Tests of one group run in one process, so each cloud is started once. The longest groups come first.
    """
    for item in items:
        folder, *_ = item.path.relative_to(Path(__file__).parent).parts
        group = {"faults": "faults", "integration": "cloud", "e2e": "cloud"}.get(folder, str(item.path))
        # Five minutes by themselves, which another process may have time for.
        group = item.path.stem if item.path.stem == "test_interleavings" else group
        item.add_marker(pytest.mark.xdist_group(group))
    order = {"cloud": 0, "faults": 1, "test_interleavings": 2}
    items.sort(key=lambda item: order.get(next(item.iter_markers("xdist_group")).args[0], 3))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A running local cloud, ended with the session; nothing of it may be left then.

    Waits and retry pauses of state machines are a fiftieth of what they say, and an event that a function
    failed on comes again in a tenth of a second; time-outs are as they say.
    """
    state_dir = tmp_path_factory.mktemp("cloud") / "state"
    environment = {"SFN_WAIT_SCALE": "0.02", "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.1"}
    running = control.start(state_dir, owner=os.getpid(), environment=environment)
    server = psutil.Process(running.pid)
    yield running
    tree = [server, *server.children(recursive=True)]
    control.stop(state_dir)
    assert not state_dir.exists()
    assert [process for process in tree if process.is_running()] == []


@pytest.fixture(scope="session")
def client(cloud: LocalCloud) -> Callable[..., Any]:
    """client(service, **arguments): a boto3 client of the cloud, as its administrator; made once."""
    return functools.cache(cloud.client)


@pytest.fixture(scope="session")
def stack(cloud: LocalCloud) -> DeployedStack:
    """template.yaml built and deployed, under the default name, with hyperparameters for tiny corpora.

    It is shared: tests use datasets of their own, and put back whatever of the deployment they change.
    """
    return deploy(cloud, TINY)
