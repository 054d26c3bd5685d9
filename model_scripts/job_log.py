"""The training job's log: lines on stdout.

The training job's MetricDefinitions and the command's progress bar read the lines of `key=value` pairs.
"""

import contextlib
import json
import os
import sys

import distributed
from perplexity import perplexity

LONGEST_ERROR = 300
"""Characters that `summary` keeps of an error."""


def log_values(**values: object) -> None:
    """Log one line of `key=value` pairs."""
    log(" ".join(f"{key}={value}" for key, value in values.items()))


def log(line: str) -> None:
    """Log one line. Only the first rank logs.

    The line and its end are written at once, because the training toolkit reads the pipe in chunks and takes
    the end of every chunk for the end of a line. When a job is stopped, the toolkit may end before the script
    has written its checkpoint; the broken pipe that follows is no error.
    """
    if distributed.is_first():
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stdout.fileno(), f"{line}\n".encode())


def quoted(sentence: str) -> str:
    """Return a sentence as the value of a `key=value` pair."""
    return json.dumps(sentence, ensure_ascii=False)


def summary(error: Exception) -> str:
    """Return an unexpected error as one line of at most LONGEST_ERROR characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_ERROR]


def scores(split: str, loss: float, unknown_share: float) -> dict[str, str]:
    """Return a loss (nats per token), its perplexity and the share of <unk> as values for the log."""
    return {
        f"{split}_loss": f"{loss:.4f}",
        f"{split}_perplexity": f"{perplexity(loss):.2f}",
        f"{split}_unknown_share": f"{unknown_share:.4f}",
    }
