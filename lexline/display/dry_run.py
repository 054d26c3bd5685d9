"""What a run would do, how long it would take, and what it would cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from lexline.aws.endpoint import Endpoint
from lexline.aws.outlook import Former, Outlook
from lexline.aws.runs import id_in
from lexline.display import cost, formatting, step_names, terminal

_HOURS_PER_MONTH = 730
"""As the pipeline counts a month."""
_SHORT_SECONDS = 5
_NAMED = 5


@dataclass(frozen=True)
class DryRun:
    """What is known of a run that is not started.

    Attributes:
        dataset: Name of the dataset.
        uploaded: Names and sizes of the files that would be uploaded.
        deleted: How many files of the dataset would be deleted.
        files: How many files the dataset would have then.
        size: Their bytes.
        plan: The run with everything decided; {} if the user may not invoke Plan.
        endpoint: The endpoint as it is now.
        owner: The run that has the lease now, or "".
        outlook: What is known of the run's time and cost.
        prices: The price table.
        warnings: Sentences on what may go wrong.
    """

    dataset: str
    uploaded: Sequence[tuple[str, int]]
    deleted: int
    files: int
    size: int
    plan: Mapping[str, Any]
    endpoint: Endpoint | None
    owner: str
    outlook: Outlook
    prices: Mapping[str, Any]
    warnings: Sequence[str] = field(default=())


def show(console: Console, found: DryRun, *, bucket: str, local: bool) -> None:
    """Print what the run would do, step by step, then its time and its cost."""
    terminal.prose(console, "The request is valid. Nothing was uploaded or started. The run would:")
    for number, action in enumerate(_actions(found, bucket), start=1):
        terminal.prose(console, f"  {number}. {action}")
    for warning in found.warnings:
        terminal.prose(console, f"Warning: {warning}")
    console.print()
    terminal.prose(console, _time(found.outlook.former))
    for sentence in _costs(found):
        terminal.prose(console, sentence)
    if local:
        terminal.prose(console, "The local cloud is free. These figures are what AWS would charge.")
    terminal.prose(console, "To start it, run the same command without --dry-run.")


def _actions(found: DryRun, bucket: str) -> Iterator[str]:
    plan = found.plan
    if found.uploaded:
        names = [name for name, _ in found.uploaded]
        more = [f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
        what = formatting.counted(len(names), "file")
        size = formatting.size(sum(size for _, size in found.uploaded))
        yield (
            f"upload {what} ({size}) to s3://{bucket}/uploads/{found.dataset}/: "
            f"{formatting.listing([*names[:_NAMED], *more])}"
        )
    if found.deleted:
        yield f"delete the {formatting.counted(found.deleted, 'other file')} of the dataset"
    if found.owner:
        yield f"wait until run {id_in(found.owner)} no longer uses the endpoint"
    yield (
        f"check and prepare the {formatting.counted(found.files, 'file')} ({formatting.size(found.size)}) of "
        f"the dataset {found.dataset}"
    )
    champion = found.endpoint.model if found.endpoint and found.endpoint.serves else ""
    unchanged = (
        ", unless the model that serves was made of the same data, scripts and hyperparameters"
        if champion and not plan.get("force")
        else ""
    )
    yield f"train a model{_on(plan)}{unchanged}"
    yield f"reject it if {formatting.alternatives(_rejections(plan, champion))}"
    yield f"deploy it to the endpoint{_hosting(plan)}, and generate test texts{_teardown(plan)}"


def _on(plan: Mapping[str, Any]) -> str:
    """Return how and where a model is trained."""
    if not plan:
        return " as the stack's parameters and the options say"
    hyperparameters, training = plan["hyperparameters"], plan["training"]
    epochs = hyperparameters.get("epochs")
    passes = formatting.counted(epochs, "epoch") if epochs else "the recipe's number of epochs"
    spot = " on spot instances" if training.get("spot") else ""
    return (
        f" with recipe {hyperparameters['recipe']}, {passes}, on "
        f"{_machines(training['instance_count'], training['instance_type'])}{spot}"
    )


def _machines(count: int, kind: str) -> str:
    return f"{count} x {kind}" if count > 1 else kind


def _rejections(plan: Mapping[str, Any], champion: str) -> list[str]:
    reasons = ["it is no better than guessing"]
    if plan.get("max_perplexity") is not None:
        reasons.append(f"its test perplexity is above {plan['max_perplexity']:g}")
    if champion:
        tolerance = plan.get("tolerance") or 0
        by_more = f" by more than {tolerance:.1%}" if tolerance else ""
        reasons.append(f"it is worse{by_more} than {champion}, which serves")
    return reasons


def _hosting(plan: Mapping[str, Any]) -> str:
    if not plan:
        return ""
    hosting = plan["hosting"]
    if hosting["endpoint_type"] == "serverless":
        return f" {plan['endpoint']} (serverless, {hosting['serverless_memory_mb']:,} MB)"
    return f" {plan['endpoint']} ({_machines(hosting['instance_count'], hosting['instance_type'])})"


def _teardown(plan: Mapping[str, Any]) -> str:
    policy = plan.get("teardown", "never")
    if policy == "always":
        return ", then tear it down"
    if isinstance(policy, dict):
        ((name, duration),) = policy.items()
        when = f"{duration} later" if name == "after" else f"when it had no request for {duration}"
        return f"; tear it down {when}"
    return ""


def _time(former: Former | None) -> str:
    if former is None:
        return "How long it takes is not known: no run has trained on this dataset yet."
    long = {name: seconds for name, seconds in former.durations.items() if seconds >= _SHORT_SECONDS}
    steps = ", ".join(
        f"{step_names.in_words(name)} {formatting.duration(seconds)}" for name, seconds in long.items()
    )
    epochs = former.hyperparameters.get("epochs")
    passes = f" for {formatting.counted(epochs, 'epoch')}" if isinstance(epochs, int) else ""
    return (
        f"Last time, run {former.id} took {formatting.duration(former.total)}"
        f"{f' ({steps})' if steps else ''}. It trained on {former.words:,} words{passes}, and ended as "
        f"{former.status} on {formatting.local_time(former.ended)}."
    )


def _costs(found: DryRun) -> Iterator[str]:
    former, per_hour = found.outlook.former, found.outlook.training_per_hour
    if former and former.training_cost is not None:
        yield f"Last time, training cost {cost.about(former.training_cost)}."
    if per_hour:
        spot = (found.plan.get("training") or {}).get("spot")
        saving = "; spot instances cost less" if spot else ""
        yield f"Training costs {cost.about(per_hour)} an hour at list prices{saving}."
    elif found.plan:
        yield f"The price of training on {found.plan['training']['instance_type']} is not known."
    if found.plan and found.plan.get("teardown") != "always":
        yield f"The endpoint costs {cost.of_endpoint(_standing(found.plan['hosting'], found.prices))}."
    if found.prices.get("date"):
        yield f"Prices of {found.prices['date']} for {found.prices.get('region')}, in US dollars without tax."


def _standing(hosting: Mapping[str, Any], prices: Mapping[str, Any]) -> dict[str, Any]:
    """Return an endpoint's cost in the form of a report's `standing_cost`."""
    if hosting["endpoint_type"] == "serverless":
        per_second = prices.get("serverless", {}).get(str(hosting["serverless_memory_mb"]))
        return {"kind": "serverless", "per_1000_requests": per_second and 1000 * per_second}
    price = prices.get("hosting", {}).get(hosting["instance_type"])
    per_hour = price and price * hosting["instance_count"]
    return {
        "kind": "real-time",
        "instance_type": hosting["instance_type"],
        "per_hour": per_hour,
        "per_day": per_hour and per_hour * 24,
        "per_month": per_hour and per_hour * _HOURS_PER_MONTH,
    }
