"""The requests that the endpoint is measured with. The endpoint itself is replaced."""

import json
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import serving


class FakeFleet:
    """Answers a round only when all of its requests have arrived."""

    status = 200
    asked: Counter[int]
    gates: dict[int, threading.Barrier]

    def __init__(self, *_: object, **_named: object) -> None: ...

    def start(self) -> None: ...

    def wait_ready(self, timeout: float) -> None: ...

    def invoke(self, body: bytes, *_: str) -> SimpleNamespace:
        words = json.loads(body)["words"]
        type(self).asked[words] += 1
        type(self).gates[words].wait(240)
        return SimpleNamespace(status=self.status)

    def stop(self, drain: float) -> None: ...


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> type[FakeFleet]:
    FakeFleet.asked = Counter()
    FakeFleet.gates = {300: threading.Barrier(8), serving.BURST_WORDS: threading.Barrier(20)}
    monkeypatch.setattr(serving, "Fleet", FakeFleet)
    monkeypatch.setattr(serving.generation, "tokens_drawn", lambda *_: 2_500)
    return FakeFleet


def test_all_requests_of_a_round_are_in_progress_at_once(fleet: type[FakeFleet]) -> None:
    found = serving.served(Path("model"), requests=8, burst=20, words=300)
    rounds = serving.ROUNDS + 1  # the first one warms the endpoint up
    assert fleet.asked == {300: 8 * rounds, serving.BURST_WORDS: 20 * rounds}
    assert set(found) == {"words_per_second", "burst_seconds"}


def test_a_request_that_fails_fails_the_measurement(
    fleet: type[FakeFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "status", 503)
    with pytest.raises(RuntimeError, match="the endpoint responded with"):
        serving.served(Path("model"), requests=8, burst=20, words=300)
