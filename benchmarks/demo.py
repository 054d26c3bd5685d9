"""Run `make demo` and print its duration and its peak memory.

    .venv/bin/python benchmarks/demo.py [DATA]

Memory is the proportional set size (PSS), summed over all processes of the demo once a second. PSS counts
pages that processes share once, so the sum is the memory that the machine needs. An environment variable that
they all inherit identifies the demo's processes, because the local cloud is not a child of the command.
"""

import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil

MARK = "LEXLINE_DEMO_MARK"
ROOT = Path(__file__).resolve().parent.parent


def demo_processes(mark: str) -> list[psutil.Process]:
    """Return the running processes that inherited the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # the process has ended, or belongs to somebody else
            continue
    return found


def pss(process: psutil.Process) -> int:
    """Return the proportional set size in bytes; 0 if the process has ended."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def main() -> int:
    """Run the demo, print the figures and return its exit code, or the number of processes left."""
    mark = uuid.uuid4().hex
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(1):
            peak = max(peak, sum(pss(process) for process in demo_processes(mark)))

    environment = {**psutil.Process().environ(), MARK: mark}
    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    try:
        data = [f"DATA={sys.argv[1]}"] if len(sys.argv) > 1 else []
        code = subprocess.run(["make", "demo", *data], cwd=ROOT, env=environment, check=False).returncode
    finally:
        seconds = time.monotonic() - started
        done.set()
        watcher.join()
    left = demo_processes(mark)
    print(f"\nexit code {code}; {seconds:.0f} s; peak {peak / 2**30:.2f} GiB; processes left: {len(left)}")
    return code or len(left)


if __name__ == "__main__":
    sys.exit(main())
