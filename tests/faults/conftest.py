"""A cloud in which things go wrong as planned, the stack on it, and a clean start for each test.

`cloud`, `client` and `stack` are this folder's own; they have the names they have for the other tests.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config

from localcloud.control import LocalCloud
from tests.faults.byhand import ByHand
from tests.faults.plan import Faults
from tests.stack import TINY, DeployedStack, deploy, running

KEPT = ("code/", "lexline/")
"""Objects that stay from test to test: the packed scripts, which all runs share, and what SAM deploys."""
ENVIRONMENT = {"SFN_WAIT_SCALE": "0.002", "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.05"}
"""A minute's pause of a state machine before a retry, or of an SDK, is an eighth of a second."""
ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """The running cloud, ended with the session; nothing of it may be left then."""
    state_dir = tmp_path_factory.mktemp("faults") / "state"
    with running(state_dir, ENVIRONMENT, "tests.faults.cloud") as started:
        yield started


@pytest.fixture(scope="session")
def client(cloud: LocalCloud) -> Callable[..., Any]:
    """client(service, **arguments): a boto3 client of the cloud, as its administrator."""
    return cloud.client


@pytest.fixture(scope="session")
def deployed(cloud: LocalCloud) -> DeployedStack:
    """template.yaml deployed, with a quiet period of a few looks. Tests take `stack`."""
    return deploy(cloud, {**TINY, "QuietSeconds": "0.05"})


@pytest.fixture
def stack(deployed: DeployedStack, faults: Faults) -> DeployedStack:
    """The stack as it is when it has just been deployed."""
    return deployed


@pytest.fixture
def faults(cloud: LocalCloud) -> Faults:
    """The cloud's fault plan, empty, and nothing left of the test before."""
    plan = Faults(cloud)
    plan.reset(KEPT)
    return plan


@pytest.fixture(scope="session")
def once(cloud: LocalCloud) -> Callable[[str], Any]:
    """once(service): a client that makes one attempt, and so shows each fault; made once."""
    return functools.cache(lambda service: cloud.client(service, config=ONE_ATTEMPT))


@pytest.fixture
def byhand(once: Callable[[str], Any], faults: Faults) -> ByHand:
    """SageMaker without the pipeline."""
    return ByHand(once)
