"""The ids by which runs are told apart: short enough to type, and the end of every name that a run makes."""

import hashlib
import re

_AT_THE_END = re.compile(r"-([0-9a-f]{12})$")


def run_id(execution_arn: str) -> str:
    """The 12 hex digits that the pipeline derives from an execution and puts into every name it makes."""
    return hashlib.sha256(execution_arn.encode()).hexdigest()[:12]


def id_in(name: str) -> str:
    """The id of the run of this name; a name that ends with none is its own."""
    found = _AT_THE_END.search(name)
    return found[1] if found else name
