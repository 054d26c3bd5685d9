"""Trainings in child processes that run in turn, so that both have the same machine in the same minutes.

Between its turns a training is suspended (SIGSTOP): it uses no processor, and its time is not counted. A turn
ends when the script prints a line with `step=n/of`, which both loops print every so many batches.
"""

import contextlib
import ctypes
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

STEP = re.compile(r"\bstep=(\d+)/(\d+)")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Turn:
    """A turn of a training.

    Attributes:
        step: The batches done at its end, in this epoch.
        of: The batches of an epoch.
        seconds: Its duration.
    """

    step: int
    of: int
    seconds: float


class TrainingFailed(Exception):
    """A training script failed. The message contains the end of its log."""


class Training:
    """A training script that starts at its first turn. `seconds` is the duration of its turns.

    Use it as a context manager, which ends the process.
    """

    def __init__(self, command: Sequence[object], environment: Mapping[str, str], directory: Path) -> None:
        self.command = [str(word) for word in command]
        self.environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self.directory = directory
        self.turns: list[Turn] = []
        self.log: list[str] = []
        self.seconds = 0.0
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill the process, if it has not ended by itself."""
        if self.process is None:
            return
        if self.process.poll() is None:
            # Its children too: they may have left its process group, as torchrun's ranks do.
            started = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            for process in started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def take_turn(self, hold: bool = True) -> Turn | None:
        """Let the script run up to its next step line.

        Args:
            hold: Whether to suspend it there.

        Returns:
            The turn, or None if the script has ended.

        Raises:
            TrainingFailed: The script ended with an error.
        """
        started = time.perf_counter()
        line = self._until_step(hold)
        spent = time.perf_counter() - started
        self.seconds += spent
        if line is None:
            return None
        self.turns.append(Turn(int(line[1]), int(line[2]), spent))
        return self.turns[-1]

    def figure(self, name: str) -> float:
        """Return the last number logged as `name=number`. Raises TrainingFailed if there is none."""
        found = self.figure_if_logged(name)
        if found is None:
            raise TrainingFailed(f"{' '.join(self.command)} logged no {name}.")
        return found

    def figure_if_logged(self, name: str) -> float | None:
        """Return the last number logged as `name=number`, or None if there is none."""
        found = re.findall(rf"\b{name}=(-?[\d.]+(?:e[-+]?\d+)?|inf|nan)(?!\S)", "\n".join(self.log))
        return float(found[-1]) if found else None

    def _until_step(self, hold: bool) -> re.Match[str] | None:
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        else:
            self._signal(signal.SIGCONT)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line.rstrip())
            if match := STEP.search(line):
                if hold:
                    self._signal(signal.SIGSTOP)
                return match
        if self.process.wait():
            raise TrainingFailed(
                f"{' '.join(self.command)} ended with code {self.process.returncode}:\n"
                + "\n".join(self.log[-15:])
            )
        return None

    def _signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)


def die_with_parent() -> None:
    """Make the kernel kill this process, suspended or not, when its parent is killed."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def batches_per_second(turns: Sequence[Turn]) -> list[float]:
    """Return the speed in each turn, except the first, with start-up, and turns that end an epoch."""
    return [
        (now.step - before.step) / now.seconds
        for before, now in itertools.pairwise(turns)
        if now.step > before.step
    ]
