"""Check that this Python can create the environment. Any Python 3 runs this file.

    python3 scripts/check_python.py [ENVIRONMENT]

With the folder of an environment that exists already, check that this Python's version created it.
Exit codes: 0 if so, 1 with a sentence if not.
"""

import pathlib
import re
import sys

# PyTorch, Ray and SciPy come as wheels for these versions.
FIRST, LAST = (3, 11), (3, 13)


def problem(version, can_create):
    """Return why a Python cannot create the environment and what to do, or None if it can.

    Args:
        version: The version of the Python, for example (3, 11, 2).
        can_create: Whether the Python has the module ensurepip. Debian leaves it out of python3.
    """
    name = ".".join(map(str, version[:3]))
    short = ".".join(map(str, version[:2]))
    supported = ", ".join(f"{FIRST[0]}.{minor}" for minor in range(FIRST[1], LAST[1] + 1))
    if not FIRST <= tuple(version[:2]) <= LAST:
        return (
            f"Lexline runs on Python {supported}, but this is {name}. Install one of these versions and name "
            "it, for example `make env PYTHON=python3.12`."
        )
    if not can_create:
        return (
            f"Python {name} has no module for virtual environments. Install it, on Debian and Ubuntu with "
            f"`apt-get install python{short}-venv`, and run `make env` again."
        )
    return None


def conflict(version, environment):
    """Return why an environment cannot be used with a Python, and what to do, or None if it can.

    Args:
        version: The version of the Python.
        environment: The environment's folder, which need not exist.
    """
    try:
        with (pathlib.Path(environment) / "pyvenv.cfg").open(encoding="utf-8") as file:
            found = re.search(r"^version(?:_info)? *= *(\d+)\.(\d+)", file.read(), re.MULTILINE)
    except OSError:
        return None
    if found is None or (int(found.group(1)), int(found.group(2))) == tuple(version[:2]):
        return None
    return (
        f"The environment in {environment} has Python {found.group(1)}.{found.group(2)}, but this is Python "
        f"{'.'.join(map(str, version[:2]))}. Delete it with `rm -r {environment}`, and run `make env` with "
        "this Python again. To keep it, leave PYTHON out."
    )


if __name__ == "__main__":
    try:
        import ensurepip
    except ImportError:
        ensurepip = None
    sys.exit(
        problem(sys.version_info, ensurepip is not None)
        or (conflict(sys.version_info, sys.argv[1]) if len(sys.argv) > 1 else None)
    )
