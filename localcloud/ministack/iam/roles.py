"""The permissions of a role, and the services that may assume it.

AWS: IAM authorizes the calls that one service sends to another as a role. For example, EventBridge starts a
state machine, and a state machine invokes a function.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_terms-and-concepts.html
MiniStack: it authorizes requests from outside, but not these calls between its services.
Here: the other folders ask these functions before a service acts. MiniStack evaluates the role's policies.
"""

import json
from collections.abc import Mapping
from typing import Any

from localcloud.ministack.core import regions
from localcloud.ministack.core.options import ACCOUNT


def role_denial(role_arn: str, session: str, action: str, resource: str) -> str | None:
    """Return AWS's message if a session of the role may not perform the action, or None if it may."""
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
        region=regions.current(),
    )
    policies = evaluator._gather_role_policies(name, ACCOUNT)
    limits = evaluator._permissions_boundary(iam._roles, name, ACCOUNT)
    result = evaluator.evaluate(context, policies, *limits)
    if result.decision == "Allow":
        return None
    return str(actions.identity_denial_message(action, principal, resource, result.decision == "Deny"))


def assume_role_denial(role_arn: str, service: str) -> str | None:
    """Return why a service, e.g. sagemaker.amazonaws.com, may not assume the role, or None if it may."""
    from ministack.services import iam

    role = iam._roles.get(role_arn.rsplit("/", 1)[-1])
    if role is None or role.get("Arn") != role_arn:
        return f"The role {role_arn} does not exist"
    return None if _trusts(role, service) else f"The role {role_arn} does not trust {service}"


def _trusts(role: Mapping[str, Any], service: str) -> bool:
    from ministack.core import iam_evaluator as evaluator

    document = role.get("AssumeRolePolicyDocument") or {}
    if isinstance(document, str):
        document = json.loads(document)
    return any(
        statement.get("Effect") == "Allow"
        and "sts:AssumeRole" in _as_list(statement.get("Action"))
        and evaluator._service_principal_matches(statement.get("Principal"), service)
        for statement in _as_list(document.get("Statement", []))
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
