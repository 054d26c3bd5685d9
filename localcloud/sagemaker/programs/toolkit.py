"""The entry point of AWS's training toolkit, `train`, without PyTorch.

The toolkit's own process imports PyTorch to tell scripts its version, and for nothing else; that takes as
long as all the rest of it. The scripts' processes import what they import.

It is run with -P, so that no module here hides a user's.
"""

import importlib.util
import runpy
import sys
import types
from pathlib import Path

from sagemaker_training.cli.train import main


def its_version() -> types.ModuleType | None:
    """As much of the module `torch` as the toolkit reads; None where PyTorch does not say it in a file."""
    spec = importlib.util.find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "version.py"
        if file.exists():
            module = types.ModuleType("torch")
            module.__dict__["__version__"] = runpy.run_path(str(file))["__version__"]
            return module
    return None


if __name__ == "__main__":
    torch = its_version()
    if torch is not None:
        sys.modules["torch"] = torch
    sys.exit(main())
