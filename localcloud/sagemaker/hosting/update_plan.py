"""DeploymentConfig: how an update moves an endpoint's requests from the old fleet to the new one.

The service model bounds the waits, the time limit and the number of alarms (shapes.py checks those); here is
what it only says in words, and the plan that follows from a configuration.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.api.errors import ValidationError

_SIZES = {"ALL_AT_ONCE": None, "CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
"""Which member gives the size of a step, by the type of traffic routing."""
_LIMITS = {
    "CanarySize": (0, 50, "less than or equal to 50%"),
    "LinearStepSize": (10, 50, "10-50%"),
    "MaximumBatchSize": (5, 50, "between 5% to 50%"),
}
"""Least and most percent of a variant's instances, and how the service model words it."""


@dataclass(frozen=True)
class Step:
    """One step of an update: the new fleet's share of the requests, and how long it then bakes.

    seconds: until the next step, or the end of the old fleet. member: the request's member that says so.
    """

    share: float
    seconds: int
    member: str


@dataclass(frozen=True)
class Shift:
    """The plan of an update.

    steps: one after the other; with the last one all requests are the new fleet's.
    limit: seconds the whole update may take; None when nothing limits it.
    alarms: the names of the CloudWatch alarms that take it back.
    """

    steps: tuple[Step, ...]
    limit: int | None
    alarms: tuple[str, ...]


def checked(config: dict[str, Any] | None) -> dict[str, Any] | None:
    """The configuration as given; raises ValidationError where its parts do not fit together."""
    if config is None:
        return None
    if "BlueGreenUpdatePolicy" in config and "RollingUpdatePolicy" in config:
        raise ValidationError("Specify either BlueGreenUpdatePolicy or RollingUpdatePolicy, and not both.")
    if "BlueGreenUpdatePolicy" in config:
        _check_routing(config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"])
    if "RollingUpdatePolicy" in config:
        _check_percent(config["RollingUpdatePolicy"]["MaximumBatchSize"], "MaximumBatchSize")
    for alarm in config.get("AutoRollbackConfiguration", {}).get("Alarms", []):
        if "AlarmName" not in alarm:
            raise ValidationError("Each of AutoRollbackConfiguration.Alarms needs an AlarmName.")
    return config


def shift(config: dict[str, Any] | None, counts: Collection[int]) -> Shift:
    """The plan for a fleet whose variants have these numbers of instances.

    On AWS a step is a number of instances, whatever the request says it in; here percents are exact. Of
    several variants the one with the fewest instances decides. A rolling update moves its requests batch by
    batch, as a linear one does; its old instances end together.

    Raises ValidationError when a step is too large or too small a part of the instances.
    """
    config = config or {}
    rolling = config.get("RollingUpdatePolicy")
    policy = rolling or config.get("BlueGreenUpdatePolicy", {})
    steps = _rolling_steps(rolling, counts) if rolling else _blue_green_steps(policy, counts)
    alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    return Shift(
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
    least, most, words = _LIMITS[member]
    if not least <= percent <= most:
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
    """The shares before the last one, which is everything."""
    steps = math.ceil(100 / percent - 1e-9)  # 100 / (100 / 3) is a little more than 3
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
