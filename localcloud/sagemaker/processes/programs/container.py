"""Run a command with its own /opt/ml, as in a container, without Docker and without root.

    python -I -S container.py ML TOOLS HIDDEN PREFIX LAYER COMMAND [ARGUMENT...]

The command gets a mount namespace of its own (mount_namespaces(7)), in which

    /opt/ml          is the directory ML
    /opt/localcloud  is the directory TOOLS
    HIDDEN           is empty: there are the files of other jobs, and the local cloud's own
    PREFIX           is this Python environment; whatever pip installs there is written to LAYER instead, so
                     it is the command's alone

An ordinary user may do this inside a new user namespace (user_namespaces(7)). Some kernels and container
engines forbid that. The program then exits with 125 and prints the reason. It also does if LAYER cannot be
laid over PREFIX, e.g. because the file system does not support it: without the layer, a job would change the
environment of all others.

PREFIX may be empty: nothing is laid over the environment then. The program imports only fast parts of the
standard library, because it starts before every job.
"""

# pathlib would delay the command's start.
# ruff: noqa: PTH102, PTH103, PTH114, PTH112, PTH115, PTH118, PTH119, PTH123, PTH208, PTH211

import ctypes
import errno
import os
import signal
import sys
from typing import NoReturn

ML, TOOLS = "/opt/ml", "/opt/localcloud"
REFUSED = 125
"""The exit code if the namespace cannot be created."""

_OPT = "/opt"
_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_READ_ONLY, _BIND, _MOVE, _RECURSIVE, _PRIVATE = 1, 0x1000, 0x2000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel refused a call; the message says which, and why."""


def main(ml: str, tools: str, hidden: str, prefix: str, layer: str, command: list[str]) -> NoReturn:
    """Create the namespace and replace this process by the command."""
    _unshare()
    _mount(None, "/", flags=_RECURSIVE | _PRIVATE)
    if prefix:
        _lay_over(prefix, layer)
    _replace_opt({ML: ml, TOOLS: tools})
    os.chdir(ML)
    _mount("tmpfs", hidden, kind="tmpfs", flags=_READ_ONLY, options="size=4k,mode=555")
    # The kernel forgets this setting when a process gets other capabilities.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the argument list given, no shell
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(126 if error.errno == errno.EACCES else 127)  # a shell's exit codes


def _unshare() -> None:
    """Enter a new mount namespace. Whoever may not, may inside a new user namespace."""
    if _libc.unshare(_NEW_MOUNTS) == 0:
        return
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(_NEW_MOUNTS | _NEW_USER), "unshare(CLONE_NEWUSER)")
    # The process keeps its ids. Without "deny", an ordinary user may not write gid_map.
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            with open(f"/proc/self/{file}", "w") as written:
                written.write(text)
        except OSError as error:
            raise Refused(f"writing /proc/self/{file}: {error.strerror}") from error


def _replace_opt(added: dict[str, str]) -> None:
    """Replace /opt by a folder with the same entries and the added ones.

    An ordinary user cannot create /opt/ml on the machine, and nothing of it should stay there.
    """
    staging = os.path.join(os.environ["TMPDIR"], "opt")
    os.mkdir(staging)
    _mount("tmpfs", staging, kind="tmpfs", options="size=1m,mode=755")
    taken = {os.path.basename(path) for path in added}
    for name in os.listdir(_OPT):
        source, target = f"{_OPT}/{name}", f"{staging}/{name}"
        if name in taken:
            continue
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
            continue
        if os.path.isdir(source):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        _mount(source, target, flags=_BIND | _RECURSIVE)
    for path, source in added.items():
        target = f"{staging}/{os.path.basename(path)}"
        os.mkdir(target)
        _mount(source, target, flags=_BIND | _RECURSIVE)
    _mount(staging, _OPT, flags=_MOVE)


def _lay_over(prefix: str, layer: str) -> None:
    """Write what changes below `prefix` to `layer`."""
    upper, work = f"{layer}/upper", f"{layer}/work"
    for folder in (upper, work):
        os.makedirs(folder)
    options = f"lowerdir={_escaped(prefix)},upperdir={_escaped(upper)},workdir={_escaped(work)},userxattr"
    _mount("overlay", prefix, kind="overlay", options=options)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def _mount(
    source: str | None, target: str, *, kind: str | None = None, flags: int = 0, options: str = ""
) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    result = _libc.mount(*encoded, ctypes.c_ulong(flags), options.encode())
    _check(result, f"mount({kind or source or 'private'}, {target})")


def _check(result: int, call: str) -> None:
    if result != 0:
        raise Refused(f"{call}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    try:
        ml, tools, hidden, prefix, layer, *command = sys.argv[1:]
        main(ml, tools, hidden, prefix, layer, command)
    except (Refused, OSError) as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(REFUSED)
