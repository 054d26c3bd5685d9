"""The boto3 session for programs that choose AWS's addresses themselves, as the SageMaker SDK does."""

import subprocess
import sys

import pytest

from localcloud.session import Session
from tests.stack import PROJECT

AWS = "https://sts.us-east-1.amazonaws.com"
HERE = "http://127.0.0.1:4566"


@pytest.fixture
def session() -> Session:
    return Session(aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1")


def test_its_clients_stay_where_the_environment_says(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", HERE)
    assert session.client("sts", endpoint_url=AWS).meta.endpoint_url == HERE
    assert session.client("sts", region_name="eu-west-1").meta.endpoint_url == HERE
    assert (
        session.resource("s3", endpoint_url="https://s3.amazonaws.com").meta.client.meta.endpoint_url == HERE
    )


def test_on_aws_it_is_an_ordinary_session(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert session.client("sts", endpoint_url=AWS).meta.endpoint_url == AWS
    assert session.client("sts", region_name="eu-west-1").meta.endpoint_url == (
        "https://sts.eu-west-1.amazonaws.com"
    )


def test_it_needs_nothing_else_of_the_local_cloud() -> None:
    code = "import sys, localcloud.session; print([n for n in sys.modules if n.split('.')[0] in NAMES])"
    names = ("ministack", "psutil", "torch", "lexline")
    done = subprocess.run(
        [sys.executable, "-c", f"NAMES = {names}; {code}"], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr
