"""The local cloud in the foreground: python -m localcloud --state-dir DIRECTORY [--owner PID]."""

import argparse
from pathlib import Path

from localcloud import control, server
from localcloud.regions import ServiceFactory
from localcloud.sagemaker.service import SageMaker

_DESCRIPTION = """Run the local cloud in the foreground. Exit codes: 0 after SIGTERM, SIGINT or the end of its
owner; 1 if the cloud cannot start or fails; 2 if the arguments are invalid."""


def main(factory: ServiceFactory, module: str = "localcloud") -> None:
    """Serve until the process ends.

    Args:
        factory: Creates the SageMaker service of a region.
        module: The module's name in the help text.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=_DESCRIPTION)
    parser.add_argument("--state-dir", type=Path, required=True, help="directory for everything it stores")
    parser.add_argument("--owner", type=int, help="end when the process with this id ends")
    arguments = parser.parse_args()
    try:
        server.main(arguments.state_dir, arguments.owner, factory)
    except (server.AlreadyRunning, control.LocalCloudError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main(SageMaker)
