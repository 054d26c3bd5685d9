"""Git servers on this machine, and a repository on each."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.pipeline.git_source.git_server import HAS_GIT, SCRIPTS, Door, Files, Kind, Repository, serving


@pytest.fixture(autouse=True)
def on_the_local_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what the local cloud sets on its functions: there, a Git server may be on the same machine."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")


@pytest.fixture(
    params=[
        "dulwich",
        pytest.param("git", marks=pytest.mark.skipif(not HAS_GIT, reason="Git is not installed")),
    ]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """An empty repository, served as /scripts.git."""
    with contextlib.closing(Repository(tmp_path / "scripts.git")) as repository:
        yield repository


@pytest.fixture
def door(kind: Kind, tmp_path: Path) -> Iterator[Door]:
    with serving(tmp_path, kind) as door:
        yield door


@pytest.fixture
def url(door: Door, repository: Repository) -> str:
    return f"{door.url}/scripts.git"


@pytest.fixture
def history(repository: Repository) -> list[str]:
    """Five commits of main, oldest first."""
    commits: list[str] = []
    for number in range(5):
        commits.append(repository.commit(version(number), *commits[-1:], branch="main"))
    return commits


def version(number: int) -> Files:
    return {**SCRIPTS, "model_scripts/train.py": b"VERSION = %d\n" % number}
