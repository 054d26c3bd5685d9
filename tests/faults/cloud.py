"""A local cloud in which things go wrong as planned.

    python -m tests.faults.cloud --state-dir DIRECTORY [--owner PID]

It is the local cloud (localcloud.server) with its real SageMaker API, over jobs and fleets of a few
milliseconds (jobs, fleets), and with a fault plan (plan, matching). Nothing of this is in the product: faults
are set into the cloud here, as `localcloud.ministack` mends MiniStack.

    sagemaker   the service, and the door to the plan
    calls       calls that are refused, slow, or whose answer is lost; functions killed in the middle of one
    events      events lost, doubled, late, early
    invocations functions that are asked for and do not run
    workers     functions' processes: whose a request is, and how one is killed
    timing      how long is waited for a task's token
    reset       a clean cloud for the next test
"""

from localcloud.__main__ import main
from tests.faults.sagemaker import FaultySageMaker

if __name__ == "__main__":
    main(FaultySageMaker, "tests.faults.cloud")
