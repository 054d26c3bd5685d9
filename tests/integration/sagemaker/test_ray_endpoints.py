"""A real artifact behind an endpoint in AWS's Ray image: responses, errors, recovery and deletion."""

import contextlib
import io
import json
import shutil
import signal
import tarfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from botocore.exceptions import ClientError

import language_model
import train
from language_model import Dropout, LanguageModel, Shape
from localcloud.control import LocalCloud
from steps.create_model import RAY_MODE
from tests.integration.sagemaker.conftest import Sagemaker, Until, alive
from vocabulary import END_OF_LINE, UNKNOWN, Vocabulary

pytestmark = pytest.mark.usefixtures("only_ray")

RUN = uuid.uuid4().hex[:8]
REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
RAY = f"{REGISTRY}/ray:serve-ml-sagemaker-cpu-v1"
PYTORCH = f"{REGISTRY}/pytorch-inference:2.6-cpu-py312"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact as training leaves it, of an untrained model."""
    folder = tmp_path_factory.mktemp("artifact")
    words = [UNKNOWN, END_OF_LINE, *(f"word{number}" for number in range(298))]
    shape = Shape(len(words), emsize=16, nhid=16, nlayers=2, tied=True, cutoffs=(100,), widths=(8,))
    torch.manual_seed(1)
    language_model.save_weights(LanguageModel(shape, Dropout()), folder / language_model.WEIGHTS)
    language_model.save_config(folder / language_model.CONFIG, shape, "tokenized", {})
    Vocabulary(words).save(folder / language_model.VOCABULARY)
    scripts = Path(train.__file__).parent
    shutil.copyfile(scripts / train.RAY_SERVE_CONFIG, folder / train.RAY_SERVE_CONFIG)
    (folder / "code").mkdir()
    for name in train.SERVING_MODULES:
        shutil.copyfile(scripts / name, folder / "code" / name)
    return folder


def packed(artifact: Path) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        tar.add(artifact, arcname=".")
    return body.getvalue()


def configured(sagemaker: Sagemaker, name: str, image: str, model: bytes) -> str:
    """An endpoint configuration with a model of the same name, as the pipeline makes them."""
    key = f"models/{name}/model.tar.gz"
    sagemaker.s3.put_object(Bucket=sagemaker.bucket, Key=key, Body=model)
    sagemaker.api.create_model(
        ModelName=name,
        ExecutionRoleArn=sagemaker.role,
        PrimaryContainer={
            "Image": image,
            "ModelDataUrl": f"s3://{sagemaker.bucket}/{key}",
            "Environment": {
                **RAY_MODE,
                "SAGEMAKER_PROGRAM": "generate.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                "LEXLINE_MODEL": name,
            },
        },
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.api.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    return name


@pytest.fixture(scope="module")
def name() -> str:
    """The name of the endpoint in AWS's Ray image, and of its model."""
    return f"ray-{RUN}"


@pytest.fixture(scope="module")
def endpoint(cloud: LocalCloud, sagemaker: Sagemaker, artifact: Path, name: str) -> Iterator[str]:
    """The endpoint, in service. It leaves nothing behind when it is deleted."""
    configured(sagemaker, name, RAY, packed(artifact))
    sagemaker.endpoint(name, name)
    yield name
    processes = of_ray(cloud, name)
    folders = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            folders.add(Path(process.environ()["TMPDIR"]))
    sagemaker.delete(name)
    assert len(processes) > 5
    assert not any(map(alive, processes))
    assert not [folder for folder in folders if folder.exists()]


def of_ray(cloud: LocalCloud, model: str, words: str = "") -> list[psutil.Process]:
    """The processes of the model's Ray whose command line holds the words."""
    found = []
    for process in psutil.Process(cloud.pid).children(recursive=True):
        try:
            ours = process.environ().get("LEXLINE_MODEL") == model
            if ours and words in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_both_of_awss_images_give_the_same_responses_for_an_artifact(
    sagemaker: Sagemaker, endpoint: str, artifact: Path
) -> None:
    classic = configured(sagemaker, f"classic-{RUN}", PYTORCH, packed(artifact))
    sagemaker.endpoint(classic, classic)
    for request in ({"seed": 3, "words": 20}, {"temperature": 0.01, "words": 5, "prompt": "word7 word8"}):
        response = sagemaker.invoke(endpoint, **request)
        assert response.pop("model") == endpoint
        assert len(response["text"].split()) == response["words"] == request["words"]
        assert sagemaker.invoke(classic, **request) == {**response, "model": classic}
    sagemaker.delete(classic)


