"""A local cloud with planned faults.

    python -m tests.faults.harness --state-dir DIRECTORY [--owner PID]

It is the local cloud (localcloud.server) with its real SageMaker API. Jobs and endpoints take a few
milliseconds and follow a script. A fault plan decides which calls, events, jobs and deployments go wrong. The
product contains none of this: the harness patches the cloud, as `localcloud.ministack` patches MiniStack.

    client              the fault plan as tests use it
    service             the SageMaker service, and the HTTP API of the fault plan
    fault_plan          the server's side of the plan: which fault matches what happens
    api_calls           calls that are refused or slow, and calls whose response is lost
    event_delivery      events that are lost, doubled, late or early
    scripted_jobs       training jobs that train nothing
    scripted_fleets     endpoints that load no model
    lambda_invocations  invocations that fail before their function runs
    lambda_processes    the processes of functions: which one sent a request, and how to kill it
    wait_times          the time limits and pauses of state machines
    reset               a clean cloud for the next test
    sagemaker_user      SageMaker's API without the pipeline, for the tests of the harness
"""

from localcloud.__main__ import main
from tests.faults.harness.service import FaultySageMaker

if __name__ == "__main__":
    main(FaultySageMaker, "tests.faults.harness")
