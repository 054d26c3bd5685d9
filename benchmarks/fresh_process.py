"""Call a function in a new process, so that no caches are warm.

    python -m benchmarks.fresh_process benchmarks.plain_loop:seconds_to_first_word '["artifact"]'

This prints the function's result as JSON.
"""

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.alternating import die_with_parent
from benchmarks.data import ROOT

MARK = "result: "
SECONDS_TO_CLEAN_UP = 30


class CallFailed(Exception):
    """The function raised an error. The message contains the end of its process's output."""


def call(function: str, *arguments: Any) -> Any:
    """Return the result of a function.

    If this process is interrupted, it terminates the other one and gives it time to clean up.

    Args:
        function: "module:name".
        arguments: JSON values and Paths, which may be nested.

    Raises:
        CallFailed: The function raised an error.
    """
    sent = json.dumps(arguments, default=lambda path: {"path": str(path)})
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fresh_process", function, sent],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        process.terminate()
        try:
            process.wait(SECONDS_TO_CLEAN_UP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    results = [line for line in output.splitlines() if line.startswith(MARK)]
    if process.returncode or not results:
        raise CallFailed(
            f"{function} ended with code {process.returncode}:\n" + "\n".join(output.splitlines()[-15:])
        )
    return json.loads(results[-1].removeprefix(MARK))


def call_here(function: str, *arguments: Any) -> Any:
    """Return the result of a function, called in this process. Its caches may be warm.

    Raises:
        CallFailed: The function raised an error.
    """
    try:
        return _named(function)(*arguments)
    except Exception as error:
        raise CallFailed(f"{function} failed: {type(error).__name__}: {error}") from error


def _named(function: str) -> Any:
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)


def main(function: str, sent: str) -> None:
    """Call the function and print its result."""
    # With this, the function's own clean-up also runs at SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = json.loads(sent, object_hook=lambda value: Path(value["path"]))
    result = _named(function)(*arguments)
    print(MARK + json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
