"""The clients that people use, run as they are in their own environment against the shared local cloud."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.e2e.command import lexline
from tests.stack import PROJECT, DeployedStack

CLIENTS = PROJECT / ".venv-clients"
PROGRAMS = Path(__file__).with_name("programs")
_PATIENCE = 840.0
_NO_TELEMETRY = """
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""
"""Every call of the SDK would send a request to AWS otherwise, and wait for it."""


class Clients:
    """Runs programs of the clients' environment in the environment that `lexline env` prints."""

    def __init__(self, stack: DeployedStack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        settings = directory / "sagemaker.yaml"
        settings.write_text(_NO_TELEMETRY)
        # The SDK clones Git repositories into temporary folders, and leaves them there.
        temporary = directory / "tmp"
        temporary.mkdir()
        printed = lexline(stack, "env", "--format", "json")
        assert printed.returncode == 0, printed.stderr
        variables: dict[str, str] = json.loads(printed.stdout)
        self.environment = {
            "PATH": f"{CLIENTS / 'bin'}:/usr/bin:/bin",
            "HOME": str(directory),
            "TMPDIR": str(temporary),
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
            "LANG": "C.UTF-8",
            **variables,
        }

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, code: int = 0
    ) -> str:
        """Run a command in the directory, check its exit code, and return what it printed."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE,
        )
        assert done.returncode == code, done.stdout[-6000:]
        return done.stdout

    def program(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a program of the folder programs/ and return what it printed."""
        return self.run(["python", str(PROGRAMS / name), *arguments], environment=environment)


@pytest.fixture(scope="session")
def clients(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    assert (CLIENTS / ".ready").exists(), "Create the clients' environment: make test-clients"
    return Clients(stack, tmp_path_factory.mktemp("clients"))
