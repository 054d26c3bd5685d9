"""python -m localcloud --state-dir DIRECTORY [--owner PID]: the local cloud, in the foreground."""

import argparse
from pathlib import Path

from localcloud import control, server
from localcloud.sagemaker.service import SageMaker


def main(factory: server.ServiceFactory, module: str = "localcloud") -> None:
    """Serve with the SageMaker that `factory` makes, as `module`'s command line says; does not return."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="where everything it keeps will lie")
    parser.add_argument("--owner", type=int, help="end when the process with this id does")
    arguments = parser.parse_args()
    try:
        server.main(arguments.state_dir, arguments.owner, factory)
    except (server.AlreadyRunning, control.LocalCloudError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main(SageMaker)
