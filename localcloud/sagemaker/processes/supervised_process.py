"""The owner's side of a supervised command: start it, read its output, stop it, wait until nothing is left.

programs/supervisor.py is the other side.
"""

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
"""Bytes. A CloudWatch Logs event holds 256 KiB, of which 26 bytes are overhead. Longer lines are split."""

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
    """Return the environment of a process that stands for a container.

    This environment's programs come first on PATH. The process inherits only variables that describe this
    machine, never the server's credentials or AWS configuration.

    Args:
        aws: The variables that give the process its AWS endpoint and credentials.
        declared: The request's Environment. It overrides all other variables, as in a container.
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
        "PYTHONUNBUFFERED": "1",  # as in AWS's images: a line arrives when it is printed
        "PYTHONIOENCODING": "utf-8",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # All instances share this machine's cores, and waiting OpenMP threads spin by default. On two cores,
        # two torch processes side by side then ran 10 to 50 times slower.
        "OMP_WAIT_POLICY": "passive",
        **aws,
        **declared,
    }


class Process:
    """A command under a supervisor. It starts on construction and never outlives this program.

    TMPDIR is a directory of its own with a short path. Sockets live there, and a socket's path holds at most
    107 bytes, fewer than a job's directory may need.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> None:
        """Start the command.

        Args:
            command: Program and arguments.
            directory: The working directory.
            environment: The whole environment.
            on_line: Called, on a thread of its own, with each line of standard output and error.

        Raises:
            OSError: The supervisor cannot be started.
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
        """The command's process id; raises ProcessLookupError if it did not start."""
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
        """Whether a process of the command may still run, or output is still unread."""
        return not self._ended.is_set()

    @property
    def exit_code(self) -> int | None:
        """The exit code after the end, negative for a signal; None if the supervisor was killed first."""
        return self._exit_code

    def stop(self, grace: float) -> None:
        """Send SIGTERM to all processes of the command, SIGKILL after `grace` seconds; return immediately."""
        with self._control, contextlib.suppress(OSError, ValueError):
            assert self._supervisor.stdin
            self._supervisor.stdin.write(f"stop {grace}\n".encode())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no process is left and all output is read; return False on a time-out."""
        return self._ended.wait(timeout)

    def _read(self) -> None:
        assert self._supervisor.stdout
        with os.fdopen(os.dup(self._supervisor.stdout.fileno()), "rb") as output:
            while line := output.readline(_LONGEST_LINE):
                try:
                    self._on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
                except Exception:  # A failure of the log must not block the job on a full pipe.
                    log.exception("Could not pass on a line of output")

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
        """Kill every process with this command's mark, because the killed supervisor could not."""
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
