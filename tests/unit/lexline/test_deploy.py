import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lexline.deploy import deploy, parameters_from
from lexline.errors import UsageError, UserError
from lexline.target import Target

SAM = """#!{python}
import json, os, sys, tempfile
tempfile.mkdtemp()
call = {{"arguments": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}}
with open({record!r}, "a") as file:
    file.write(json.dumps(call) + "\\n")
print("Building codeuri")
print("-----------")
if sys.argv[1] == {fails!r}:
    print("Error: the template is wrong", file=sys.stderr)
    sys.exit(1)
"""
CONFIG = """
version = 0.1
[local.deploy.parameters]
parameter_overrides = ["LogInterval=20", "Epochs=5"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "samconfig.toml").write_text(CONFIG)
    return folder


def install_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> Path:
    """A `sam` beside this test's "Python", which writes down how it was called."""
    record = tmp_path / "calls"
    sam = tmp_path / "bin" / "sam"
    sam.parent.mkdir()
    sam.write_text(SAM.format(python=sys.executable, record=str(record), fails=fails))
    sam.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sam.with_name("python")))
    return record


def calls(record: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in record.read_text().splitlines()]


def overrides(arguments: object) -> set[str]:
    assert isinstance(arguments, list)
    return set(arguments[arguments.index("--parameter-overrides") + 1 :])


def test_builds_then_deploys_with_this_python_and_parameters_over_the_configured_ones(
    target: Target, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = install_sam(tmp_path, monkeypatch)
    said: list[str] = []
    deploy(replace(target, endpoint_url="http://127.0.0.1:1"), project, {"Epochs": "2"}, said.append)
    build, deployment = calls(record)
    assert build["cwd"] == deployment["cwd"] == str(project)
    python = f"PythonRuntime=python{sys.version_info.major}.{sys.version_info.minor}"
    for call in (build, deployment):
        arguments = call["arguments"]
        assert isinstance(arguments, list)
        assert arguments[arguments.index("--config-env") + 1] == "local"
        assert overrides(arguments) == {python, "LogInterval=20", "Epochs=2"}
        environment = call["environment"]
        assert isinstance(environment, dict)
        assert environment["SAM_CLI_TELEMETRY"] == "0"
        assert environment["PATH"].startswith(f"{tmp_path}/bin:")
        # The local cloud's functions run here, so their layer needs no other machine's wheels.
        assert environment["LAYER_TARGETS"].startswith(python.removeprefix("PythonRuntime=python") + "-")
    # Lines that only draw are not worth showing.
    assert said == ["sam build: Building codeuri", "sam deploy: Building codeuri"]


def test_aws_uses_the_default_configuration(
    target: Target, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = install_sam(tmp_path, monkeypatch)
    deploy(target, project, {}, lambda line: None)
    arguments = calls(record)[1]["arguments"]
    assert isinstance(arguments, list)
    assert arguments[arguments.index("--config-env") + 1] == "default"
    assert "LogInterval=20" not in arguments
    environment = calls(record)[0]["environment"]
    assert isinstance(environment, dict)
    assert "LAYER_TARGETS" not in environment


@pytest.mark.parametrize("fails", ["", "deploy"])
def test_sam_leaves_no_temporary_file(
    target: Target, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    record = install_sam(tmp_path, monkeypatch, fails)
    with contextlib.suppress(UserError):
        deploy(target, project, {}, lambda line: None)
    environments = [call["environment"] for call in calls(record)]
    assert len(environments) == 2
    for environment in environments:
        assert isinstance(environment, dict)
        assert not Path(environment["TMPDIR"]).exists()


def test_when_sam_fails_its_last_words_are_shown_and_nothing_is_deployed(
    target: Target, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = install_sam(tmp_path, monkeypatch, fails="build")
    with pytest.raises(UserError, match="the template is wrong") as failure:
        deploy(target, project, {}, lambda line: None)
    assert "sam.log" in failure.value.hint
    assert len(calls(record)) == 1


@pytest.mark.parametrize("word", ["Epochs", "=3", "Ep ochs=3"])
def test_parameters_are_name_and_value(word: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        parameters_from([word])
    assert parameters_from(["Lr=20", "Tokenizer=a=b"]) == {"Lr": "20", "Tokenizer": "a=b"}
