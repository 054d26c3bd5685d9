"""The memory of a process and its children, without the page cache.

Pages of files, also of mapped ones, belong to the page cache: the kernel drops them when it needs memory. The
rest is anonymous memory. A page that several processes share counts once.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

SECONDS_BETWEEN_LOOKS = 0.25


class Peak:
    """The largest amount of memory that was seen, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0

    def look(self, process: psutil.Process, *, with_children: bool = True) -> None:
        """Measure now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            every = [process, *(process.children(recursive=True) if with_children else [])]
            self.bytes = max(self.bytes, sum(map(anonymous_bytes, every)))


def anonymous_bytes(process: psutil.Process) -> int:
    """Return the process's share of anonymous memory; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


@contextlib.contextmanager
def watched(process: psutil.Process, *, with_children: bool = True) -> Iterator[Peak]:
    """Watch a process in a thread until the block ends."""
    peak, ended = Peak(), threading.Event()

    def watch() -> None:
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            peak.look(process, with_children=with_children)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
