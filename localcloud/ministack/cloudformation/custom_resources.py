"""Custom resources.

AWS: CloudFormation invokes the function asynchronously, so a function that fails is invoked again. Whatever
the function does, the stack waits for a response to the request until ServiceTimeout has passed. After a
creation that failed, CloudFormation sends a Delete request.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html
MiniStack: it invokes the function once, waits for the function's end and only then for ServiceTimeout. It
accepts every response, and sends no Delete request after a failed creation.
Here: the function is invoked as on AWS, and the response is checked.
"""

import json
import logging
import secrets
import uuid
from typing import Any

logger = logging.getLogger("localcloud")

_MAX_BYTES = 4096
"""The size limit of a response."""
_TIMEOUT = 3600
"""Seconds to wait if the template has no ServiceTimeout."""


class _RequestFailed(RuntimeError):
    """A request failed; `physical_id` names the resource that the function may have created."""

    def __init__(self, reason: str, physical_id: str) -> None:
        super().__init__(reason)
        self.physical_id = physical_id


def patch() -> None:
    """Replace how the functions of custom resources are invoked."""
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
    """Send a request to a custom resource's function and wait for the response.

    Returns:
        The physical id and the attributes of the resource.

    Raises:
        RuntimeError: The request failed. The message becomes the reason in the stack's event.
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
        return _send(request, physical_id, f"{stack_name}-{logical_id}-{secrets.token_hex(6)}")
    except _RequestFailed as failure:
        if request_type == "Create":
            try:
                _send({**request, "RequestType": "Delete"}, failure.physical_id, failure.physical_id)
            except _RequestFailed as second:
                logger.warning("%s of %s may still exist: %s", logical_id, stack_name, second)
        raise


def _send(request: dict[str, Any], physical_id: str | None, default_id: str) -> tuple[str, dict[str, Any]]:
    """Invoke the function and wait. `default_id` is the physical id if the response has none."""
    from ministack.services import lambda_svc as functions
    from ministack.services.cloudformation import custom_resource

    properties = request["ResourceProperties"]
    resource = physical_id or default_id
    function, config, name = functions._get_func_record_for_ref(properties.get("ServiceToken", ""))
    if not function or not config:
        raise _RequestFailed(f"The function {name} of ServiceToken does not exist", resource)
    token = secrets.token_urlsafe(32)
    request = {
        **request,
        "RequestId": str(uuid.uuid4()),
        "ResponseURL": custom_resource._response_url(token),
        **({"PhysicalResourceId": physical_id} if physical_id is not None else {}),
    }
    received = custom_resource.register_token(token)
    try:
        functions.invoke_async_with_retry(functions._execution_record_for_config(function, config), request)
        if not received.wait(float(properties.get("ServiceTimeout", _TIMEOUT))):
            raise _RequestFailed(
                "CloudFormation did not receive a response from your Custom Resource. Please check your logs "
                f"for requestId [{request['RequestId']}].",
                resource,
            )
        response = custom_resource._pending[token]["result"]
    finally:
        custom_resource._pending.pop(token, None)
    resource = str(response.get("PhysicalResourceId") or resource)
    if error := _error(response, request):
        raise _RequestFailed(error, resource)
    return resource, response.get("Data") or {}


def _error(response: dict[str, Any], request: dict[str, Any]) -> str | None:
    """Return why a response fails the request: its own reason, or that it is invalid."""
    prefix = "The custom resource's response"
    if len(json.dumps(response, separators=(",", ":"), ensure_ascii=False).encode()) > _MAX_BYTES:
        return f"{prefix} has more than {_MAX_BYTES} bytes"
    if not response.get("PhysicalResourceId") or not isinstance(response["PhysicalResourceId"], str):
        return f"{prefix} has no PhysicalResourceId"
    for name in ("StackId", "RequestId", "LogicalResourceId"):
        if response.get(name) != request[name]:
            return f"{prefix} has another {name} than the request"
    if response.get("Status") == "FAILED":
        return str(response.get("Reason") or f"{prefix} is FAILED and has no Reason")
    if response.get("Status") != "SUCCESS":
        return f"{prefix} has the Status {response.get('Status')}, not SUCCESS or FAILED"
    return None
