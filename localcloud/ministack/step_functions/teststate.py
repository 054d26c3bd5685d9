"""TestState for JSONata tasks.

AWS: TestState evaluates a task's Arguments, Output, Assign, Retry and Catch, and takes variables.
https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html
MiniStack: it ignores all of these in a JSONata task, and does not know variables.
Here: JSONata tasks are evaluated as on AWS. Other states are left to MiniStack.
"""

import functools
import json
from typing import Any

from localcloud.ministack.step_functions.executions import now


def patch() -> None:
    """Replace TestState for JSONata tasks."""
    from ministack.services import stepfunctions as states

    test = states._test_state

    @functools.wraps(test)
    def test_task(data: dict[str, Any]) -> Any:
        context = json.loads(data.get("context") or "{}")
        context["variables"] = json.loads(data.get("variables") or "{}")
        try:
            definition = json.loads(data["definition"])
            state = definition
            if "States" in definition:
                state = definition["States"][data.get("stateName") or definition["StartAt"]]
            language = state.get("QueryLanguage") or definition.get("QueryLanguage")
        except (KeyError, ValueError):
            return test(data)
        if state.get("Type") != "Task" or language != "JSONata":
            return test({**data, "context": json.dumps(context)})
        retries = data.get("stateConfiguration", {}).get("retrierRetryCount", 0)
        context["State"] = {"Name": data.get("stateName"), "EnteredTime": now(), "RetryCount": retries}
        context.setdefault("Execution", {"Id": "test", "Name": "test", "StartTime": now(), "Input": {}})
        context.setdefault("QueryLanguage", "JSONata")
        inspection: dict[str, Any] = {}
        state_input = json.loads(data.get("input") or "{}")
        response = _run(state, state_input, context, data.get("mock") or {}, inspection)
        if data.get("inspectionLevel", "INFO") != "INFO":
            inspection["variables"] = context["variables"]
            response["inspectionData"] = {name: json.dumps(value) for name, value in inspection.items()}
        return states.json_response(response)

    states._test_state = test_task


def _run(
    state: dict[str, Any],
    state_input: Any,
    context: dict[str, Any],
    mock: dict[str, Any],
    inspection: dict[str, Any],
) -> dict[str, Any]:
    """Return TestState's response. Add the inspected values to `inspection`, and variables to the context."""
    from ministack.services import stepfunctions as states

    try:
        inspection["afterArguments"] = arguments = states._apply_jsonata_arguments(
            state, state_input, context
        )
        if "errorOutput" in mock:
            mocked = mock["errorOutput"]
            raise states._ExecutionError(mocked.get("error", ""), mocked.get("cause", ""))
        result = (
            json.loads(mock["result"])
            if "result" in mock
            else states._invoke_resource(state["Resource"], arguments)
        )
        inspection["result"] = result
        output = states._apply_jsonata_output(state, state_input, context, result=result, default=result)
        states._apply_state_assign(state, state_input, context, result=result)
    except states._ExecutionError as error:
        failure = {"error": error.error, "cause": error.cause}
        retrier, _ = states._find_matching_retrier(state.get("Retry", []), error.error, {})
        if retrier is not None and context["State"]["RetryCount"] < retrier.get("MaxAttempts", 3):
            return {"status": "RETRIABLE", **failure}
        catcher = states._find_matching_catcher(state.get("Catch", []), error.error)
        if catcher is None:
            return {"status": "FAILED", **failure}
        error_output = {"Error": error.error, "Cause": error.cause}
        output = states._apply_catcher(catcher, state_input, context, "JSONata", error_output)
        caught = {"status": "CAUGHT_ERROR", "output": json.dumps(output), "nextState": catcher["Next"]}
        return {**caught, **failure}
    next_state = {} if state.get("End") else {"nextState": state["Next"]}
    return {"status": "SUCCEEDED", "output": json.dumps(output), **next_state}
