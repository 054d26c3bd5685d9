"""The owner's side of the supervisor: start a command, hear its lines, stop it, know that nothing is left."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_SUPERVISOR = Path(__file__).parent / "programs" / "supervisor.py"
_MARK = "LOCALCLOUD_PROCESS"
_TEMPORARY = Path("/tmp")  # noqa: S108 - each directory in it has a random name and is private
_LONGEST_LINE = 256 * 1024 - 26
"""Bytes; a CloudWatch Logs event holds 256 KiB, 26 bytes of them its own. A longer line becomes several."""

_INHERITED = (
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
)
_INHERITED_FAMILIES = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

log = logging.getLogger(__name__)


def container_environment(aws: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that stands for a container.

    aws: how it reaches AWS, and as whom; the machine's own AWS configuration is kept out.
    declared: what the request's Environment asks for, which wins, as it does in a container.

    This environment's programs come first on PATH. Of the server's variables only those pass that say where
    things are on this machine, never its credentials.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.upper().startswith(_INHERITED_FAMILIES)
    }
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        "LANG": "C.UTF-8",
        **inherited,
        "PATH": os.pathsep.join(programs),
        "PYTHONUNBUFFERED": "1",  # as in AWS's images: a line is heard when it is printed
        "PYTHONIOENCODING": "utf-8",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Instances here share the processors. OpenMP's threads spin while they wait, as if they were alone:
        # two torch processes side by side then ran 10 to 50 times slower on two cores.
        "OMP_WAIT_POLICY": "passive",
        **aws,
        **declared,
    }


class Process:
    """A command under a supervisor. It runs from construction on; nothing of it outlives this program.

    TMPDIR is a directory of its own with a short path: sockets live there, and their paths hold 107 bytes at
    most, which a job's directory deep in someone's home would use up.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> None:
        """on_line hears each line of standard output and error, without its end, on a thread of its own.

        Raises OSError when the supervisor cannot be started.
        """
        name = uuid.uuid4().hex
        self._mark = f"{_MARK}={name}".encode()
        self._temporary = _TEMPORARY / f"localcloud-{name[:12]}"
        self._temporary.mkdir(mode=0o700)
        report, report_end = os.pipe()
        try:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", _SUPERVISOR, str(report_end), self._temporary, *command],
                cwd=directory,
                env={**environment, "TMPDIR": str(self._temporary), _MARK: name},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[report_end],
                start_new_session=True,
                bufsize=0,
            )
        except OSError:
            os.close(report)
            self._temporary.rmdir()
            raise
        finally:
            os.close(report_end)
        self._on_line = on_line
        self._control = threading.Lock()
        self._started = threading.Event()
        self._ended = threading.Event()
        self._pid: int | None = None
        self._exit_code: int | None = None
        self._reader = threading.Thread(target=self._read, name="process-output", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, args=[report], name="process-exit", daemon=True).start()

    @property
    def pid(self) -> int:
        """The command's process id; ProcessLookupError when it never started."""
        self._started.wait()
        if self._pid is None:
            raise ProcessLookupError("the command did not start")
        return self._pid

    @property
    def supervisor_pid(self) -> int:
        """The process id of the command's supervisor."""
        return self._supervisor.pid

    @property
    def running(self) -> bool:
        """Whether some of the command may still run, or some of its lines are still to be heard."""
        return not self._ended.is_set()

    @property
    def exit_code(self) -> int | None:
        """After the end: the exit code, negative for a signal; None if the supervisor was killed first."""
        return self._exit_code

    def stop(self, grace: float) -> None:
        """Ask the whole tree to end: SIGTERM now, SIGKILL after grace seconds. Returns at once."""
        with self._control, contextlib.suppress(OSError, ValueError):
            assert self._supervisor.stdin
            self._supervisor.stdin.write(f"stop {grace}\n".encode())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no process is left and every line was heard; False when that takes longer."""
        return self._ended.wait(timeout)

    def _read(self) -> None:
        assert self._supervisor.stdout
        with os.fdopen(os.dup(self._supervisor.stdout.fileno()), "rb") as output:
            while line := output.readline(_LONGEST_LINE):
                try:
                    self._on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
                except Exception:  # what cannot be logged must not stop the job by a full pipe
                    log.exception("a line of output could not be passed on")

    def _watch(self, report: int) -> None:
        with os.fdopen(report) as lines:
            for line in lines:
                word, _, value = line.strip().partition(" ")
                if word == "started":
                    self._pid = int(value)
                    self._started.set()
                else:
                    self._exit_code = int(value)
        self._supervisor.wait()
        self._started.set()
        if self._exit_code is None:
            self._kill_orphans()
            shutil.rmtree(self._temporary, ignore_errors=True)
        self._reader.join()
        with self._control:
            for pipe in (self._supervisor.stdin, self._supervisor.stdout):
                assert pipe
                pipe.close()
        self._ended.set()

    def _kill_orphans(self) -> None:
        """End what a killed supervisor could not: everything that still carries this command's mark."""
        while orphans := [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and self._marked(entry)
        ]:
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _marked(self, entry: Path) -> bool:
        try:
            return self._mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            return False
