"""Custom resources: their function is invoked as AWS invokes it, and its answer checked.

On AWS the function is invoked asynchronously, and again when it fails; the stack waits for an answer that
names the request until ServiceTimeout has passed, whatever the function does; and after a creation that
failed comes a Delete request. MiniStack calls the function once, waits for its end and only then for
ServiceTimeout, takes any answer, and forgets what failed.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html
"""

import json
import logging
import secrets
import uuid
from typing import Any

logger = logging.getLogger("localcloud")

_LIMIT = 4096
"""Bytes of an answer."""
_TIMEOUT = 3600
"""Seconds, where the template says no ServiceTimeout."""


class _Failed(RuntimeError):
    """The request came to nothing; `physical_id` is the resource that it may have left."""

    def __init__(self, reason: str, physical_id: str) -> None:
        super().__init__(reason)
        self.physical_id = physical_id


def mend() -> None:
    """Invoke the functions of custom resources from here."""
    from ministack.services.cloudformation import custom_resource

    custom_resource.invoke_custom_resource = _invoke


def _invoke(
    request_type: str,
    logical_id: str,
    props: dict[str, Any],
    stack_name: str,
    stack_id: str,
    resource_type: str,
    physical_id: str | None = None,
    old_props: dict[str, Any] | None = None,
) -> tuple[str, dict[str, Any]]:
    """The physical id and the attributes of a custom resource after a request to its function.

    Blocks until the answer or the time limit. Raises RuntimeError, whose text is the stack event's reason.
    """
    from ministack.services.cloudformation import custom_resource

    request = {
        "RequestType": request_type,
        "StackId": stack_id,
        "ResourceType": resource_type,
        "LogicalResourceId": logical_id,
        "ResourceProperties": custom_resource._normalise_resource_properties(props),
    }
    if old_props is not None:
        request["OldResourceProperties"] = custom_resource._normalise_resource_properties(old_props)
    try:
        return _ask(request, physical_id, f"{stack_name}-{logical_id}-{secrets.token_hex(6)}")
    except _Failed as failure:
        if request_type == "Create":
            try:
                _ask({**request, "RequestType": "Delete"}, failure.physical_id, failure.physical_id)
            except _Failed as again:
                logger.warning("%s of %s may be left behind: %s", logical_id, stack_name, again)
        raise


def _ask(request: dict[str, Any], physical_id: str | None, made_up: str) -> tuple[str, dict[str, Any]]:
    """Invoke the function and wait. `made_up` names the resource where the answer does not."""
    from ministack.services import lambda_svc as functions
    from ministack.services.cloudformation import custom_resource

    properties = request["ResourceProperties"]
    left = physical_id or made_up
    function, config, name = functions._get_func_record_for_ref(properties.get("ServiceToken", ""))
    if not function or not config:
        raise _Failed(f"There is no function {name} for ServiceToken", left)
    token = secrets.token_urlsafe(32)
    request = {
        **request,
        "RequestId": str(uuid.uuid4()),
        "ResponseURL": custom_resource._response_url(token),
        **({"PhysicalResourceId": physical_id} if physical_id is not None else {}),
    }
    answered = custom_resource.register_token(token)
    try:
        functions.invoke_async_with_retry(functions._execution_record_for_config(function, config), request)
        if not answered.wait(float(properties.get("ServiceTimeout", _TIMEOUT))):
            raise _Failed(
                "CloudFormation did not receive a response from your Custom Resource. Please check your logs "
                f"for requestId [{request['RequestId']}].",
                left,
            )
        answer = custom_resource._pending[token]["result"]
    finally:
        custom_resource._pending.pop(token, None)
    left = str(answer.get("PhysicalResourceId") or left)
    if flaw := _flaw(answer, request):
        raise _Failed(flaw, left)
    return left, answer.get("Data") or {}


def _flaw(answer: dict[str, Any], request: dict[str, Any]) -> str | None:
    """Why an answer fails the request: because it says so, or because it is none."""
    if len(json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()) > _LIMIT:
        return f"The custom resource's response has more than {_LIMIT} bytes"
    if not answer.get("PhysicalResourceId") or not isinstance(answer["PhysicalResourceId"], str):
        return "The custom resource's response has no PhysicalResourceId"
    for name in ("StackId", "RequestId", "LogicalResourceId"):
        if answer.get(name) != request[name]:
            return f"The custom resource's response has not the request's {name}"
    if answer.get("Status") == "FAILED":
        return str(answer.get("Reason") or "The custom resource's response is FAILED and has no Reason")
    if answer.get("Status") != "SUCCESS":
        return f"The custom resource's response has the Status {answer.get('Status')}, not SUCCESS or FAILED"
    return None
