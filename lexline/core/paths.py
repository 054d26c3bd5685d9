"""Paths on this machine: the repository, and the folder for the local cloud and builds."""

import os
from pathlib import Path

from lexline.core.errors import UsageError

PRICE_TABLE = "functions/pipeline/reporting/prices.json"
"""The price table that the pipeline comes with, relative to the repository."""

STEP_NAMES = "functions/pipeline/reporting/step_names.json"
"""The names of the steps in words, which the pipeline's reports use, relative to the repository."""


def repository() -> Path:
    """Return the folder that holds template.yaml and this package.

    Raises:
        UsageError: The package was installed without the repository around it.
    """
    folder = Path(__file__).resolve().parents[2]
    if not (folder / "template.yaml").is_file():
        raise UsageError(
            f"{folder} has no template.yaml, so there is nothing to deploy.",
            "Run lexline from its repository, where `make env` installed it.",
        )
    return folder


def home() -> Path:
    """Return the folder for the local cloud and builds: $LEXLINE_HOME, or .lexline in the repository."""
    configured = os.environ.get("LEXLINE_HOME")
    return Path(configured).expanduser().absolute() if configured else repository() / ".lexline"
