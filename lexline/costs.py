"""Costs in words, from the estimates in the runs' reports.

Every figure is the pipeline's own estimate, by the price table that it had when the run ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexline import wording

Estimate = Mapping[str, Any]
"""A report's `cost` or `standing_cost`: RunCost and EndpointCost of functions/pipeline/contracts.py."""


def on_training(cost: Estimate) -> str:
    """What a run's training cost, and what spot instances saved."""
    total = cost.get("total")
    if total is None:
        return f"unknown, for the price table has no {cost.get('instance_type')}"
    saved = f" (spot instances saved {on_spot(cost)})" if cost.get("spot_saving") else ""
    return f"about {wording.money(total)}{saved}"


def on_spot(cost: Estimate) -> str:
    """What spot instances saved, as a share and in dollars; "" where the job had none."""
    saving, saved = cost.get("spot_saving"), cost.get("spot_saved")
    if saving is None:
        return ""
    return f"{saving:.0%}" + (f", {wording.money(saved)}" if saved else "")


def on_endpoint(standing: Estimate) -> str:
    """What an endpoint goes on costing."""
    if standing.get("kind") == "serverless":
        requests = standing.get("per_1000_requests")
        asked = (
            "" if requests is None else f", about {wording.money(requests)} for 1,000 requests of a second"
        )
        return f"nothing while nobody asks{asked}"
    if standing.get("per_hour") is None:
        return f"unknown, for the price table has no {standing.get('instance_type')}"
    rates = [
        f"{wording.money(standing[f'per_{unit}'])} {each}"
        for unit, each in (("hour", "an hour"), ("day", "a day"), ("month", "a month"))
    ]
    return f"about {', '.join(rates)} for as long as it stands"
