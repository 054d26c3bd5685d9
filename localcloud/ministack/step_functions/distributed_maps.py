"""Map states in distributed mode.

AWS: each item runs as an execution of its own, a child, with its own context and without the parent's
variables. Every field of a JSONata Map may be an expression. The end of the parent aborts the children, and
the first failure beyond the tolerated ones aborts the others. The state machine's role must allow to start,
describe and stop executions of the state machine, and to read the items from S3.
https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
MiniStack: it reads the fields as JSONPath and ignores Output and Assign. Children see the parent's context
and variables, and run on after its end. No permission is checked.
Here: JSONata Maps are as on AWS, without ItemBatcher and ResultWriter. JSONPath Maps are left to MiniStack.
"""

import contextvars
import functools
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from localcloud.ministack.core.options import ACCOUNT
from localcloud.ministack.iam.roles import role_denial
from localcloud.ministack.step_functions import executions
from localcloud.ministack.step_functions.executions import machine_of, now

Record = dict[str, Any]
"""A document of MiniStack or of the Amazon States Language."""

_NOT_HERE = ("ItemBatcher", "ResultWriter", "ToleratedFailureCountPath", "ToleratedFailurePercentagePath")
_MOST_WORKERS = 64
"""Threads of one Map without MaxConcurrency, where AWS starts 10,000 children at once."""


def patch() -> None:
    """Replace distributed Maps of JSONata state machines."""
    from ministack.services import stepfunctions as states

    run_jsonpath = states._run_distributed_map

    @functools.wraps(run_jsonpath)
    def run(
        state: Record, given: Any, effective: Any, iterator: Record, execution: Record, context: Record
    ) -> Any:
        if states._state_query_language(state, context) != "JSONata":
            return run_jsonpath(state, given, effective, iterator, execution, context)
        return _MapRun(state, given, iterator, execution, context).run()

    states._run_distributed_map = run


