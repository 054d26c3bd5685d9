"""One local cloud for all tests that need one, and the project deployed on it once."""

import fcntl
import functools
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader
from xdist.scheduler import LoadFileScheduling

from localcloud.control import LocalCloud
from tests.stack import TINY, DeployedStack, deploy, running

# Powertools reads these when a step's module is imported, whichever test does that first.
os.environ["POWERTOOLS_SERVICE_NAME"] = "lexline"
os.environ["POWERTOOLS_METRICS_NAMESPACE"] = "Lexline"
os.environ["POWERTOOLS_TRACE_DISABLED"] = "true"

# Every session of the SDK would read its services' models, megabytes of JSON, anew.
_read = functools.cache(JSONFileLoader().load_file)
JSONFileLoader.load_file = lambda self, file_path: _read(file_path)

# Each needs its stack, which takes half a minute to deploy; and each takes minutes, so these come first.
_TOGETHER = {
    "tests/faults/": "faults",
    "tests/e2e/": "e2e",
    "tests/integration/test_deploy.py": "e2e",
}


class _Shares(LoadFileScheduling):
    """How `make test` shares tests out among its processes: by files, and those of one stack together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((share for place, share in _TOGETHER.items() if file.startswith(place)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return _Shares(config, log)


def pytest_configure() -> None:
    """Until `pytest_collection_finish` nothing is garbage; looking for it takes a quarter of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What has been imported is not looked through again."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest shares come first."""
    first = ("faults", "e2e", "integration", "unit")

    def place(item: pytest.Item) -> int:
        folder, *_ = item.path.relative_to(Path(__file__).parent).parts
        return first.index(folder)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def compiled_in_a_folder_of_ours(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PyTorch makes a folder for compiled code when its first optimiser is made."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def only_ray() -> Iterator[None]:
    """One module at a time starts Ray, in whichever process: two would take each other's processors."""
    with (Path(__file__).parents[1] / "pyproject.toml").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A running local cloud, ended with the session; nothing of it may be left then.

    Waits and retry pauses of state machines are a fiftieth of what they say, and an event that a function
    failed on comes again in a tenth of a second; time-outs are as they say.
    """
    environment = {"SFN_WAIT_SCALE": "0.02", "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.1"}
    with running(tmp_path_factory.mktemp("cloud") / "state", environment) as started:
        yield started


@pytest.fixture(scope="session")
def client(cloud: LocalCloud) -> Callable[..., Any]:
    """client(service, **arguments): a boto3 client of the cloud, as its administrator."""
    return cloud.client


@pytest.fixture(scope="session")
def stack(cloud: LocalCloud) -> DeployedStack:
    """template.yaml built and deployed, under the default name, with hyperparameters for tiny corpora.

    It is shared: tests use datasets of their own, and put back whatever of the deployment they change.
    """
    return deploy(cloud, TINY)
