"""The calls of a rule's targets.

AWS: EventBridge starts a state machine with the target's role. A function's own policy says which rule may
invoke it. EventBridge invokes functions asynchronously, so a function that fails is invoked twice more.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
MiniStack: a rule may call every target, and a function is invoked once.
Here: a target is called only if the role or the policy allows it, and functions are invoked asynchronously.
"""

import functools
import json
import logging
from collections.abc import Mapping
from typing import Any

from localcloud.ministack.core import regions
from localcloud.ministack.core.options import ACCOUNT
from localcloud.ministack.iam.roles import role_denial

logger = logging.getLogger("localcloud")


def patch() -> None:
    """Authorize the calls of targets, and invoke functions asynchronously."""
    from ministack.services import eventbridge as events
    from ministack.services import lambda_svc as functions

    invoke = events._invoke_target

    @functools.wraps(invoke)
    def invoke_if_allowed(
        target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None
    ) -> None:
        if denial := _denial(target, rule):
            # On AWS this is visible only in the CloudWatch metric FailedInvocations.
            logger.warning("EventBridge rule %s: %s", rule.get("Name"), denial)
            return
        invoke(target, event, rule, view)

    def invoke_function(arn: str, payload: str) -> None:
        function, config, name = functions._get_func_record_for_ref(arn)
        if not function or not config:
            logger.warning("EventBridge: the function %s does not exist", name)
            return
        functions.invoke_async_with_retry(
            functions._execution_record_for_config(function, config), json.loads(payload)
        )

    events._invoke_target = invoke_if_allowed
    events._dispatch_to_lambda = invoke_function


def _denial(target: Mapping[str, Any], rule: Mapping[str, Any]) -> str | None:
    """Return why EventBridge may not call this target, or None if it may."""
    arn = str(target.get("Arn", ""))
    if ":states:" in arn:
        role = str(target.get("RoleArn", ""))
        if not role:
            return f"the target {arn} has no RoleArn"
        return role_denial(role, "events", "states:StartExecution", arn)
    if ":lambda:" in arn and not _policy_allows(arn, str(rule.get("Arn", ""))):
        return f"the policy of {arn} does not let events.amazonaws.com invoke it"
    return None


def _policy_allows(function_arn: str, rule_arn: str) -> bool:
    from ministack.core import iam_evaluator as evaluator
    from ministack.services import lambda_svc as functions

    found = functions.function_policy_for_arn(function_arn)
    context = evaluator.EvalContext(
        principal_arn="events.amazonaws.com",
        principal_type="Service",
        principal_account=ACCOUNT,
        action="lambda:InvokeFunction",
        resource_arn=function_arn,
        region=regions.current(),
        service_context={"aws:sourcearn": rule_arn, "aws:sourceaccount": ACCOUNT},
    )
    policy = found[0] if found else None
    result = evaluator.evaluate_resource_policy(policy, context, service="events.amazonaws.com")
    return bool(result.decision == "Allow")
