"""The requests that the API is measured with. The API itself is replaced."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from benchmarks import api_burst, serving

REQUESTS = 8


class FakeApi(BaseHTTPRequestHandler):
    """Responds to a request only when all of its round have arrived."""

    status = 200
    gate: ClassVar[threading.Barrier]
    seen: ClassVar[list[tuple[str | None, int, int]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.headers["x-api-key"], body["words"], body["seed"]))
        self.gate.wait(240)
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    """Lets all requests of a round wait for their connection."""

    request_queue_size = 4 * REQUESTS


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(FakeApi, "gate", threading.Barrier(REQUESTS), raising=False)
    monkeypatch.setattr(FakeApi, "seen", [], raising=False)
    with Server(("127.0.0.1", 0), FakeApi) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/generate"
        server.shutdown()
        thread.join()


def test_all_requests_of_a_burst_are_in_progress_at_once(url: str) -> None:
    seconds = api_burst.bursts(url, "key", REQUESTS)
    assert len(seconds) == 1 + serving.ROUNDS
    expected = [("key", serving.BURST_WORDS, seed) for seed in range(REQUESTS)]
    assert sorted(FakeApi.seen) == sorted(expected * len(seconds))


def test_a_request_that_is_refused_fails_the_measurement(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeApi, "status", 429)
    with pytest.raises(RuntimeError, match="the API responded with 429"):
        api_burst.bursts(url, "key", REQUESTS)


def test_the_table_has_the_first_burst_and_the_median_of_the_others() -> None:
    table = api_burst.to_markdown(200, [13.2, 3.4, 3.1, 3.3])
    assert "starts the functions' processes | 13.2 |" in table
    assert "median of 3 later ones | 3.30 |" in table
