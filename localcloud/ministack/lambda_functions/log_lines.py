"""The log lines of an invocation.

AWS: every line that a function prints is in its log, between the invocation's START and END.
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
MiniStack: after the response it reads lines until none has arrived for 5 ms, and waits at most 50 ms for the
first. On a busy machine it misses lines. They wait for the next invocation, which may never come.
Here: the changed script (`worker_script`) prints a mark after each invocation, and the log ends at the mark.

AWS: the REPORT line contains the most memory that the function's environment has used.
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-functions-logs.html
MiniStack: it contains the most that any ended child of the server has used.
Here: it contains the peak of the function's process, or 0 if the process has ended.
"""

import functools
import queue
import re
import threading
import time
from pathlib import Path
from typing import Any

from localcloud.ministack.lambda_functions.worker_script import END_OF_INVOCATION

_PATIENCE = 5.0
"""Seconds to wait for the mark of a function that closed its standard error or left it to a child process."""
_POLL = 0.1


def patch() -> None:
    """Read the lines of a Python function up to the mark, and the memory of each function's process."""
    from ministack.core import lambda_runtime as runtime
    from ministack.services import lambda_svc as service

    drain = runtime.Worker._drain_stderr_bounded
    # MiniStack reads the lines and writes the log in the thread of the invocation.
    invocation = threading.local()

    @functools.wraps(drain)
    def drain_to_mark(self: Any, *args: Any, **kwargs: Any) -> str:
        invocation.megabytes = _peak_megabytes(self._proc)
        if not str(self.config.get("Runtime", "")).startswith("python"):
            return str(drain(self, *args, **kwargs))
        lines, mark, deadline = [], "", time.monotonic() + _PATIENCE
        while not mark and time.monotonic() < deadline:
            # Ask first, then read: a reader that has ended has put its last line into the queue.
            reading = self._stderr_thread.is_alive()
            try:
                text, mark, _ = self._stderr_queue.get(timeout=_POLL).partition(END_OF_INVOCATION)
                lines += [text] if text or not mark else []
            except queue.Empty:
                if not reading:
                    break
        return "\n".join(lines)

    def peak_of_invocation(_: dict[str, Any]) -> int:
        return int(vars(invocation).pop("megabytes", 0))

    runtime.Worker._drain_stderr_bounded = drain_to_mark
    service._probe_peak_memory_mb = peak_of_invocation


def _peak_megabytes(process: Any) -> int:
    """Return the most memory that a process has used, or 0 if it has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (AttributeError, OSError):
        return 0
    peak = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(peak[1]) // 1024 if peak else 0
