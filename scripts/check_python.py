"""Check that this Python can create the environment. Any Python 3 runs this file.

Exit codes: 0 if it can, 1 with a sentence if it cannot.
"""

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


if __name__ == "__main__":
    try:
        import ensurepip
    except ImportError:
        ensurepip = None
    sys.exit(problem(sys.version_info, ensurepip is not None))
