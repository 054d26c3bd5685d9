"""The entry point of AWS's training toolkit, `train`, without PyTorch.

The toolkit's own process imports PyTorch to tell scripts its version, and for nothing else; that takes
longer than all the rest of it. The scripts' processes import what they import.

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
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("version.py")
    if not file.exists():
        return None
    module = importlib.util.module_from_spec(spec)  # without running it
    vars(module)["__version__"] = runpy.run_path(str(file))["__version__"]
    return module


if __name__ == "__main__":
    torch = its_version()
    if torch is not None:
        sys.modules["torch"] = torch
    sys.exit(main())
