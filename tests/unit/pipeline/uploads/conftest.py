"""The step Prepare over a bucket in memory."""

import pytest

from tests.unit.pipeline.uploads.prepare_step import PrepareStep


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> PrepareStep:
    return PrepareStep(monkeypatch)
