"""One local cloud for all tests that need one, and the project deployed on it once."""

import datetime
import fcntl
import functools
import gc
import ipaddress
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from botocore.loaders import JSONFileLoader
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck
from xdist.scheduler import LoadFileScheduling

from localcloud.control import LocalCloud
from tests.stack import NO_SUCH_PROXY, TINY, DeployedStack, deploy, running

# The user's own AWS profile and credentials must not influence a test.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
# Powertools reads these when a step's module is first imported, whichever test imports it.
os.environ["POWERTOOLS_SERVICE_NAME"] = "lexline"
os.environ["POWERTOOLS_METRICS_NAMESPACE"] = "Lexline"
os.environ["POWERTOOLS_TRACE_DISABLED"] = "true"

# Without this cache, every session of the SDK reads its services' models again: megabytes of JSON.
_read = functools.cache(JSONFileLoader().load_file)
JSONFileLoader.load_file = lambda self, file_path: _read(file_path)

# Each of these groups needs a stack of its own, which takes half a minute to deploy.
_TOGETHER = {
    "tests/faults/": "faults",
    "tests/e2e/": "e2e",
    "tests/integration/test_deploy.py": "e2e",
}
# The groups that take minutes come first.
_ORDER = ("verification", "faults", "e2e", "integration", "clients", "browser", "unit")


class _Scheduling(LoadFileScheduling):
    """How `make test` distributes tests among its processes: by file, and all files of a group together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((group for place, group in _TOGETHER.items() if file.startswith(place)), file)


# A busy machine may take long for an example, so Hypothesis sets no time limit.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return _Scheduling(config, log)


def pytest_configure() -> None:
    """Search for no garbage before `pytest_collection_finish`. It would take a quarter of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exclude the imported modules from the search for garbage."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by their top folder. Within a folder their order is kept, and may be random."""

    def place(item: pytest.Item) -> int:
        folder, *_ = item.path.relative_to(Path(__file__).parent).parts
        return _ORDER.index(folder)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def compiled_in_a_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PyTorch creates a folder for compiled code when it creates its first optimiser."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        builder.add_extension(address, False).sign(key, hashes.SHA256()).public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    )
    return file


@pytest.fixture(scope="module")
def only_ray() -> Iterator[None]:
    """Let one module at a time start Ray, among all processes: two would compete for the processors."""
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A running local cloud, which ends with the session and leaves nothing.

    State machines wait a fiftieth of the time that they name, before retries too. A function that failed on
    an event gets it again after a tenth of a second. Time limits are not scaled.
    """
    environment = {"SFN_WAIT_SCALE": "0.02", "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.1", **NO_SUCH_PROXY}
    with running(tmp_path_factory.mktemp("cloud") / "state", environment) as started:
        yield started


@pytest.fixture(scope="session")
def client(cloud: LocalCloud) -> Callable[..., Any]:
    """client(service, **arguments): a boto3 client of the cloud, as its administrator."""
    return cloud.client


@pytest.fixture(scope="session")
def stack(cloud: LocalCloud) -> DeployedStack:
    """template.yaml, deployed under the default name with hyperparameters for tiny corpora.

    All tests share it. They use datasets of their own, and undo their changes of the deployment.
    """
    return deploy(cloud, TINY)
