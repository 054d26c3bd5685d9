"""A server for a test to kill. It runs one training job or one fleet and prints its output.

python server_to_kill.py training|hosting DIRECTORY PARAMETERS
"""

import json
import sys
from pathlib import Path

from helpers import AWS, DirectoryStore  # type: ignore[import-not-found]  # this folder: run as a script

from localcloud.sagemaker.processes.fleet import Fleet, FleetLaunch
from localcloud.sagemaker.processes.training_run import TrainingLaunch, TrainingOutcome, TrainingRun


class _Printer:
    def secondary_status(self, status: str, message: str) -> None:
        pass

    def log(self, stream: str, timestamp_ms: int, line: str) -> None:
        print(line, flush=True)

    def finished(self, outcome: TrainingOutcome) -> None:
        print(outcome, flush=True)


kind, directory, parameters = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
store = DirectoryStore(directory / "s3")
printer = _Printer()
if kind == "training":
    launch = TrainingLaunch("job", "arn", parameters, directory / "jobs" / "job", directory / "jobs", AWS)
    run = TrainingRun(launch, printer, store=store)
    run.start()
    run.join()
else:
    variant = FleetLaunch(
        "endpoint", "AllTraffic", "model", parameters, 1, directory / "fleet", AWS, printer.log
    )
    fleet = Fleet(variant, store=store)
    fleet.start()
    fleet.wait_ready(120)
    print("ready", flush=True)
    sys.stdin.read()  # until killed
