"""A function's answer from a process of its own, in which nothing is warm but what the function warmed.

python -m benchmarks.fresh_process benchmarks.plain_loop:seconds_to_first_word '["artifact"]'
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

MARK = "answer: "
SECONDS_TO_CLEAN_UP = 30


class CallFailed(Exception):
    """The function raised; the message has the end of what its process said."""


def call(function: str, *arguments: Any) -> Any:
    """The answer of "module:name" to arguments JSON can carry, a Path arriving as a Path.

    Raises CallFailed. When this process is interrupted meanwhile, the other one is too, and has time to clean
    up after itself.
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
        said, _ = process.communicate()
    except BaseException:
        process.terminate()
        try:
            process.wait(SECONDS_TO_CLEAN_UP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    answers = [line for line in said.splitlines() if line.startswith(MARK)]
    if process.returncode or not answers:
        raise CallFailed(
            f"{function} ended with code {process.returncode}:\n" + "\n".join(said.splitlines()[-15:])
        )
    return json.loads(answers[-1].removeprefix(MARK))


def main(function: str, sent: str) -> None:
    # An interrupted function leaves nothing behind: its own clean-up runs, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    module, name = function.split(":")
    arguments = json.loads(sent, object_hook=lambda value: Path(value["path"]))
    answer = getattr(importlib.import_module(module), name)(*arguments)
    print(MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
