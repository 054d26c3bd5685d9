"""OpenAI's client uses the API in front of a model in this process, and through the local API Gateway."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.conftest import CLIENTS, PROGRAMS, Clients
from tests.unit.api.conftest import model_runtime as model_runtime
from tests.unit.api.conftest import served_api as served_api
from tests.unit.api.conftest import untrained as untrained
from tests.unit.api.model_endpoint import MODEL, ServedApi, listening


def completions(base_url: str, key: str) -> dict[str, Any]:
    """Return what the program's calls returned."""
    program = [CLIENTS / "bin" / "python", PROGRAMS / "openai_completions.py", base_url, key]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-6000:]
    results: dict[str, Any] = json.loads(done.stdout)
    return results


@pytest.fixture
def results(served_api: ServedApi) -> Iterator[dict[str, Any]]:
    assert (CLIENTS / ".ready").exists(), "Create the clients' environment: make test-clients"
    with listening(served_api) as url:
        yield completions(f"{url}/v1", "any")


def test_the_client_completes_scores_and_understands_refusals(results: dict[str, Any]) -> None:
    assert results["models"] == [MODEL, "lexline"]
    plain = results["plain"]
    assert (plain["model"], plain["object"]) == (MODEL, "text_completion")
    assert plain["usage"]["completion_tokens"] == 12
    assert plain["choices"][0]["finish_reason"] == "length"
    assert [choice["index"] for choice in results["several"]["choices"]] == [0, 1, 2, 3]
    assert results["stopped"]["choices"][0]["finish_reason"] == "stop"
    assert "a" not in results["stopped"]["choices"][0]["text"]
    assert results["extra"]["usage"]["completion_tokens"] == 16

    (scored,) = results["scored"]["choices"]
    assert scored["text"] == "When it rains, Anna"
    assert scored["logprobs"]["tokens"] == ["When", " it", " rains", ",", " Anna"]
    assert scored["logprobs"]["text_offset"] == [0, 4, 7, 13, 14]
    assert all(log < 0 for log in scored["logprobs"]["token_logprobs"])

    for name, error in {
        "unsupported": ["BadRequestError", 400, "invalid_request", "presence_penalty"],
        "streamed": ["BadRequestError", 400, "invalid_request", "stream"],
        "unknown_model": ["NotFoundError", 404, "model_not_found", None],
        "unknown_words": ["BadRequestError", 400, "invalid_request", None],
    }.items():
        assert results[name][:4] == error
    assert "presence_penalty is not supported" in results["unsupported"][4]


def test_api_gateway_checks_the_clients_key(clients: Clients) -> None:
    base_url = f"{clients.environment['API_URL']}/v1"
    refused = completions(base_url, "another")
    assert refused["models"] == ["PermissionDeniedError", 403, "forbidden"]
    assert refused["plain"][:3] == ["PermissionDeniedError", 403, "forbidden"]
    # With the key, the request reaches the API, which checks its fields.
    accepted = completions(base_url, clients.environment["API_KEY"])
    assert accepted["unsupported"][:4] == ["BadRequestError", 400, "invalid_request", "presence_penalty"]
