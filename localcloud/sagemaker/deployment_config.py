"""DeploymentConfig: what the service model does not say of it.

Limits: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from typing import Any

from localcloud.sagemaker.errors import ValidationError


def checked(config: dict[str, Any] | None) -> dict[str, Any] | None:
    """The configuration as given; raises ValidationError where its parts do not fit together."""
    if config is None:
        return None
    if "BlueGreenUpdatePolicy" in config and "RollingUpdatePolicy" in config:
        raise ValidationError("Specify either BlueGreenUpdatePolicy or RollingUpdatePolicy, and not both.")
    if "BlueGreenUpdatePolicy" in config:
        _check_routing(config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"])
    if "RollingUpdatePolicy" in config:
        _check_share(config["RollingUpdatePolicy"]["MaximumBatchSize"], "MaximumBatchSize", 5, 50)
    return config


def _check_routing(routing: dict[str, Any]) -> None:
    sizes = {"ALL_AT_ONCE": None, "CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
    wanted = sizes[routing["Type"]]
    for size in ("CanarySize", "LinearStepSize"):
        if size == wanted and size not in routing:
            raise ValidationError(f"{size} is required for traffic routing of type {routing['Type']}.")
        if size != wanted and size in routing:
            raise ValidationError(f"{size} is not allowed for traffic routing of type {routing['Type']}.")
    if wanted:
        _check_share(routing[wanted], wanted, 10 if wanted == "LinearStepSize" else 1, 50)


def _check_share(size: dict[str, Any], name: str, least: int, most: int) -> None:
    if size["Type"] == "CAPACITY_PERCENT" and not least <= size["Value"] <= most:
        raise ValidationError(f"{name} must be between {least} and {most} percent of the fleet's capacity.")