class _MapRun:
    """One Map Run: the record that DescribeMapRun returns, and the children."""

    def __init__(
        self, state: Record, given: Any, iterator: Record, execution: Record, context: Record
    ) -> None:
        from ministack.services import stepfunctions

        self._states = stepfunctions
        self._state = state
        self._given = given
        self._iterator = iterator
        self._execution = execution
        self._context = context
        self._results: dict[int, Any] = {}
        self._lock = threading.Lock()
        if unknown := [field for field in _NOT_HERE if field in state]:
            raise self._error("States.Runtime", f"The local cloud does not support {', '.join(unknown)}.")

    def run(self) -> Any:
        """Run all children. Return the state's output and the next state."""
        self._authorize()
        inputs = self._inputs()
        record = self._record(len(inputs))
        self._states._map_runs[record["mapRunArn"]] = record
        self._add_event("MapRunStarted", {"mapRunArn": record["mapRunArn"]})
        with ThreadPoolExecutor(record["maxConcurrency"] or _MOST_WORKERS) as pool:
            children = [
                pool.submit(contextvars.copy_context().run, self._run_child, record, index, data)
                for index, data in enumerate(inputs)
            ]
        for child in children:
            child.result()
        record["stopDate"] = now()
        if self._execution["status"] != "RUNNING":
            record["status"] = "ABORTED"
        executions.raise_if_ended()
        if record["status"] == "FAILED":
            error = "States.ExceedToleratedFailureThreshold"
            cause = "The specified tolerated failure threshold was exceeded"
            self._add_event("MapRunFailed", {"error": error, "cause": cause})
            raise self._error(error, cause)
        record["status"] = "SUCCEEDED"
        self._add_event("MapRunSucceeded", {})
        results = [self._results.get(index) for index in range(len(inputs))]
        output = self._states._apply_jsonata_output(
            self._state, self._given, self._context, result=results, default=results
        )
        self._states._apply_state_assign(self._state, self._given, self._context, result=results)
        return output, self._state.get("Next")

    def _authorize(self) -> None:
        arn = self._execution["stateMachineArn"]
        executions_arn = self._execution["executionArn"].rpartition(":")[0]
        for action, resource in (
            ("states:StartExecution", arn),
            ("states:DescribeExecution", f"{executions_arn}:{self._execution['name']}"),
            ("states:StopExecution", f"{executions_arn}:{self._execution['name']}"),
        ):
            self._allow(action, resource, "States.Permissions")

    def _allow(self, action: str, resource: str, error: str) -> None:
        role = machine_of(self._execution).get("roleArn", "")
        denial = role_denial(role, self._execution["name"][:64], action, resource)
        if denial is not None:
            raise self._error(error, denial)

    def _inputs(self) -> list[Any]:
        """Return the input of each child."""
        items = self._items()
        if "ItemSelector" not in self._state:
            return items
        return [
            self._value(
                self._state["ItemSelector"],
                {**self._context, "Map": {"Item": {"Index": index, "Value": item}}},
            )
            for index, item in enumerate(items)
        ]

    def _items(self) -> list[Any]:
        reader = self._state.get("ItemReader")
        if reader is None:
            items = self._value(self._state["Items"]) if "Items" in self._state else self._given
            if not isinstance(items, list):
                raise self._error("States.QueryEvaluationError", "The items of the Map are not an array.")
            return items
        error = "States.ItemReaderFailed"
        source = self._value(reader["Arguments"])
        if reader["Resource"].endswith(":listObjectsV2"):
            self._allow("s3:ListBucket", f"arn:aws:s3:::{source['Bucket']}", error)
        else:
            self._allow("s3:GetObject", f"arn:aws:s3:::{source['Bucket']}/{source['Key']}", error)
        config = self._value(reader.get("ReaderConfig", {}))
        try:
            items = self._states._read_map_items(
                {**reader, "Parameters": source, "ReaderConfig": config}, self._given, self._context
            )
        except (ValueError, LookupError, TypeError) as problem:
            raise self._error(error, f"The items cannot be read: {problem}") from problem
        if not isinstance(items, list):
            raise self._error(error, "Attempting to map over non-iterable node.")
        return items

    def _record(self, items: int) -> Record:
        parts = self._execution["stateMachineArn"].split(":")
        name, region = parts[6], parts[3]
        label = self._state.get("Label") or str(uuid.uuid4())
        counts = ("pending", "running", "succeeded", "failed", "timedOut", "aborted", "resultsWritten")
        return {
            "mapRunArn": f"arn:aws:states:{region}:{ACCOUNT}:mapRun:{name}/{label}:{uuid.uuid4()}",
            "executionArn": self._execution["executionArn"],
            "status": "RUNNING",
            "startDate": now(),
            "maxConcurrency": int(self._value(self._state.get("MaxConcurrency", 0))),
            "toleratedFailurePercentage": self._value(self._state.get("ToleratedFailurePercentage", 0)),
            "toleratedFailureCount": int(self._value(self._state.get("ToleratedFailureCount", 0))),
            "itemCounts": {**dict.fromkeys(counts, 0), "total": items, "pending": items},
            "executionCounts": {**dict.fromkeys(counts, 0), "total": items, "pending": items},
            "redriveCount": 0,
            "_stateMachineArn": f"{self._execution['stateMachineArn']}/{label}",
        }

    def _run_child(self, record: Record, index: int, data: Any) -> None:
        if self._execution["status"] != "RUNNING" or record["status"] != "RUNNING":
            self._count(record, "pending", "aborted")
            return
        child = self._child(record, data)
        executions.current.set(child)
        self._states._executions[child["executionArn"]] = child
        self._count(record, "pending", "running")
        try:
            result = self._states._run_sub_machine(
                self._iterator["States"], self._iterator["StartAt"], data, child, self._child_context(child)
            )
        except Exception as problem:
            error, cause = (
                getattr(problem, "error", "States.Runtime"),
                getattr(problem, "cause", str(problem)),
            )
            executions.end(child, "FAILED", error=error, cause=cause)
        else:
            self._results[index] = result
            executions.end(child, "SUCCEEDED", output=json.dumps(result))
        self._count(record, "running", child["status"].lower())
        if record["status"] == "RUNNING" and self._exceeds(record, record["executionCounts"]["failed"]):
            record["status"] = "FAILED"
            executions.abort_children(self._execution["executionArn"])

    @staticmethod
    def _exceeds(record: Record, failed: int) -> bool:
        """Return whether these are too many failures. Without a threshold, one is; of two, either counts."""
        count, share = record["toleratedFailureCount"], record["toleratedFailurePercentage"]
        limits = [failed > count] if count or not share else []
        if share:
            limits.append(failed * 100 > share * record["executionCounts"]["total"])
        return any(limits)

    def _count(self, record: Record, before: str, after: str) -> None:
        with self._lock:
            for counts in (record["itemCounts"], record["executionCounts"]):
                counts[before] -= 1
                counts[after] += 1

    def _child(self, record: Record, data: Any) -> Record:
        machine, name = record["_stateMachineArn"], str(uuid.uuid4())
        child = {
            "executionArn": f"{machine.replace(':stateMachine:', ':execution:')}:{name}",
            "stateMachineArn": machine,
            "mapRunArn": record["mapRunArn"],
            executions.PARENT: self._execution["executionArn"],
            "name": name,
            "status": "RUNNING",
            "startDate": now(),
            "stopDate": None,
            "input": json.dumps(data),
            "inputDetails": {"included": True},
            "output": None,
            "outputDetails": {"included": True},
            "testCase": "",
            "mockAttempts": {},
            "events": [],
        }
        started = {"input": child["input"], "roleArn": machine_of(child).get("roleArn", "")}
        self._states._add_event(child, "ExecutionStarted", {"executionStartedEventDetails": started})
        return child

    def _child_context(self, child: Record) -> Record:
        return {
            "QueryLanguage": self._iterator.get("QueryLanguage", "JSONata"),
            "Execution": {
                "Id": child["executionArn"],
                "Name": child["name"],
                "Input": json.loads(child["input"]),
                "StartTime": child["startDate"],
            },
            "StateMachine": {"Id": child["stateMachineArn"], "Name": self._context["StateMachine"]["Name"]},
            "variables": {},
        }

    def _value(self, template: Any, context: Record | None = None) -> Any:
        return self._states._apply_jsonata_template(template, self._given, context or self._context)

    def _error(self, error: str, cause: str) -> Exception:
        failure: Exception = self._states._ExecutionError(error, cause)
        return failure

    def _add_event(self, kind: str, details: Record) -> None:
        name = f"{kind[0].lower()}{kind[1:]}EventDetails"
        self._states._add_event(self._execution, kind, {name: details} if details else None)
