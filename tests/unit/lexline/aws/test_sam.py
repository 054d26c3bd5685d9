import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lexline.aws.sam import deploy
from lexline.aws.target import Target
from lexline.core.errors import UserError

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


Calls = Callable[[], list[SimpleNamespace]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "samconfig.toml").write_text(CONFIG)
    return folder


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """API Gateway's settings of the account, which has a role for logs."""
    settings = {"cloudwatchRoleArn": "arn:aws:iam::123456789012:role/logs"}
    monkeypatch.setattr(Target, "apigateway", SimpleNamespace(get_account=lambda: settings))
    return settings


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """calls(): the calls of the SAM CLI beside this test's "Python"."""
    sam, log = tmp_path / "bin" / "sam", tmp_path / "calls"
    sam.parent.mkdir()
    sam.write_text(SAM.format(python=sys.executable, calls=str(log)))
    sam.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sam.with_name("python")))
    return lambda: [SimpleNamespace(**json.loads(line)) for line in log.read_text().splitlines()]


def after(option: str, call: SimpleNamespace) -> list[str]:
    arguments: list[str] = call.arguments
    return arguments[arguments.index(option) + 1 :]


def failing(target: Target, command: str) -> Target:
    """The target with an environment in which a command of SAM fails."""
    return replace(target, environment={**target.environment, "FAILING_COMMAND": command})


def test_sam_builds_and_deploys_with_this_python_and_parameters_override_the_configured_ones(
    target: Target, project: Path, calls: Calls
) -> None:
    shown: list[str] = []
    deploy(replace(target, endpoint_url="http://127.0.0.1:1"), project, {"Epochs": "2"}, shown.append)
    assert [call.arguments[0] for call in calls()] == ["build", "deploy"]
    for call in calls():
        assert Path(call.folder) == project.resolve()
        assert after("--config-env", call)[0] == "local"
        overrides = {f"PythonRuntime=python{PYTHON}", "LogInterval=20", "Epochs=2"}
        assert set(after("--parameter-overrides", call)) == overrides
        assert call.environment["SAM_CLI_TELEMETRY"] == "0"
        assert call.environment["PATH"].startswith(f"{project.parent / 'bin'}:")
        # The local cloud's functions run on this machine, so the layer needs wheels for no other.
        assert call.environment["LAYER_TARGETS"].startswith(f"{PYTHON}-")
        assert call.environment["WHEELS"] == str(Path(sys.prefix) / "wheels")
        # SAM's own pause between two looks, 5 seconds, is longer than a local deployment takes.
        assert float(call.environment["SAM_CLI_POLL_DELAY"]) < 1
    # Lines that only draw are left out.
    assert shown == ["sam build: Building codeuri", "sam deploy: Building codeuri"]


def test_a_configured_parameter_that_is_given_twice_is_refused_by_the_files_name(
    target: Target, project: Path
) -> None:
    (project / "samconfig.toml").write_text(CONFIG.replace("Epochs=5", "LogInterval=50"))
    with pytest.raises(UserError, match=r"^In samconfig\.toml, .* \[local\]: LogInterval is given twice"):
        deploy(replace(target, endpoint_url="http://127.0.0.1:1"), project, {}, lambda line: None)


def test_aws_uses_the_default_configuration(target: Target, project: Path, calls: Calls) -> None:
    deploy(target, project, {}, lambda line: None)
    _, call = calls()
    assert after("--config-env", call)[0] == "default"
    assert "LogInterval=20" not in call.arguments
    assert not {"LAYER_TARGETS", "WHEELS", "SAM_CLI_POLL_DELAY"} & set(call.environment)


@pytest.mark.parametrize(
    ("has_role", "given", "expected"),
    [(True, {}, ""), (False, {}, "CREATE"), (False, {"ApiLogsRole": "EXISTING"}, "EXISTING")],
)
def test_the_accounts_role_for_logs_is_created_only_where_there_is_none(
    target: Target,
    project: Path,
    calls: Calls,
    account: dict[str, str],
    has_role: bool,
    given: dict[str, str],
    expected: str,
) -> None:
    if not has_role:
        del account["cloudwatchRoleArn"]
    deploy(target, project, given, lambda line: None)
    *_, call = calls()
    chosen = [each for each in after("--parameter-overrides", call) if each.startswith("ApiLogsRole=")]
    assert chosen == ([f"ApiLogsRole={expected}"] if expected else [])


@pytest.mark.parametrize("command", ["", "deploy"])
def test_sam_leaves_no_temporary_file(target: Target, project: Path, calls: Calls, command: str) -> None:
    with contextlib.suppress(UserError):
        deploy(failing(target, command), project, {}, lambda line: None)
    folders = [Path(call.environment["TMPDIR"]) for call in calls()]
    assert len(folders) == 2
    assert not any(folder.exists() for folder in folders)


def test_if_sam_fails_the_end_of_its_output_is_shown_and_nothing_is_deployed(
    target: Target, project: Path, calls: Calls
) -> None:
    with pytest.raises(UserError, match="the template is wrong") as error:
        deploy(failing(target, "build"), project, {}, lambda line: None)
    assert "sam.log" in error.value.hint
    assert len(calls()) == 1
