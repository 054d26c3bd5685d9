"""Each version of Python is accepted, or refused with the versions that work."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from scripts.check_python import FIRST, LAST, conflict, problem
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


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("home = /usr/bin\nversion = 3.11.2\n", "Python 3.11"),
        ("version_info = 3.13.0.final.0\n", "Python 3.13"),
        ("version = 3.12.9\n", None),
        ("nothing\n", None),
        (None, None),
    ],
)
def test_an_environment_of_another_python_is_named_with_the_way_out(
    tmp_path: Path, settings: str | None, named: str | None
) -> None:
    if settings is not None:
        (tmp_path / "pyvenv.cfg").write_text(settings)
    refusal = conflict((3, 12, 1), str(tmp_path))
    assert (refusal is None) == (named is None)
    if named:
        assert f"The environment in {tmp_path} has {named}, but this is Python 3.12." in str(refusal)
        assert f"rm -r {tmp_path}" in str(refusal)


def test_make_compares_only_a_python_that_was_named_with_the_environment(tmp_path: Path) -> None:
    """A complete environment of Python 3.1: nothing is to be built, and only its version is wrong."""
    (tmp_path / "pyvenv.cfg").write_text("version = 3.1.0\n")
    for name in (".ready", "wheels"):
        (tmp_path / name).touch()

    def make(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "env", f"VENV={tmp_path}", *options],
            cwd=PROJECT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    named = make(f"PYTHON={sys.executable}")
    assert named.returncode != 0
    assert "has Python 3.1, but this is Python" in named.stderr
    assert make().returncode == 0


def test_the_package_the_template_and_the_readme_name_the_same_versions() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={SUPPORTED[0]},<{LAST[0]}.{LAST[1] + 1}"
    template = yaml_parse((PROJECT / "template.yaml").read_text())
    runtimes = template["Parameters"]["PythonRuntime"]["AllowedValues"]
    assert runtimes == [f"python{version}" for version in SUPPORTED]
    for page in ("README.md", "CONTRIBUTING.md", "Makefile"):
        assert f"Python {SUPPORTED[0]} to {SUPPORTED[-1]}" in (PROJECT / page).read_text(), page


def test_the_packages_that_build_and_name_things_are_pinned() -> None:
    """The build needs setuptools, and a dataset must have the same name on every machine."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    needed = [re.split(r"[<>=]", each)[0] for each in project["build-system"]["requires"]]
    pinned = (PROJECT / "constraints.txt").read_text()
    for name in (*needed, "python-slugify", "text-unidecode"):
        assert re.search(rf"^{name}==\d", pinned, re.MULTILINE), name
