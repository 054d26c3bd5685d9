"""Errors that the person who started the job can correct, and how they reach that person."""

import os
import sys
from pathlib import Path


class UserError(Exception):
    """The input is wrong. The message is a sentence: the field or file, the problem, the next step."""


def report(error: UserError) -> None:
    """Write the message to stderr and to SageMaker's failure file.

    SageMaker shows the first 1,024 characters of output/failure as the job's FailureReason. The training
    toolkit fills that file from stderr, but only from the first line on that names a Python exception, so it
    would lose a plain sentence. It does not overwrite a failure file that already exists.
    """
    print(f"error: {error}", file=sys.stderr, flush=True)
    output = os.environ.get("SM_OUTPUT_DIR")
    if output and Path(output).is_dir():
        (Path(output) / "failure").write_text(str(error), encoding="utf-8")
