"""The local cloud in the foreground: python -m localcloud [--state-dir DIRECTORY] [--owner PID].

python -m localcloud --env prints the environment variables of the local cloud that runs in the directory.
"""

import argparse
import os
import shlex
from pathlib import Path

from localcloud import control, server
from localcloud.regions import ServiceFactory
from localcloud.sagemaker.service import SageMaker

_DESCRIPTION = """Run the local cloud in the foreground. Exit codes: 0 after SIGTERM, SIGINT or the end of its
owner; 1 if the cloud cannot start or fails, or with --env if none runs; 2 if the arguments are invalid."""
_STATE = Path(".localcloud")


def main(factory: ServiceFactory, module: str = "localcloud") -> None:
    """Serve until the process ends.

    Args:
        factory: Creates the SageMaker service of a region.
        module: The module's name in the help text.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=_DESCRIPTION)
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=_STATE,
        help=f"directory for everything that it stores; a later start empties it (default: {_STATE})",
    )
    parser.add_argument("--owner", type=int, help="end when the process with this id ends")
    parser.add_argument(
        "--env",
        action="store_true",
        help='only print the variables for another shell: eval "$(python -m localcloud --env)"',
    )
    arguments = parser.parse_args()
    if arguments.env:
        cloud = control.load(arguments.state_dir)
        if cloud is None:
            parser.exit(
                1, f"No local cloud runs in {arguments.state_dir}. Start it with `python -m {module}`.\n"
            )
        print("\n".join(exports(cloud)))
        return
    try:
        server.main(arguments.state_dir, arguments.owner, factory)
    except (server.AlreadyRunning, control.LocalCloudError) as error:
        parser.exit(1, f"{error}\n")


def exports(cloud: control.LocalCloud) -> list[str]:
    """Return the shell's commands after which AWS's tools work on the local cloud."""
    variables = cloud.environment()
    changed = {name: value for name, value in variables.items() if os.environ.get(name) != value}
    others = sorted(name for name in os.environ if name.startswith("AWS_") and name not in variables)
    return [
        *([f"unset {' '.join(others)}"] if others else []),
        *(f"export {name}={shlex.quote(value)}" for name, value in changed.items()),
    ]


if __name__ == "__main__":
    main(SageMaker)
