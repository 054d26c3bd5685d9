"""The files that are as large as the corpus: where they are, and that none are left."""

import signal
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest

import epoch_loop
from tests.unit.model_scripts.conftest import UNTIL_SIGTERM, Job, Patch, wait_for
from tests.unit.model_scripts.forks import ForkServer

IN_FOLDER = "import tempfile\ntempfile.tempdir = {folder!r}"

AFTER_READING = """
import time, train
own_fit = train.fit
def fit(*arguments):
    while True:
        print("waiting for SIGTERM", flush=True)
        time.sleep(0.05)
train.fit = fit
"""

WHILE_PROCESSES_READ = """
import os, time, host_processes, numbered_text
numbered_text.BYTES_OF_A_PROCESS = 100
host_processes.own_processors = lambda: 2
own_number = numbered_text._number
def _number(*arguments, **options):
    own_number(*arguments, **options)
    while True:
        print(f"waiting for SIGTERM, process {os.getpid()}.", flush=True)
        time.sleep(0.05)
numbered_text._number = _number
"""


@pytest.mark.parametrize("before", [AFTER_READING, WHILE_PROCESSES_READ, UNTIL_SIGTERM])
def test_sigterm_leaves_no_files_and_no_processes(
    before: str, job: Job, tmp_path: Path, fork_server: ForkServer
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    fork = job.start(fork_server, before=IN_FOLDER.format(folder=str(folder)) + before, epochs=3)
    expected = 2 if before is WHILE_PROCESSES_READ else 1
    wait_for(lambda: len(waiting(fork.log)) >= expected)
    assert any(path.is_file() for path in folder.rglob("*"))
    children = psutil.Process(fork.pid).children()
    assert len(children) == (2 if before is WHILE_PROCESSES_READ else 0)
    fork.signal(signal.SIGTERM)
    assert fork.wait() == 128 + signal.SIGTERM, fork.log.read_text()
    assert not [*folder.iterdir()]
    assert not any(child.is_running() for child in children)
    assert "Traceback" not in fork.log.read_text()


def waiting(log: Path) -> set[str]:
    return {line for line in log.read_text().splitlines() if line.startswith("waiting for SIGTERM")}


@pytest.mark.parametrize("settings", [{}, {"lr": 1e30, "clip": 1e30}])
def test_neither_success_nor_an_error_leaves_files(
    settings: dict[str, float], job: Job, tmp_path: Path, monkeypatch: Patch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    handler = signal.getsignal(signal.SIGTERM)
    assert job.run(epochs=1, **settings) == (1 if settings else 0)
    assert not [*(tmp_path / "temporary").iterdir()]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_training_and_evaluation_read_the_text_from_mapped_files(job: Job, monkeypatch: Patch) -> None:
    """The memory of a job does not grow with the corpus: no array holds the tokens of a split."""
    seen = []
    own_init = epoch_loop.Training.__init__

    def init(self: epoch_loop.Training, *arguments: object) -> None:
        own_init(self, *arguments)  # type: ignore[arg-type]
        seen.extend([self.columns, self.valid.own])

    monkeypatch.setattr(epoch_loop.Training, "__init__", init)
    assert job.run(epochs=1) == 0
    assert len(seen) == 2
    for tokens in seen:
        assert isinstance(tokens, np.memmap)
