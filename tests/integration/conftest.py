"""Fixtures for the tests that use the local cloud."""

from collections.abc import Callable
from typing import Any

import pytest

from localcloud.control import LocalCloud
from tests.integration.lab import Lab
from tests.waiting import wait_until


@pytest.fixture(scope="session")
def lab(cloud: LocalCloud) -> Lab:
    """Quick ways to create things in the cloud."""
    return Lab(cloud)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """until(condition, what): the condition's first true value."""
    return wait_until
