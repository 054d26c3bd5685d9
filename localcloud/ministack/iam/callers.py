"""The permissions of a request's caller, by MiniStack's evaluation of the caller's policies."""

from collections.abc import Mapping
from typing import Any

from localcloud.ministack.core import regions


def caller_denial(
    headers: Mapping[str, str],
    query: Mapping[str, Any],
    action: str,
    resource: str,
    context: Mapping[str, Any] | None = None,
) -> str | None:
    """Check whether the signer of a request may perform an action.

    Args:
        headers: The request's headers, by lower-case name.
        query: The request's query parameters.
        action: The action, e.g. sagemaker:CreateModel.
        resource: The ARN of the resource.
        context: Values of condition keys, e.g. of iam:PassedToService.

    Returns:
        AWS's message if the signer may not, or None.
    """
    from ministack.core import iam_actions as actions
    from ministack.core import iam_evaluator as evaluator
    from ministack.core import router

    key = router.extract_access_key_id(dict(headers), dict(query))
    # MiniStack takes an empty key for the root's. Here it means that the request is not signed.
    if not key:
        return f"The request for {action} on {resource} is not signed"
    denied = evaluator.enforce(
        key,
        action,
        action.split(":")[0],
        regions.current(),
        resource_arn=resource,
        service_context=dict(context or {}),
    )
    if denied is None:
        return None
    if not hasattr(denied, "principal_arn"):
        return str(denied.message)
    return str(
        actions.identity_denial_message(action, denied.principal_arn, resource, denied.decision == "Deny")
    )


def pass_role_denial(
    headers: Mapping[str, str], query: Mapping[str, Any], role_arn: str, service: str
) -> str | None:
    """Check whether the signer may pass a role to a service, e.g. to scheduler.amazonaws.com.

    Returns:
        AWS's message if the signer may not, or None.
    """
    return caller_denial(headers, query, "iam:PassRole", role_arn, {"iam:PassedToService": service})
