"""Version 2 of the SageMaker SDK: the original notebook's calls, with the scripts from a Git server."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import texts
from tests.clients.conftest import CLIENTS, Clients
from tests.stack import PROJECT
from tests.unit.pipeline.git_source.git_server import serving


@pytest.fixture
def repository(tmp_path: Path, certificate: Path) -> Iterator[str]:
    """The URL of a Git server with the model scripts."""
    work, served = tmp_path / "work", tmp_path / "served"
    shutil.copytree(
        PROJECT / "model_scripts", work / "model_scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        [*who, "commit", "-q", "-m", "Scripts"],
        ["clone", "-q", "--bare", ".", str(served / "scripts.git")],
    ):
        subprocess.run(["git", *command], cwd=work, check=True)
    with serving(served, "git", certificate) as server:
        yield f"{server.url}/scripts.git"


def test_the_original_calls_train_from_git_deploy_predict_and_delete(
    clients: Clients, repository: str, certificate: Path, tmp_path: Path
) -> None:
    output = clients.program(
        "sdk_v2.py",
        repository,
        str(texts.write(tmp_path / "data")),
        environment={
            "PYTHONPATH": str(CLIENTS / "sdk-v2"),
            "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
            "GIT_SSL_CAINFO": str(certificate),
        },
    )
    assert json.loads(output.splitlines()[-1])["text"]
    sagemaker = clients.stack.cloud.client("sagemaker")
    name = f"{clients.stack.name}---notebook-v2"
    assert sagemaker.list_endpoints(NameContains=name)["Endpoints"] == []
    assert sagemaker.list_models(NameContains=name)["Models"] == []
    (job,) = sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert job["TrainingJobStatus"] == "Completed"
