"""Where the project and its state are on this machine."""

import os
from pathlib import Path

from lexline.errors import UsageError


def root() -> Path:
    """The repository: the folder that holds template.yaml and this package.

    Raises UsageError when the package was installed without the repository around it.
    """
    folder = Path(__file__).resolve().parents[1]
    if not (folder / "template.yaml").is_file():
        raise UsageError(
            f"{folder} holds no template.yaml, so there is nothing to deploy.",
            "Run lexline from its repository, where `make env` installed it.",
        )
    return folder


def home() -> Path:
    """Where the local cloud and the builds live: $LEXLINE_HOME, else .lexline in the project."""
    configured = os.environ.get("LEXLINE_HOME")
    return Path(configured).expanduser().absolute() if configured else root() / ".lexline"
