"""What a role may do, and who may assume it, by MiniStack's evaluation of its policies.

MiniStack asks this of requests from outside; what its services do to each other on a role's behalf
(EventBridge starts a machine, a machine invokes a function) it lets pass. AWS asks it of both.
"""

import json
from collections.abc import Mapping
from typing import Any

from localcloud.ministack.settings import ACCOUNT, REGION


def role_denial(role_arn: str, session: str, action: str, resource: str) -> str | None:
    """AWS's message when a session of the role may not do this, or None when it may."""
    from ministack.core import iam_actions as actions
    from ministack.core import iam_evaluator as evaluator
    from ministack.services import iam

    name = role_arn.rsplit("/", 1)[-1]
    principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"
    context = evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn=resource,
        region=REGION,
    )
    policies = evaluator._gather_role_policies(name, ACCOUNT)
    limits = evaluator._permissions_boundary(iam._roles, name, ACCOUNT)
    result = evaluator.evaluate(context, policies, *limits)
    if result.decision == "Allow":
        return None
    return str(actions.identity_denial_message(action, principal, resource, result.decision == "Deny"))


def trusts(role: Mapping[str, Any], service: str) -> bool:
    """Whether the service (e.g. sagemaker.amazonaws.com) may assume this role of MiniStack's table."""
    from ministack.core import iam_evaluator as evaluator

    document = role.get("AssumeRolePolicyDocument") or {}
    if isinstance(document, str):
        document = json.loads(document)
    return any(
        statement.get("Effect") == "Allow"
        and "sts:AssumeRole" in _listed(statement.get("Action"))
        and evaluator._service_principal_matches(statement.get("Principal"), service)
        for statement in _listed(document.get("Statement", []))
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
