"""Run a server without shared memory, as a serverless endpoint does.

    python -P serverless.py SERVER

Serverless endpoints run on Lambda, which has no /dev/shm. Python code in this process cannot open it either.
"""

import errno
import os
import runpy
import sys
from typing import Any

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the path is refused, not used


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).startswith(_SHARED_MEMORY):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])


if __name__ == "__main__":
    sys.addaudithook(_refuse)
    runpy.run_path(sys.argv[1], run_name="__main__")
