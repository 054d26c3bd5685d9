"""serve.py batches token by token and serves over HTTP. Ray itself is not started."""

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

import serve
from serve import Batch, Generator
from tests.unit.model_scripts.conftest import Patch


class InvalidRequest(ValueError):
    """A stand-in for inference.InvalidRequest."""


class Run:
    """A request in progress, with `left` steps to go."""

    def __init__(self, words: int) -> None:
        self.asked = self.left = words

    @property
    def done(self) -> bool:
        return self.left == 0

    def response(self) -> dict[str, Any]:
        return {"words": self.asked, "text": "é"}


class Engine:
    """A stand-in for inference.ServedModel that notes each step and waits while `gate` is closed."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.steps: list[list[int]] = []

    def begin(self, words: int) -> Run:
        if words == 13:
            raise InvalidRequest("words must not be 13.")
        return Run(words)

    def step(self, runs: list[Run]) -> None:
        self.steps.append(sorted(run.asked for run in runs))
        self.begun.release()
        assert self.gate.wait(240)
        if any(run.asked == 666 for run in runs):
            raise ArithmeticError("the weights are not numbers")
        for run in runs:
            run.left -= 1


def parse(body: bytes, content_type: str | None) -> int:
    if content_type != "application/json":
        raise InvalidRequest(f"The content type must be application/json, not {content_type}.")
    return int(json.loads(body)["words"])


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.gate.set()


def asked(batch: Batch, *words: int) -> list[Any]:
    """Return the responses, or exceptions, of requests that arrive together."""

    async def ask() -> list[Any]:
        return await asyncio.gather(*(batch.generate(each) for each in words), return_exceptions=True)

    return asyncio.run(ask())


def test_each_request_gets_its_own_answer(engine: Engine) -> None:
    answers = asked(Batch(engine), *range(1, 13))
    assert [answer["words"] for answer in answers] == list(range(1, 13))


def test_a_request_joins_the_batch_that_runs_and_leaves_it_when_it_is_done(engine: Engine) -> None:
    batch = Batch(engine)
    engine.gate.clear()

    async def ask() -> None:
        first = asyncio.create_task(batch.generate(3))
        await asyncio.to_thread(engine.begun.acquire)
        second = asyncio.create_task(batch.generate(1))
        await asyncio.sleep(0)
        engine.gate.set()
        await asyncio.gather(first, second)

    asyncio.run(ask())
    assert engine.steps == [[3], [1, 3], [3]]


def test_a_cancelled_request_leaves_the_batch(engine: Engine) -> None:
    batch = Batch(engine)
    engine.gate.clear()

    async def ask() -> None:
        gone, stays = asyncio.create_task(batch.generate(1000)), asyncio.create_task(batch.generate(2))
        await asyncio.to_thread(engine.begun.acquire)
        gone.cancel()
        await asyncio.sleep(0)
        engine.gate.set()
        await stays

    asyncio.run(ask())
    assert engine.steps[-1] == [2]
    assert asked(batch, 1)[0]["words"] == 1


def test_a_failed_step_fails_only_its_requests(engine: Engine) -> None:
    batch = Batch(engine)
    assert isinstance(asked(batch, 666)[0], ArithmeticError)
    assert asked(batch, 4)[0]["words"] == 4


def test_an_invalid_request_fails_alone(engine: Engine) -> None:
    refused, answered = asked(Batch(engine), 13, 2)
    assert isinstance(refused, InvalidRequest)
    assert answered["words"] == 2


@pytest.fixture
def generator(engine: Engine, monkeypatch: Patch) -> Generator:
    fake = SimpleNamespace(load=lambda model_dir: engine, parse=parse, InvalidRequest=InvalidRequest)
    monkeypatch.setitem(sys.modules, "inference", fake)
    return Generator("/opt/ml/model")


def post(generator: Generator, body: bytes, content_type: str = "application/json") -> tuple[int, str, str]:
    """Send a POST request and return status, content type and body of the response."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    headers = [(b"content-type", content_type.encode()), (b"accept", b"text/plain")]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
    response = asyncio.run(generator(request))
    return response.status_code, response.headers["content-type"], bytes(response.body).decode()


def test_a_response_is_json_whatever_is_accepted(generator: Generator) -> None:
    assert post(generator, b'{"words": 2}') == (200, "application/json", '{"words": 2, "text": "é"}')


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        (b'{"words": 2}', "text/csv", "The content type must be application/json, not text/csv."),
        (b'{"words": 13}', "application/json", "words must not be 13."),
    ],
)
def test_an_invalid_request_has_status_400(
    generator: Generator, body: bytes, content_type: str, sentence: str
) -> None:
    assert post(generator, body, content_type) == (400, "text/plain; charset=utf-8", sentence)


def test_the_deployment_takes_many_requests_at_once_and_starts_on_the_smallest_instance() -> None:
    deployment = serve.generators
    assert deployment.max_ongoing_requests >= 64
    assert deployment.ray_actor_options["num_cpus"] == 0


def test_requests_that_arrive_at_once_are_shared_out_evenly() -> None:
    """Ray's default router sent up to all of them to one replica (IN_TURN)."""
    config = serve.generators._deployment_config.request_router_config
    router, replicas = SimpleNamespace(_round_robin_counter=0), ["one", "two", "three"]

    async def first_choices(count: int) -> list[str]:
        choose = config.get_request_router_class().choose_replicas
        return [(await choose(router, replicas))[0][0] for _ in range(count)]

    assert Counter(asyncio.run(first_choices(12))) == {"one": 4, "two": 4, "three": 4}


def test_the_application_is_built_only_when_a_text_could_be_generated(monkeypatch: Patch) -> None:
    """Ray's health check, and so SageMaker's /ping, succeeds as soon as the application is built."""
    asked: list[object] = []
    served = SimpleNamespace(generate=asked.append)
    fake = SimpleNamespace(load=lambda model_dir: served, parse=lambda *request: request, JSON="json")
    monkeypatch.setitem(sys.modules, "inference", fake)
    assert serve.app({})._bound_deployment.name == "Generator"
    assert asked == [(b"{}", "json")]

    served.generate = lambda request: 1 / 0
    with pytest.raises(ZeroDivisionError):
        serve.app({})


@pytest.mark.parametrize(
    ("cores", "limit", "expected"), [(4, None, 4), (4, "2", 2), (2, "8", 2), (None, None, 1)]
)
def test_each_processor_has_a_replica(
    monkeypatch: Patch, cores: int | None, limit: str | None, expected: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    if limit:
        monkeypatch.setenv("OMP_THREAD_LIMIT", limit)
    assert serve.processors() == expected
    environment = serve.generators.ray_actor_options["runtime_env"]["env_vars"]
    assert environment == {"OPENBLAS_NUM_THREADS": "1"}
