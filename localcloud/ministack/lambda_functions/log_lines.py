"""The log lines of an invocation.

AWS: every line that a function prints is in its log, between the invocation's START and END.
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
MiniStack: after the response it reads lines until none has arrived for 5 ms, and waits at most 50 ms for the
first. On a busy machine it misses lines. They wait for the next invocation, which may never come.
Here: the changed script (`worker_script`) prints a mark after each invocation, and the log ends at the mark.
"""

import functools
import queue
import time
from typing import Any

from localcloud.ministack.lambda_functions.worker_script import END_OF_INVOCATION

_PATIENCE = 5.0
"""Seconds to wait for the mark of a function that closed its standard error or left it to a child process."""
_POLL = 0.1


def patch() -> None:
    """Read the lines of a Python function up to the mark."""
    from ministack.core import lambda_runtime as runtime

    drain = runtime.Worker._drain_stderr_bounded

    @functools.wraps(drain)
    def drain_to_mark(self: Any, *args: Any, **kwargs: Any) -> str:
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

    runtime.Worker._drain_stderr_bounded = drain_to_mark
