"""A lock on a folder, so that only one `lexline up` or `lexline down` works in it at a time.

The lock is on the folder itself, so it leaves no file behind. It ends with the process that holds it.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lexline.core.errors import UserError

_LOCKS = Path("/proc/locks")
"""Linux's list of locks. A line has the process's id as fifth word, and device and inode as sixth."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Create the folder if it does not exist, and hold its lock.

    Raises:
        UserError: Another process holds the lock, or this user cannot write to the folder.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileExistsError, NotADirectoryError) as error:
        raise _unusable(folder, "it, or a part of its path, is not a folder") from error
    except OSError as error:
        raise _unusable(folder, str(error.strerror)) from error
    try:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unusable(folder, "this user may not write to it")
        # Some network file systems cannot lock a folder. Then there is no lock.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = _holder(os.fstat(opened).st_ino)
                raise UserError(
                    f"Another `lexline up` or `lexline down` is in progress in {folder}: process {holder}.",
                    f"Wait until it has ended, or stop it with `kill -INT {holder}`. Then try again.",
                ) from error
        yield
    finally:
        os.close(opened)


def _unusable(folder: Path, reason: str) -> UserError:
    return UserError(
        f"The folder {folder} cannot be used for the local cloud and builds: {reason}.",
        "Set LEXLINE_HOME to a folder in which you may create files.",
    )


def _holder(inode: int) -> str:
    """Return the id of the process that holds the lock on an inode, or "PID" if Linux does not list it."""
    for line in _LOCKS.read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return words[4]
    return "PID"
