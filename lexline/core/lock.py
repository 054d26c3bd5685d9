"""A lock on a folder, so that only one `lexline up` builds and deploys from it at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lexline.core.errors import UserError

FILE = "up.lock"
"""The lock's file. It contains the id of the process that holds the lock, or held it last."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Create the folder if it does not exist, and hold its lock. The lock ends with the process.

    Raises:
        UserError: Another process holds the lock, or this user cannot write to the folder.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / FILE).open("a+")
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be used for the local cloud and builds: {error.strerror}.",
            "Set LEXLINE_HOME to a folder in which you may create files.",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read()
            raise UserError(
                f"Another `lexline up` is in progress in {folder}: process {holder}.",
                f"Wait until it has ended, or stop it with `kill -INT {holder}`. Then try again.",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
