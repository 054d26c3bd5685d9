"""Containers without Docker: processes with their own /opt/ml (programs/container.py)."""

import functools
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.sagemaker.processes.programs.container import ML, TOOLS

_PROGRAM = Path(__file__).parent / "programs" / "container.py"
_PATIENCE = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Container:
    """The folders of one container.

    Attributes:
        ml: Becomes /opt/ml.
        tools: Becomes /opt/localcloud: the local cloud's own programs for the container.
        hidden: Is empty in the container.
        layer: Gets what the container installs into this Python environment.
    """

    ml: Path
    tools: Path
    hidden: Path
    layer: Path

    def wrap(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs another one in the container."""
        # A layer over the system's own Python would be one over /usr.
        prefix = sys.prefix if sys.prefix != sys.base_prefix else ""
        folders = (self.ml, self.tools, self.hidden, prefix, self.layer)
        return [sys.executable, "-I", "-S", str(_PROGRAM), *map(str, folders), *command]


@functools.cache
def refusal() -> str | None:
    """Return why this machine gives no process its own /opt/ml; None if it does.

    The first call tries it, which takes a tenth of a second.
    """
    with tempfile.TemporaryDirectory(prefix="localcloud-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        for name in ("ml", "tools", "hidden"):
            (root / name).mkdir()
        container = Container(root / "ml", root / "tools", root / "hidden", root / "layer")
        tried = subprocess.run(
            container.wrap(["true"]),
            env={**os.environ, "TMPDIR": folder},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
        remove(root / "layer")
    if tried.returncode == 0:
        return None
    reason = tried.stderr.strip() or f"exit code {tried.returncode}"
    log.warning("Training jobs get no /opt/ml of their own and can see each other's files: %s", reason)
    return reason


def remove(directory: Path) -> None:
    """Remove a directory with everything below it, as far as possible.

    A container's program may have removed its own right to read a folder, and overlayfs does so.
    """

    def make_readable(_call: Any, path: str, _error: Any) -> None:
        try:
            Path(path).chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass

    shutil.rmtree(directory, onerror=make_readable)
    shutil.rmtree(directory, ignore_errors=True)


__all__ = ["ML", "TOOLS", "Container", "refusal", "remove"]
