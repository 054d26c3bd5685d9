"""The plan of an endpoint update: how a DeploymentConfig moves requests from the old fleets to the new.

The service model bounds waits, the time limit and the number of alarms; api/shapes.py checks those. This
module checks what AWS states in prose only.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.core.errors import ValidationError

_SIZES = {"ALL_AT_ONCE": None, "CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
"""The member with the size of a step, for each type of traffic routing."""
_LIMITS = {
    "CanarySize": (0, 50, "less than or equal to 50%"),
    "LinearStepSize": (10, 50, "10-50%"),
    "MaximumBatchSize": (5, 50, "between 5% to 50%"),
}
"""The lowest and highest percentage of a variant's instances, and the service model's words for it."""


@dataclass(frozen=True)
class Step:
    """One step of an update.

    share: the fraction of the requests that the new fleets receive.
    seconds: how long the new fleets bake before the next step or the end of the old fleets.
    member: the request's member that sets the seconds.
    """

    share: float
    seconds: int
    member: str


@dataclass(frozen=True)
class UpdatePlan:
    """The plan of an update.

    steps: the steps in order; in the last one the new fleets receive all requests.
    limit: seconds that the whole update may take, or None.
    alarms: the names of the CloudWatch alarms that roll the update back.
    """

    steps: tuple[Step, ...]
    limit: int | None
    alarms: tuple[str, ...]


def check(config: dict[str, Any] | None) -> None:
    """Raise ValidationError if the parts of a DeploymentConfig contradict each other."""
    if config is None:
        return
    if "BlueGreenUpdatePolicy" in config and "RollingUpdatePolicy" in config:
        raise ValidationError("Specify either BlueGreenUpdatePolicy or RollingUpdatePolicy, and not both.")
    if "BlueGreenUpdatePolicy" in config:
        _check_routing(config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"])
    if "RollingUpdatePolicy" in config:
        _check_percent(config["RollingUpdatePolicy"]["MaximumBatchSize"], "MaximumBatchSize")
    for alarm in config.get("AutoRollbackConfiguration", {}).get("Alarms", []):
        if "AlarmName" not in alarm:
            raise ValidationError("Each of AutoRollbackConfiguration.Alarms needs an AlarmName.")


def plan(config: dict[str, Any] | None, counts: Collection[int]) -> UpdatePlan:
    """Return the plan for variants with these numbers of instances.

    On AWS a step is a whole number of instances; here percentages are exact. With several variants, the one
    with the fewest instances decides. A rolling update moves its requests batch by batch, as a linear update
    does, but its old instances end together.

    Args:
        config: The DeploymentConfig.
        counts: The number of instances of each variant.

    Raises:
        ValidationError: A step is too large or too small a part of the instances.
    """
    config = config or {}
    rolling = config.get("RollingUpdatePolicy")
    policy = rolling or config.get("BlueGreenUpdatePolicy", {})
    steps = _rolling_steps(rolling, counts) if rolling else _blue_green_steps(policy, counts)
    alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    return UpdatePlan(
        steps=tuple(steps),
        limit=policy.get("MaximumExecutionTimeoutInSeconds"),
        alarms=tuple(alarm["AlarmName"] for alarm in alarms),
    )


def _check_routing(routing: dict[str, Any]) -> None:
    wanted = _SIZES[routing["Type"]]
    for size in ("CanarySize", "LinearStepSize"):
        if size == wanted and size not in routing:
            raise ValidationError(f"{size} is required for traffic routing of type {routing['Type']}.")
        if size != wanted and size in routing:
            raise ValidationError(f"{size} is not allowed for traffic routing of type {routing['Type']}.")
    if wanted:
        _check_percent(routing[wanted], wanted)


def _check_percent(size: dict[str, Any], member: str) -> None:
    if size["Type"] == "CAPACITY_PERCENT":
        _check_share(size["Value"], member, f"{size['Value']}%")


def _check_share(percent: float, member: str, given: str) -> None:
    lowest, highest, words = _LIMITS[member]
    if not lowest <= percent <= highest:
        raise ValidationError(
            f"Invalid {member}: {given}. Value must be {words} of the variant's total instance count."
        )


def _blue_green_steps(policy: dict[str, Any], counts: Collection[int]) -> list[Step]:
    last = Step(1.0, policy.get("TerminationWaitInSeconds", 0), "TerminationWaitInSeconds")
    routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
    member = _SIZES[routing["Type"]]
    if member is None:
        return [last]
    percent = _percent(routing[member], member, counts)
    shares = _equal_shares(percent) if member == "LinearStepSize" else [percent / 100]
    return [*_waiting(shares, routing), last]


def _rolling_steps(policy: dict[str, Any], counts: Collection[int]) -> list[Step]:
    shares = _equal_shares(_percent(policy["MaximumBatchSize"], "MaximumBatchSize", counts))
    return _waiting([*shares, 1.0], policy)


def _waiting(shares: list[float], waits: dict[str, Any]) -> list[Step]:
    return [Step(share, waits["WaitIntervalInSeconds"], "WaitIntervalInSeconds") for share in shares]


def _equal_shares(percent: float) -> list[float]:
    """Return the shares of all steps but the last, which is 1."""
    steps = math.ceil(100 / percent - 1e-9)  # 100 / (100 / 3) is slightly more than 3
    return [step * percent / 100 for step in range(1, steps)]


def _percent(size: dict[str, Any], member: str, counts: Collection[int]) -> float:
    fewest = min(counts)
    if fewest < 2:
        raise ValidationError(
            f"Invalid {member}: a variant of {fewest} instance cannot take a part of the traffic. It needs at"
            " least 2 instances, or traffic routing of type ALL_AT_ONCE."
        )
    if size["Type"] == "CAPACITY_PERCENT":
        return float(size["Value"])
    percent: float = 100 * size["Value"] / fewest
    _check_share(percent, member, f"{size['Value']} of {fewest} instances")
    return percent
