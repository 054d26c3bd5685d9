"""A clock that stands still, for modules that call datetime.now."""

from datetime import datetime, tzinfo
from types import ModuleType

import pytest


def stand_still(monkeypatch: pytest.MonkeyPatch, at: datetime, *modules: ModuleType) -> datetime:
    """Make `datetime.now` return `at` in these modules, and return `at`."""

    class Still(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return at.astimezone(tz)

    for module in modules:
        monkeypatch.setattr(module, "datetime", Still)
    return at
