"""Each version of Python is accepted, or refused with the versions that work."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from scripts.check_python import FIRST, LAST, problem
from tests.stack import PROJECT

SUPPORTED = [f"{FIRST[0]}.{minor}" for minor in range(FIRST[1], LAST[1] + 1)]


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 11, 2), (3, 12, 1), (3, 13, 9)])
def test_a_supported_version_needs_only_the_module_for_environments(version: tuple[int, ...]) -> None:
    assert problem(version, can_create=True) is None
    assert f"apt-get install python3.{version[1]}-venv" in str(problem(version, can_create=False))


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 14, 0)])
def test_another_version_is_refused_with_those_that_work(version: tuple[int, ...]) -> None:
    refusal = str(problem(version, can_create=True))
    assert ", ".join(SUPPORTED) in refusal
    assert ".".join(map(str, version)) in refusal


def test_make_env_refuses_before_it_creates_anything(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 'Lexline runs on other versions.' >&2\nexit 1\n")
    old.chmod(0o755)
    environment = tmp_path / "environment"
    done = subprocess.run(
        ["make", "env", f"PYTHON={old}", f"VENV={environment}"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Lexline runs on other versions." in done.stderr
    assert done.returncode != 0
    assert not environment.exists()


def test_the_package_the_template_and_the_readme_name_the_same_versions() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={SUPPORTED[0]},<{LAST[0]}.{LAST[1] + 1}"
    template = yaml_parse((PROJECT / "template.yaml").read_text())
    runtimes = template["Parameters"]["PythonRuntime"]["AllowedValues"]
    assert runtimes == [f"python{version}" for version in SUPPORTED]
    for page in ("README.md", "CONTRIBUTING.md", "Makefile"):
        assert f"Python {SUPPORTED[0]} to {SUPPORTED[-1]}" in (PROJECT / page).read_text(), page
