"""Run one command and leave none of its processes behind, whatever happens to the owner.

    python -I -S supervisor.py REPORT_FD TEMPORARY COMMAND [ARGUMENT...]

A training script may start workers, workers may start more, and some create their own sessions. So this
process is a "child subreaper" (prctl(2)): orphans become its children instead of init's, and the tree below
it is always the whole command.

The owner controls the command through standard input. The line "stop SECONDS" sends SIGTERM to the tree, and
SIGKILL after that many seconds. End of file means that the owner died, even by kill -9, and ends the tree,
too. If this process is killed, the kernel kills the command (PR_SET_PDEATHSIG).

TEMPORARY is the command's own directory for temporary files; it is removed when the command has ended.
REPORT_FD receives "started PID" and, when no process of the tree is left, "exited CODE" (-N for signal N).

The program imports only fast parts of the standard library: it starts in a few hundredths of a second.
"""

# pathlib and contextlib would double the time to start.
# ruff: noqa: PTH123, PTH208, SIM105

import ctypes
import os
import select
import signal
import sys
import time
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

OWNER_DIED_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL after the owner's death."""

LONE_COMMAND_GRACE = 1.0
"""Seconds that a command has to end by itself after its last child, before it gets SIGTERM, too."""

_POLL = 0.05
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def descendants(root: int) -> set[int]:
    """Return every living process below root, at any depth.

    A zombie is dead unless it has other threads: the kernel shows a process by its first thread, which may
    end before the others.
    """
    children: dict[int, list[int]] = {}
    zombies = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # In proc(5) the command's name is field 2, state is field 3 and num_threads is field 20.
        state, parent, threads = fields[0], int(fields[1]), int(fields[17])
        children.setdefault(parent, []).append(int(entry))
        if state == b"Z" and threads <= 1:
            zombies.add(int(entry))
    found: set[int] = set()
    pending = [root]
    while pending:
        below = children.get(pending.pop(), [])
        found.update(below)
        pending.extend(below)
    return found - zombies


def _send(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _spawn(command: list[str], report: int) -> int:
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it died before prctl
            os._exit(1)
        os.close(report)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.execvp(command[0], command)  # noqa: S606 - the command is the argument list given, no shell
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


class _Supervisor:
    """The processes below this one, and the state of their stop."""

    def __init__(self, command: list[str], report: int) -> None:
        self._command = _spawn(command, report)
        self.exit_code: int | None = None  # of the command, after its end
        self._deadline: float | None = None
        self._terminated: set[int] = set()
        self._had_children = False
        self._alone_since = 0.0

    @property
    def command(self) -> int:
        """Return the command's process id."""
        return self._command

    def reap(self) -> bool:
        """Collect ended processes; return whether any process is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._command:
                self.exit_code = os.waitstatus_to_exitcode(status)

    @property
    def stopping(self) -> bool:
        """Return whether a stop is in progress."""
        return self._deadline is not None

    def stop(self, grace: float) -> None:
        """Stop the tree within `grace` seconds; a shorter time of an earlier call stays valid."""
        deadline = time.monotonic() + grace
        self._deadline = min(deadline, self._deadline or deadline)

    def press(self) -> None:
        """Advance a stop: send SIGTERM to processes that have not got it, SIGKILL to all at the deadline.

        The command's children get SIGTERM first. The command is AWS's training toolkit, which does not
        forward SIGTERM and prints its script's output: if it ended with the script, the script would write to
        a broken pipe.
        """
        assert self._deadline is not None
        now = time.monotonic()
        family = descendants(os.getpid())
        if now >= self._deadline:
            _send(family, signal.SIGKILL)
            return
        children = family - {self._command}
        if children:
            self._had_children = True
            self._alone_since = now
        due = children
        if not children and (not self._had_children or now - self._alone_since > LONE_COMMAND_GRACE):
            due = {self._command}
        _send(due - self._terminated, signal.SIGTERM)
        self._terminated |= due

    def sweep(self) -> None:
        """Kill everything that the command left running, as the end of a container would.

        Orphans become children of this process, which collects each of them because not every machine's init
        does. A killed process can be collected when its last thread has ended.
        """
        while self.reap():
            _send(descendants(os.getpid()), signal.SIGKILL)
            time.sleep(0.01)


def _tell(report: int, message: str) -> None:
    try:
        os.write(report, f"{message}\n".encode())
    except BrokenPipeError:
        pass  # the owner has died; the tree must end nevertheless


def _remove(directory: str) -> None:
    import shutil  # imported late, because it would delay the command's start

    shutil.rmtree(directory, ignore_errors=True)


def main(report: int, temporary: str, command: list[str]) -> NoReturn:
    """Supervise the command until none of its processes is left."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the owner decides, through the pipe
    supervisor = _Supervisor(command, report)
    _tell(report, f"started {supervisor.command}")
    listening = [0, woken]
    while supervisor.reap() and supervisor.exit_code is None:
        ready, _, _ = select.select(listening, [], [], _POLL if supervisor.stopping else None)
        if woken in ready:
            os.read(woken, 4096)
        if 0 in ready:
            words = os.read(0, 4096).split()
            if not words:
                listening.remove(0)
                supervisor.stop(OWNER_DIED_GRACE)
            else:
                supervisor.stop(float(words[-1]))
        if supervisor.stopping:
            supervisor.press()
    supervisor.sweep()
    _remove(temporary)
    _tell(report, f"exited {supervisor.exit_code}")
    sys.exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
