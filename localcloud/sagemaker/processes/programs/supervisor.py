"""Runs one command and leaves nothing of it behind, whatever happens to whoever asked for it.

    python -I -S supervisor.py REPORT_FD TEMPORARY COMMAND [ARGUMENT...]

A training script may start workers, and workers may start theirs; some put themselves into sessions of their
own. So this process makes itself the reaper of all of them (a "child subreaper", prctl(2)): an orphan comes
back here instead of going to init, and the tree below this process is always the whole of the command.

Standard input is the owner's hold on the command. A line "stop SECONDS" ends the tree with SIGTERM, and with
SIGKILL after that many seconds. End of file means that the owner has died, even by kill -9, and ends the tree
as well. Should this process itself be killed, the kernel kills the command (PR_SET_PDEATHSIG).

TEMPORARY is the command's own directory for temporary files, removed when it has ended.
REPORT_FD receives "started PID" and, once no process of the tree is left, "exited CODE" (-N for signal N).

Only the standard library's quick parts are imported: starting costs a few hundredths of a second.
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
"""Seconds between SIGTERM and SIGKILL when there is nobody left to wait for a clean end."""

LONE_COMMAND_GRACE = 1.0
"""Seconds a command gets to end by itself after its last child has, before it is sent SIGTERM too."""

_POLL = 0.05
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def descendants(root: int) -> set[int]:
    """Every living process below root, however deep.

    A zombie is not living, unless it has other threads: the kernel shows a process by its first thread, and
    that one may have ended before the others.
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
        # proc(5) numbers the fields from the command's name on, which is 2: state is 3, num_threads is 20.
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
        if os.getppid() != supervisor:  # it died before the kernel was asked
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
    """The tree below this process, and how far it is on its way to its end."""

    def __init__(self, command: list[str], report: int) -> None:
        self._command = _spawn(command, report)
        self.exit_code: int | None = None
        """The command's, once it has ended and been collected."""
        self._deadline: float | None = None
        self._terminated: set[int] = set()
        self._had_children = False
        self._alone_since = 0.0

    @property
    def command(self) -> int:
        return self._command

    def reap(self) -> bool:
        """Collect whoever has ended. Whether anybody is left."""
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
        return self._deadline is not None

    def stop(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        self._deadline = min(deadline, self._deadline or deadline)

    def press(self) -> None:
        """One step of a stop: SIGTERM to whoever has not had it, SIGKILL to all when time is up.

        The command's children come first. AWS's training toolkit is the command, does not pass SIGTERM on,
        and prints for its script: ended with the script, it would break the pipe the script writes to.
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
        """The command has ended: as in a container, whatever it left running ends too.

        Orphans become this process's children. It collects every one of them, because not every machine's
        init would; a process that was killed can be collected once the last of its threads has ended.
        """
        while self.reap():
            _send(descendants(os.getpid()), signal.SIGKILL)
            time.sleep(0.01)


def _tell(report: int, message: str) -> None:
    try:
        os.write(report, f"{message}\n".encode())
    except BrokenPipeError:
        pass  # the owner has died; the tree must end all the same


def _remove(directory: str) -> None:
    import shutil  # only now: it would delay the command's start

    shutil.rmtree(directory, ignore_errors=True)


def main(report: int, temporary: str, command: list[str]) -> NoReturn:
    """Supervise the command until nothing of it is left."""
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
