"""No process of a supervised command outlives the command, its supervisor or its owner."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localcloud.sagemaker.processes.supervised_process import Process
from tests.unit.localcloud.sagemaker.processes.helpers import (
    DEADLINE,
    environment_with_repository,
    processes_naming,
    wait_for,
)

Start = Callable[..., Process]

FAMILY = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()                                     # a daemon of its own session
    signal.signal(signal.SIGTERM, signal.SIG_IGN)   # that does not want to go
    if os.fork() != 0:
        os._exit(0)
    print("daemon", flush=True)
    time.sleep(600)
time.sleep(600)
"""
"""A command with a grandchild in a session of its own, without its parent, that ignores SIGTERM."""


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def start(tmp_path: Path, lines: list[str]) -> Start:
    def run(script: str, *arguments: str) -> Process:
        environment = {**os.environ, "TEST_DIRECTORY": str(tmp_path)}
        return Process(
            [sys.executable, "-u", "-c", script, *arguments],
            directory=tmp_path,
            environment=environment,
            on_line=lines.append,
        )

    return run


def test_output_and_exit_code_arrive(start: Start, lines: list[str]) -> None:
    process = start("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert process.wait(DEADLINE)
    assert sorted(lines) == ["err", "out"]
    assert process.exit_code == 3


def test_a_signal_is_a_negative_exit_code(start: Start) -> None:
    process = start("import os; os.kill(os.getpid(), 11)")
    assert process.wait(DEADLINE)
    assert process.exit_code == -signal.SIGSEGV


def test_a_command_that_does_not_exist_exits_with_127(tmp_path: Path, lines: list[str]) -> None:
    process = Process(["/nowhere/train"], directory=tmp_path, environment={}, on_line=lines.append)
    assert process.wait(DEADLINE)
    assert process.exit_code == 127
    assert lines == ["/nowhere/train: No such file or directory"]


@pytest.mark.parametrize("victim", ["command", "supervisor"])
def test_a_killed_command_or_supervisor_takes_the_whole_family_with_it(
    start: Start, tmp_path: Path, lines: list[str], victim: str
) -> None:
    process = start(FAMILY)
    wait_for(lambda: "daemon" in lines, "the daemon")
    os.kill(process.pid if victim == "command" else process.supervisor_pid, signal.SIGKILL)
    assert process.wait(DEADLINE)
    assert process.exit_code == (-signal.SIGKILL if victim == "command" else None)
    assert processes_naming(str(tmp_path)) == []


def test_a_process_whose_first_thread_has_ended_is_killed_too(start: Start, lines: list[str]) -> None:
    """The kernel shows it as a zombie, although its other threads still run."""
    process = start(
        "import ctypes, os, threading, time\n"
        "if os.fork() == 0:\n"
        "    def work():\n"
        "        while not open('/proc/self/stat').read().rpartition(')')[2].startswith(' Z'):\n"
        "            time.sleep(0.01)\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(600)\n"
        "    threading.Thread(target=work).start()\n"
        "    ctypes.CDLL(None).pthread_exit(None)\n"
        "time.sleep(600)"
    )
    wait_for(lambda: lines != [], "the thread")
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(DEADLINE)
    assert not Path("/proc", lines[0]).exists()


def test_stop_kills_processes_that_ignore_sigterm_after_the_grace_time(
    start: Start, tmp_path: Path, lines: list[str]
) -> None:
    process = start(FAMILY)
    wait_for(lambda: "daemon" in lines, "the daemon")
    process.stop(grace=0.2)
    assert process.wait(DEADLINE)
    assert processes_naming(str(tmp_path)) == []


def test_a_stopped_script_can_finish_and_its_output_arrives(start: Start, lines: list[str]) -> None:
    relay = (
        "import subprocess, sys\n"
        "sys.exit(subprocess.run([sys.executable, '-u', '-c', sys.argv[1]]).returncode)"
    )
    script = (
        "import signal, sys, time\n"
        "def save(*_):\n    time.sleep(0.3); print('saved'); sys.exit(5)\n"
        "signal.signal(signal.SIGTERM, save)\nprint('training'); time.sleep(600)"
    )
    process = start(relay, script)
    wait_for(lambda: "training" in lines, "the script")
    process.stop(grace=60)
    assert process.wait(DEADLINE)
    assert lines == ["training", "saved"]
    assert process.exit_code == 5


@pytest.mark.parametrize("victim", ["command", "supervisor"])
def test_temporary_files_end_with_the_command(start: Start, lines: list[str], victim: str) -> None:
    process = start(
        "import os, socket, tempfile, time\n"
        "directory = tempfile.mkdtemp()\n"
        "socket.socket(socket.AF_UNIX).bind(os.path.join(directory, 'listener-' + 40 * 'x'))\n"
        "print(directory)\ntime.sleep(600)"
    )
    wait_for(lambda: lines != [], "the directory's name")
    directory = Path(lines[0]).parent
    assert directory.is_dir()
    os.kill(process.pid if victim == "command" else process.supervisor_pid, signal.SIGKILL)
    assert process.wait(DEADLINE)
    assert not directory.exists()


def test_a_killed_owner_takes_the_whole_family_with_it(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, pathlib, sys, time\n"
            "from localcloud.sagemaker.processes.supervised_process import Process\n"
            "Process([sys.executable, '-u', '-c', sys.argv[1]], directory=pathlib.Path(sys.argv[2]),\n"
            "        environment={**os.environ, 'TEST_DIRECTORY': sys.argv[2]},\n"
            "        on_line=lambda line: print(line, flush=True))\n"
            "time.sleep(600)",
            FAMILY,
            str(tmp_path),
        ],
        env=environment_with_repository(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout
    with owner.stdout as output:
        assert output.readline() == "daemon\n"
    owner.kill()
    owner.wait()
    wait_for(lambda: processes_naming(str(tmp_path)) == [], "the whole family to end")


def test_a_very_long_line_is_split_to_fit_cloudwatch(start: Start, lines: list[str]) -> None:
    process = start("print('x' * 600_000)")
    assert process.wait(DEADLINE)
    assert "".join(lines) == "x" * 600_000
    assert max(map(len, lines)) <= 262_144 - 26
