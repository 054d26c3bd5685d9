import contextlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lexline.aws.sam import deploy, parameters_from
from lexline.aws.target import Target
from lexline.core.errors import UsageError, UserError

SAM = """#!/bin/sh
exec "{python}" - "$@" <<'END'
import json, os, sys, tempfile
tempfile.mkdtemp()
call = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
with open({calls!r}, "a") as file:
    file.write(json.dumps(call) + "\\n")
print("Building codeuri")
print("-----------")
if sys.argv[1] == os.environ.get("FAILING_COMMAND"):
    print("Error: the template is wrong", file=sys.stderr)
    sys.exit(1)
END
"""
CONFIG = """
version = 0.1
[local.deploy.parameters]
parameter_overrides = ["LogInterval=20", "Epochs=5"]
"""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Call:
    """A call of the SAM CLI."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]

    def after(self, option: str) -> list[str]:
        return self.arguments[self.arguments.index(option) + 1 :]


class Sam:
    """A SAM CLI beside this test's "Python" that records its calls."""

    def __init__(self, folder: Path) -> None:
        self.project, self.bin, self._calls = folder / "project", folder / "bin", folder / "calls"
        self.project.mkdir()
        (self.project / "samconfig.toml").write_text(CONFIG)
        self.bin.mkdir()
        (self.bin / "sam").write_text(SAM.format(python=sys.executable, calls=str(self._calls)))
        (self.bin / "sam").chmod(0o755)

    def calls(self) -> list[Call]:
        return [Call(**json.loads(line)) for line in self._calls.read_text().splitlines()]


@pytest.fixture
def sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sam:
    sam = Sam(tmp_path)
    monkeypatch.setattr(sys, "executable", str(sam.bin / "python"))
    return sam


def failing(target: Target, command: str) -> Target:
    """The target with an environment in which a command of SAM fails."""
    return replace(target, environment={**target.environment, "FAILING_COMMAND": command})


def test_sam_builds_and_deploys_with_this_python_and_parameters_override_the_configured_ones(
    target: Target, sam: Sam
) -> None:
    shown: list[str] = []
    deploy(replace(target, endpoint_url="http://127.0.0.1:1"), sam.project, {"Epochs": "2"}, shown.append)
    assert [call.arguments[0] for call in sam.calls()] == ["build", "deploy"]
    for call in sam.calls():
        assert Path(call.folder) == sam.project.resolve()
        assert call.after("--config-env")[0] == "local"
        overrides = {f"PythonRuntime=python{PYTHON}", "LogInterval=20", "Epochs=2"}
        assert set(call.after("--parameter-overrides")) == overrides
        assert call.environment["SAM_CLI_TELEMETRY"] == "0"
        assert call.environment["PATH"].startswith(f"{sam.bin}:")
        # The local cloud's functions run on this machine, so the layer needs wheels for no other.
        assert call.environment["LAYER_TARGETS"].startswith(f"{PYTHON}-")
    # Lines that only draw are left out.
    assert shown == ["sam build: Building codeuri", "sam deploy: Building codeuri"]


def test_aws_uses_the_default_configuration(target: Target, sam: Sam) -> None:
    deploy(target, sam.project, {}, lambda line: None)
    _, call = sam.calls()
    assert call.after("--config-env")[0] == "default"
    assert "LogInterval=20" not in call.arguments
    assert "LAYER_TARGETS" not in call.environment


@pytest.mark.parametrize("command", ["", "deploy"])
def test_sam_leaves_no_temporary_file(target: Target, sam: Sam, command: str) -> None:
    with contextlib.suppress(UserError):
        deploy(failing(target, command), sam.project, {}, lambda line: None)
    folders = [Path(call.environment["TMPDIR"]) for call in sam.calls()]
    assert len(folders) == 2
    assert not any(folder.exists() for folder in folders)


def test_if_sam_fails_the_end_of_its_output_is_shown_and_nothing_is_deployed(
    target: Target, sam: Sam
) -> None:
    with pytest.raises(UserError, match="the template is wrong") as error:
        deploy(failing(target, "build"), sam.project, {}, lambda line: None)
    assert "sam.log" in error.value.hint
    assert len(sam.calls()) == 1


def test_parameters_are_name_and_value() -> None:
    for invalid in ("Epochs", "=3", "Ep ochs=3"):
        with pytest.raises(UsageError, match="is invalid"):
            parameters_from([invalid])
    assert parameters_from(["Lr=20", "Tokenizer=a=b"]) == {"Lr": "20", "Tokenizer": "a=b"}
