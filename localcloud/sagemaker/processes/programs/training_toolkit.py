"""The entry point of AWS's training toolkit, `train`, without PyTorch.

The toolkit's own process imports PyTorch only to tell scripts its version, which takes longer than everything
else it does. The scripts' processes import what they need.

Run it with -P, so that no module in this folder hides a user's module.
"""

import importlib.util
import runpy
import sys
import types
from pathlib import Path

from sagemaker_training.cli.train import main


def version_of_torch() -> types.ModuleType | None:
    """Return a module `torch` with only its version; None if PyTorch has no version.py."""
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
    torch = version_of_torch()
    if torch is not None:
        sys.modules["torch"] = torch
    sys.exit(main())
