"""EventBridge: S3's events carry the version id; targets are called as on AWS, and only if that is allowed.

MiniStack leaves the version id out, lets a rule call any target, and calls a function once whatever comes of
it. On AWS a state machine is started by the target's role, a function's own policy says which rule may
invoke it, and a function that fails is tried twice more.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

import contextvars
import functools
import inspect
import json
import logging
from collections.abc import Mapping
from typing import Any

from localcloud.ministack.roles import role_denial
from localcloud.ministack.settings import ACCOUNT, REGION

logger = logging.getLogger("localcloud")

_uploaded_version: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "uploaded_version", default=None
)


def mend() -> None:
    """Mend the events of uploads and the calls of targets."""
    _mend_uploads()
    _mend_targets()


def _mend_uploads() -> None:
    from ministack.services import eventbridge as events
    from ministack.services import s3

    fire = s3._fire_s3_event
    dispatch = events._dispatch_event

    @functools.wraps(fire)
    def firing(*args: Any, **kwargs: Any) -> None:
        version = inspect.signature(fire).bind(*args, **kwargs).arguments.get("version_id")
        previous = _uploaded_version.set(version)
        try:
            fire(*args, **kwargs)
        finally:
            _uploaded_version.reset(previous)

    @functools.wraps(dispatch)
    def dispatching(event: dict[str, Any], view: Any = None) -> None:
        version = _uploaded_version.get()
        if view is None and event.get("Source") == "aws.s3" and version:
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, view)

    s3._fire_s3_event = firing
    events._dispatch_event = dispatching


def _mend_targets() -> None:
    from ministack.services import eventbridge as events
    from ministack.services import lambda_svc as functions

    invoke_target = events._invoke_target

    @functools.wraps(invoke_target)
    def invoking(
        target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None
    ) -> None:
        if refusal := _target_refusal(target, rule):
            # On AWS this is a FailedInvocations metric and nothing else.
            logger.warning("EventBridge rule %s: %s", rule.get("Name"), refusal)
            return
        invoke_target(target, event, rule, view)

    def invoking_lambda(arn: str, payload: str) -> None:
        function, config, name = functions._get_func_record_for_ref(arn)
        if not function or not config:
            logger.warning("EventBridge: there is no function %s", name)
            return
        # Asynchronous invocation: AWS tries twice more when the function fails.
        functions.invoke_async_with_retry(
            functions._execution_record_for_config(function, config), json.loads(payload)
        )

    events._invoke_target = invoking
    events._dispatch_to_lambda = invoking_lambda


def _target_refusal(target: Mapping[str, Any], rule: Mapping[str, Any]) -> str | None:
    """Why EventBridge may not call this target: by the target's role, or by the function's own policy."""
    arn = str(target.get("Arn", ""))
    if ":states:" in arn:
        role = str(target.get("RoleArn", ""))
        if not role:
            return f"the target {arn} has no RoleArn"
        return role_denial(role, "events", "states:StartExecution", arn)
    if ":lambda:" in arn and not _may_be_invoked(arn, str(rule.get("Arn", ""))):
        return f"the policy of {arn} does not let events.amazonaws.com invoke it"
    return None


def _may_be_invoked(function_arn: str, rule_arn: str) -> bool:
    from ministack.core import iam_evaluator as evaluator
    from ministack.services import lambda_svc as functions

    found = functions.function_policy_for_arn(function_arn)
    context = evaluator.EvalContext(
        principal_arn="events.amazonaws.com",
        principal_type="Service",
        principal_account=ACCOUNT,
        action="lambda:InvokeFunction",
        resource_arn=function_arn,
        region=REGION,
        service_context={"aws:sourcearn": rule_arn, "aws:sourceaccount": ACCOUNT},
    )
    policy = found[0] if found else None
    result = evaluator.evaluate_resource_policy(policy, context, service="events.amazonaws.com")
    return bool(result.decision == "Allow")
