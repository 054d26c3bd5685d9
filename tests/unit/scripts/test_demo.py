"""scripts/demo.sh, with a stand-in for the command `lexline`."""

import os
import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[3] / "scripts" / "demo.sh"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets the name of each command of `lexline` that the demo calls."""
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    for name, script in {"lexline": f'echo "$1" >> "{calls}"', "python": ":"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("PLAYGROUND", raising=False)
    return calls


def test_the_demo_deletes_everything_at_its_end(commands: Path, tmp_path: Path) -> None:
    subprocess.run([DEMO], check=True, stdout=subprocess.DEVNULL)
    called = commands.read_text().split()
    assert (called[0], called[-1]) == ("up", "down")
    assert list(tmp_path.glob("lexline-demo.*")) == []


def test_the_demo_deletes_everything_if_nobody_reads_its_output(commands: Path, tmp_path: Path) -> None:
    with subprocess.Popen([DEMO], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as demo:
        assert demo.stdout is not None
        demo.stdout.close()
    assert commands.read_text().split()[-1] == "down"
    assert list(tmp_path.glob("lexline-demo.*")) == []
