"""Mistakes that the person who started the job can mend, and how they reach that person."""

import os
import sys
from pathlib import Path


class UserError(Exception):
    """Wrong input. The message is a whole sentence that names what was wrong and what would be right."""


def report(error: UserError) -> None:
    """Say the sentence on stderr and in SageMaker's failure file.

    SageMaker shows the first 1,024 characters of output/failure as the job's FailureReason. The training
    toolkit writes that file from stderr, but only from the first line on that holds the name of a Python
    exception, so a plain sentence would be lost; it leaves a failure file alone that is there already.
    """
    print(f"error: {error}", file=sys.stderr, flush=True)
    output = os.environ.get("SM_OUTPUT_DIR")
    if output and Path(output).is_dir():
        (Path(output) / "failure").write_text(str(error), encoding="utf-8")
