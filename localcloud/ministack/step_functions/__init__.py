"""Step Functions as AWS runs it, where MiniStack's differs in something the pipeline depends on.

executions      an execution that was stopped, or ran out of its machine's time, runs no further
tasks           the machine's role must allow what a task calls; Assign and TimeoutSeconds as JSONata has them
status_changes  an execution's start and end are an event and metrics
task_tokens     a token is good for one attempt and one answer; a function that fails, fails its waiting task
execution_log   the history goes to the log group that the machine names
teststate       TestState evaluates a JSONata task whole, and takes variables
"""

from collections.abc import Callable

from localcloud.ministack.step_functions import (
    execution_log,
    executions,
    status_changes,
    tasks,
    teststate,
)
from localcloud.ministack.step_functions.task_tokens import TaskTokens


def mend(log: Callable[[str, str, list[tuple[int, str]]], None]) -> None:
    """Set all of it into MiniStack. `log` appends lines to a log group's stream, as `Host.log` does."""
    tokens = TaskTokens()
    tokens.mend()
    executions.mend(tokens.wake)
    status_changes.mend()
    tasks.mend()
    execution_log.mend(log)
    teststate.mend()
