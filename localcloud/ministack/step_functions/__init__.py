"""Step Functions: executions, tasks and their records as on AWS.

distributed_maps  each item of a distributed Map runs as an execution of its own
execution_log     the history in the log group that the state machine names
executions        an execution that was stopped or timed out does not continue
requests          invalid requests to start and to list executions are refused
status_changes    an event and CloudWatch metrics for each start and end of an execution
task_tokens       a token is valid for one attempt and one response, and a failed function fails its task
tasks             the state machine's role authorizes tasks, and JSONata fields mean the same as on AWS
teststate         TestState evaluates a whole JSONata task, and takes variables
"""

from localcloud.ministack.step_functions import (
    distributed_maps,
    execution_log,
    executions,
    requests,
    status_changes,
    tasks,
    teststate,
)
from localcloud.ministack.step_functions.task_tokens import TaskTokens


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    tokens = TaskTokens()
    tokens.patch()
    executions.patch(tokens.wake)
    requests.patch()
    status_changes.patch()
    tasks.patch()
    distributed_maps.patch()
    execution_log.patch()
    teststate.patch()
