"""TestState runs a JSONata task with its Arguments, Output, Assign, Retry and Catch, and takes variables.

MiniStack's TestState leaves these out of a JSONata task, and knows no variables. Other states are left
to it.
https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html
"""

import functools
import json
from typing import Any

from localcloud.ministack.step_functions.executions import now


def mend() -> None:
    """Answer TestState for JSONata tasks here."""
    from ministack.services import stepfunctions as states

    test = states._test_state

    @functools.wraps(test)
    def testing(data: dict[str, Any]) -> Any:
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
        shown: dict[str, Any] = {}
        given = json.loads(data.get("input") or "{}")
        answer = _run(state, given, context, data.get("mock") or {}, shown)
        if data.get("inspectionLevel", "INFO") != "INFO":
            answer["inspectionData"] = {
                name: json.dumps(value)
                for name, value in {**shown, "variables": context["variables"]}.items()
            }
        return states.json_response(answer)

    states._test_state = testing


def _run(
    state: dict[str, Any],
    given: Any,
    context: dict[str, Any],
    mock: dict[str, Any],
    shown: dict[str, Any],
) -> dict[str, Any]:
    """TestState's answer. What inspection shows is put into `shown` and, Assign's doing, into the context."""
    from ministack.services import stepfunctions as states

    try:
        shown["afterArguments"] = arguments = states._apply_jsonata_arguments(state, given, context)
        if "errorOutput" in mock:
            failed = mock["errorOutput"]
            raise states._ExecutionError(failed.get("error", ""), failed.get("cause", ""))
        result = (
            json.loads(mock["result"])
            if "result" in mock
            else states._invoke_resource(state["Resource"], arguments)
        )
        shown["result"] = result
        output = states._apply_jsonata_output(state, given, context, result=result, default=result)
        states._apply_state_assign(state, given, context, result=result)
    except states._ExecutionError as error:
        failure = {"error": error.error, "cause": error.cause}
        retrier, _ = states._find_matching_retrier(state.get("Retry", []), error.error, {})
        if retrier is not None and context["State"]["RetryCount"] < retrier.get("MaxAttempts", 3):
            return {"status": "RETRIABLE", **failure}
        catcher = states._find_matching_catcher(state.get("Catch", []), error.error)
        if catcher is None:
            return {"status": "FAILED", **failure}
        said = {"Error": error.error, "Cause": error.cause}
        output = states._apply_catcher(catcher, given, context, "JSONata", said)
        caught = {"status": "CAUGHT_ERROR", "output": json.dumps(output), "nextState": catcher["Next"]}
        return {**caught, **failure}
    following = {} if state.get("End") else {"nextState": state["Next"]}
    return {"status": "SUCCEEDED", "output": json.dumps(output), **following}
