"""Run train.py with other constants in its recipes. recipes.py starts it for each variation.

    python benchmarks/varied_training.py '{"recipe": {"varied_windows": true},
        "constants": {"lightweight_optim.BETAS": [0, 0.999]}}' --recipe fast --epochs 4

The first argument names fields of recipes.Recipe, and constants as module.NAME, with their values in JSON.
The others are train.py's. A constant must be named by the module that uses it: a copy in another one does
not change.
"""

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "model_scripts"))

import hyperparameters
import recipes
import train


def change(recipe: str, fields: Mapping[str, object], constants: Mapping[str, object]) -> None:
    """Change a recipe's fields and modules' constants, in this process.

    Raises:
        SystemExit: A field or a constant does not exist.
    """
    try:
        recipes.BY_NAME[recipe] = replace(recipes.BY_NAME[recipe], **fields)  # type: ignore[arg-type]
    except TypeError as error:
        sys.exit(f"recipes.Recipe cannot be changed: {error}")
    for constant, value in constants.items():
        module_name, _, name = constant.partition(".")
        module = importlib.import_module(module_name)
        if not hasattr(module, name):
            sys.exit(f"model_scripts/{module_name}.py has no constant {name}, which a variation changes.")
        setattr(module, name, value)


if __name__ == "__main__":
    changes, *arguments = sys.argv[1:]
    given = json.loads(changes)
    change(hyperparameters.parse(arguments).recipe, given["recipe"], given["constants"])
    sys.exit(train.main(arguments))
