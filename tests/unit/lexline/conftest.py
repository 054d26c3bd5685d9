"""A stack on AWS that cannot be reached: tests say which requests are made, and what AWS returns."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner, Result

from lexline.aws.stack import Stack
from lexline.aws.target import Target
from lexline.cli import app
from tests.unit.lexline.samples import MACHINE, WHEN

Patch = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment variable names a profile, credentials or colors."""
    for name in os.environ:
        if name.startswith(("AWS_", "LEXLINE_")):
            monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment variable names a proxy, a host without one, or certificates."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.endswith("CA_BUNDLE"):
            monkeypatch.delenv(name)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    session = boto3.Session(aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1")
    return Target("lexline", session, {"PATH": "/usr/bin:/bin"}, tmp_path / "work")


@pytest.fixture
def stack(target: Target) -> Stack:
    return Stack(
        target=target,
        status="CREATE_COMPLETE",
        bucket="lexline-bucket",
        state_machine_arn=MACHINE,
        endpoint="lexline",
        table="lexline-waits",
        topic_arn="arn:aws:sns:us-east-1:123456789012:lexline-results",
        api_url="https://abc.execute-api.us-east-1.amazonaws.com/v1",
        api_key_id="keyid",
    )


class Stubs:
    """Stubbers of the target's clients. They check requests and responses against AWS's models."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stubbers: dict[str, Stubber] = {}

    def __getattr__(self, service: str) -> Stubber:
        if service not in self._stubbers:
            self._stubbers[service] = Stubber(getattr(self._target, service))
            self._stubbers[service].activate()
        return self._stubbers[service]

    def returns(self, service: str, operation: str, request: Any = None, /, **response: Any) -> None:
        """Expect a request and return this response, completed by the members that AWS requires."""
        client = getattr(self._target, service)
        model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
        getattr(self, service).add_response(operation, completed(model.output_shape, response), request)

    def assert_complete(self) -> None:
        """Check that every expected request was made."""
        for stubber in self._stubbers.values():
            stubber.assert_no_pending_responses()


def completed(shape: Any, given: Any) -> Any:
    """Return a value with the required members of its shape."""
    if shape.type_name == "structure":
        names = [*shape.required_members, *(given or {})]
        return {name: completed(shape.members[name], (given or {}).get(name)) for name in names}
    if shape.type_name == "list":
        return [completed(shape.member, each) for each in given or []]
    samples = {"timestamp": WHEN, "integer": 1, "long": 1, "float": 1.0}
    return samples.get(shape.type_name, "x" * shape.metadata.get("min", 1)) if given is None else given


@pytest.fixture
def stubs(target: Target) -> Iterator[Stubs]:
    """stubs.SERVICE: the stubber of a client. All expected requests must be made."""
    stubs = Stubs(target)
    yield stubs
    stubs.assert_complete()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a local cloud."""
    monkeypatch.setenv("LEXLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> Patch:
    """patch("module.function", value): replace a function; a value that is not callable is its result."""

    def replace(name: str, value: object) -> None:
        monkeypatch.setattr(f"lexline.{name}", value if callable(value) else lambda *_, **__: value)

    return replace


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises an error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.fixture
def deployed(home: Path, stack: Stack, patch: Patch) -> Stack:
    """A deployed stack, as far as the command can see."""
    patch("aws.target.for_running_cloud", stack.target)
    patch("aws.stack.read", stack)
    return stack


def run_lexline(*arguments: str, answer: str | None = None, color: bool = False) -> Result:
    """Return the output and the exit code of the command."""
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(app, list(arguments), input=answer, color=color)
