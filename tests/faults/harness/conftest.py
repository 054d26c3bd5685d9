"""Clients for the tests of the harness."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config

from localcloud.control import LocalCloud
from tests.faults.harness.client import Faults
from tests.faults.harness.sagemaker_user import SageMakerUser


@pytest.fixture(scope="session")
def single_attempt(cloud: LocalCloud) -> Callable[[str], Any]:
    """single_attempt(service): a client that retries nothing, and so shows each fault."""
    config = Config(retries={"total_max_attempts": 1})
    return functools.cache(lambda service: cloud.client(service, config=config))


@pytest.fixture
def user(single_attempt: Callable[[str], Any], faults: Faults) -> SageMakerUser:
    """A user of SageMaker's API without the pipeline."""
    return SageMakerUser(single_attempt)
