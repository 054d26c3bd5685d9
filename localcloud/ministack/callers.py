"""What the caller of a request may do, asked of MiniStack on behalf of who answers the request."""

from collections.abc import Mapping
from typing import Any

from localcloud.ministack.settings import REGION


def caller_denial(
    headers: Mapping[str, str],
    query: Mapping[str, Any],
    action: str,
    resource: str,
    context: Mapping[str, str] | None = None,
) -> str | None:
    """AWS's message when who signed the request may not do this, or None when they may.

    `context` is what conditions of policies may ask for, by key (e.g. iam:PassedToService).
    """
    from ministack.core import iam_actions as actions
    from ministack.core import iam_evaluator as evaluator
    from ministack.core import router

    key = router.extract_access_key_id(dict(headers), dict(query))
    # An empty key is the root's to MiniStack; here it only means that nobody signed.
    if not key:
        return f"Nobody signed the request for {action} on {resource}"
    denied = evaluator.enforce(
        key,
        action,
        action.split(":")[0],
        REGION,
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
    """AWS's message when the caller may not pass this role to a service (e.g. scheduler.amazonaws.com)."""
    return caller_denial(headers, query, "iam:PassRole", role_arn, {"iam:PassedToService": service})