def test_concurrent_requests_get_the_responses_they_get_alone(sagemaker: Sagemaker, endpoint: str) -> None:
    requests = [{"seed": seed, "words": 20 + 10 * seed} for seed in range(8)]
    alone = [sagemaker.invoke(endpoint, **request) for request in requests]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda request: sagemaker.invoke(endpoint, **request), requests)) == alone


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        (b'{"words": 0}', "application/json", "words must be a whole number from 1 to 1,000."),
        (
            b'{"prompt": "caf\xe9"}',
            "application/json",
            "The body is not UTF-8: the byte at offset 15 is invalid.",
        ),
        (b"{}", "text/csv", "The content type must be application/json, not text/csv."),
    ],
)
def test_a_bad_request_is_a_model_error_with_status_400_and_the_sentence(
    sagemaker: Sagemaker, endpoint: str, body: bytes, content_type: str, sentence: str
) -> None:
    with pytest.raises(ClientError) as caught:
        sagemaker.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=content_type)
    response: dict[str, Any] = dict(caught.value.response)
    assert response["Error"]["Code"] == "ModelError"
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (400, sentence)


def test_an_update_runs_a_second_ray_beside_the_first_and_leaves_one(
    cloud: LocalCloud, sagemaker: Sagemaker, endpoint: str, artifact: Path, tmp_path: Path
) -> None:
    """The code cannot load the new model, so the old one stays."""
    strange = shutil.copytree(artifact, tmp_path / "strange")
    config = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps({**config, "format": 99}))
    new = configured(sagemaker, f"strange-{RUN}", RAY, packed(strange))
    before, ended, failures = sagemaker.invoke(endpoint, seed=5), threading.Event(), []

    def ask() -> None:
        while not ended.wait(0.1):
            try:
                assert sagemaker.invoke(endpoint, seed=5) == before
            except Exception as error:
                failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    sagemaker.api.update_endpoint(EndpointName=endpoint, EndpointConfigName=new)
    described = sagemaker.await_endpoint(endpoint, "InService")
    ended.set()
    asking.join()
    assert failures == []
    assert described["EndpointConfigName"] == endpoint
    assert "loading the model raised" in described["FailureReason"]
    assert "format 99" in described["FailureReason"]
    assert of_ray(cloud, new) == []


def response_or_none(sagemaker: Sagemaker, endpoint: str) -> Any:
    """The response, or None while no server is up."""
    try:
        return sagemaker.invoke(endpoint, seed=5)
    except sagemaker.runtime.exceptions.ServiceUnavailable:
        return None
    except sagemaker.runtime.exceptions.ModelError as error:
        # 503 from the adapter until the next ping, 500 for a request that was in progress.
        if error.response["OriginalStatusCode"] in (500, 503):
            return None
        raise


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    ["ServeReplica", "ProxyActor", "raylet/raylet", "gcs_server", "programs/ray_server.py"],
    ids=["a replica", "the proxy", "the raylet", "the control store", "our server"],
)
def test_an_endpoint_recovers_from_the_death_of(
    cloud: LocalCloud, sagemaker: Sagemaker, endpoint: str, until: Until, part: str
) -> None:
    def running() -> list[psutil.Process]:
        return [each for each in of_ray(cloud, endpoint, part) if not of_supervisor(each)]

    before = until(lambda: response_or_none(sagemaker, endpoint), "a response")
    killed = until(running, f"one {part}")[0]
    killed.send_signal(signal.SIGKILL)
    until(lambda: [each for each in running() if each != killed], "its successor")
    assert until(lambda: response_or_none(sagemaker, endpoint), "a response") == before
    assert sagemaker.await_endpoint(endpoint, "InService")["EndpointStatus"] == "InService"


def of_supervisor(process: psutil.Process) -> bool:
    """Whether the process only names the server in its arguments."""
    with contextlib.suppress(psutil.Error):
        return "supervisor.py" in " ".join(process.cmdline())
    return True
