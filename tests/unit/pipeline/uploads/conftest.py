"""The step Prepare over a bucket in memory."""

import pytest
from hypothesis import HealthCheck, settings

from tests.unit.pipeline.uploads.prepare_step import PrepareStep

# Examples have no deadline, because the machine may be busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> PrepareStep:
    return PrepareStep(monkeypatch)
