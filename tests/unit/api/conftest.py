from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber
from chalice.test import Client

import app as api
from chalicelib.endpoint import Endpoint

PROJECT = Path(api.__file__).parent


@dataclass
class Cloud:
    """The API's two SageMaker clients. Stubber checks every request and response against AWS's model."""

    runtime: Stubber
    sagemaker: Stubber


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    runtime = boto3.client("sagemaker-runtime", **keys)
    sagemaker = boto3.client("sagemaker", **keys)
    served = Endpoint("lexline", runtime, sagemaker)
    monkeypatch.setattr(api, "endpoint", lambda: served)
    with Stubber(runtime) as runtime_stub, Stubber(sagemaker) as sagemaker_stub:
        yield Cloud(runtime_stub, sagemaker_stub)
        runtime_stub.assert_no_pending_responses()
        sagemaker_stub.assert_no_pending_responses()


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(api.app, project_dir=str(PROJECT)) as chalice_client:
        yield chalice_client
