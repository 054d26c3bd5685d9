"""The cloud with planned faults, the stack on it, and a clean start for each test.

`cloud`, `client` and `stack` replace the fixtures of the same names that other tests use.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcloud.control import LocalCloud
from tests.faults.harness.client import Faults
from tests.faults.pipeline import KEPT, Pipeline
from tests.stack import TINY, DeployedStack, deploy, running

ENVIRONMENT = {
    "SFN_WAIT_SCALE": "0.002",
    "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.05",
    "SAGEMAKER_METRIC_DELAY_SECONDS": "0",
    "LAMBDA_ACCOUNT_CONCURRENCY": "1000",
}
"""A pause of a minute, of a state machine or an SDK, takes an eighth of a second. Functions are no faster:
a throttled call would run out of retries, so many may run at once. Metrics are never late."""


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A running cloud with the harness, which ends with the session and leaves nothing."""
    state_dir = tmp_path_factory.mktemp("faults") / "state"
    with running(state_dir, ENVIRONMENT, "tests.faults.harness") as started:
        yield started


@pytest.fixture(scope="session")
def client(cloud: LocalCloud) -> Callable[..., Any]:
    """client(service, **arguments): a boto3 client of the cloud, as its administrator."""
    return cloud.client


@pytest.fixture(scope="session")
def deployed(cloud: LocalCloud) -> DeployedStack:
    """template.yaml, deployed with a short quiet period. Tests use `stack`, which is reset."""
    return deploy(cloud, {**TINY, "QuietSeconds": "0.05"})


@pytest.fixture
def faults(cloud: LocalCloud) -> Faults:
    """The cloud's fault plan without faults, on a cloud without traces of other tests."""
    plan = Faults(cloud)
    plan.reset(KEPT)
    return plan


@pytest.fixture
def stack(deployed: DeployedStack, faults: Faults) -> DeployedStack:
    """The stack as it was after its deployment."""
    return deployed


@pytest.fixture
def pipeline(stack: DeployedStack, faults: Faults) -> Pipeline:
    """The deployed pipeline, without traces of other tests."""
    return Pipeline(stack, faults)
