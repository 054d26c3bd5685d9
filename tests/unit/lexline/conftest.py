from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from click.testing import Result
from typer.testing import CliRunner

import lexline.target
from lexline import cli
from lexline.target import Stack, Target

ACCOUNT = "123456789012"
MACHINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:lexline-pipeline"
EXECUTION = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:lexline-pipeline:"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A target on AWS that can reach nothing; tests put a Stubber on the clients they expect to be used."""
    session = boto3.Session(aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1")
    return Target("lexline", session, {"PATH": "/usr/bin:/bin"}, tmp_path / "work")


@pytest.fixture
def stub() -> Iterator[Callable[[Any], Stubber]]:
    """Puts a Stubber on a client: it checks requests and answers against AWS's model; all must be made."""
    stubbers: list[Stubber] = []

    def activate(client: Any) -> Stubber:
        stubber = Stubber(client)
        stubber.activate()
        stubbers.append(stubber)
        return stubber

    yield activate
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


@pytest.fixture
def stack() -> Stack:
    return Stack(
        status="CREATE_COMPLETE",
        bucket="lexline-bucket",
        state_machine_arn=MACHINE,
        endpoint="lexline",
        table="lexline-waits",
        api_url="https://abc.execute-api.us-east-1.amazonaws.com/v1",
        api_key_id="keyid",
        api_authorization="API_KEY",
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with no local cloud in it, and no profile from the shell."""
    for name in ("LEXLINE_PROFILE", "LEXLINE_STACK", "LEXLINE_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LEXLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def deployed(home: Path, target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that is there, as far as the command can see."""
    monkeypatch.setattr(lexline.target, "running_local", lambda *_: target)
    monkeypatch.setattr(lexline.target, "deployed", lambda _: stack)


def run_lexline(*words: str) -> Result:
    """What the command did and said."""
    return CliRunner().invoke(cli.app, list(words))
