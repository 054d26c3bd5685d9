"""Costs of the endpoint and of the last runs.

All figures are the pipeline's own estimates, from the reports of the runs. Each report used the price table
that was current when its run ended.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lexline.aws import endpoint as endpoints
from lexline.aws import prices, reports
from lexline.aws.endpoint import Endpoint
from lexline.aws.reports import UNREADABLE, Stored
from lexline.aws.runs import id_in
from lexline.aws.stack import Stack
from lexline.core import paths
from lexline.display import formatting, terminal

Estimate = Mapping[str, Any]
"""The field `cost` or `standing_cost` of a report: a RunCost or EndpointCost of the pipeline's contracts."""
_Training = tuple[Stored, Mapping[str, Any]]
"""The report of a run that trained, and its document."""


def of_training(cost: Estimate) -> str:
    """Return in words what a run's training cost, and what spot instances saved."""
    if cost.get("total") is None:
        return f"unknown, because the price table has no {cost.get('instance_type')}"
    saved = f" (spot instances saved {_saved_by_spot(cost)})" if cost.get("spot_saving") else ""
    return f"{about(cost['total'])}{saved}"


def of_endpoint(cost: Estimate) -> str:
    """Return in words what an endpoint costs."""
    if cost.get("kind") == "serverless":
        requests = cost.get("per_1000_requests")
        price = f"; 1,000 requests of one second cost {about(requests)}" if requests else ""
        return f"nothing while there are no requests{price}"
    if cost.get("per_hour") is None:
        return f"unknown, because the price table has no {cost.get('instance_type')}"
    hour, day, month = (formatting.money(cost[f"per_{unit}"]) for unit in ("hour", "day", "month"))
    return f"about {hour} an hour, {day} a day, {month} a month while it exists"


def about(dollars: float) -> str:
    """Return an estimated amount: about $0.50, less than $0.0001."""
    text = formatting.money(dollars)
    return text if text.startswith("less") else f"about {text}"


def current(stack: Stack, endpoint: Endpoint | None) -> Estimate | None:
    """Return the estimate for the endpoint with its current number of instances.

    The endpoint config has the name of the run that deployed it, and the report of that run has the estimate.

    Returns:
        The estimate, or None if there is no endpoint or no report with one.
    """
    document = reports.document(stack, endpoint.config) if endpoint and endpoint.config else None
    estimate: Estimate | None = (document or {}).get("standing_cost")
    if not estimate or not (_readable(of_endpoint, estimate) and _readable(_prices_of, estimate)):
        return None
    count = estimate.get("instance_count")
    if not endpoint or not count or not endpoint.instances:
        return estimate
    rates = {
        name: estimate[name] * endpoint.instances / count
        for name in ("per_hour", "per_day", "per_month")
        if estimate.get(name) is not None
    }
    return {**estimate, **rates, "instance_count": endpoint.instances}


def show(console: Console, stack: Stack, count: int) -> None:
    """Print the costs of the endpoint and of the last `count` trainings, and the date of the prices."""
    endpoint = endpoints.read(stack)
    estimate = current(stack, endpoint)
    if endpoint is None:
        console.print("There is no endpoint, so nothing has hourly costs.")
    elif estimate is None:
        console.print(f"The cost of the endpoint {stack.endpoint} is unknown: no report has an estimate.")
    else:
        kind = "serverless" if estimate["kind"] == "serverless" else _instances(estimate)
        terminal.prose(console, f"The endpoint {stack.endpoint} ({kind}) costs {of_endpoint(estimate)}.")
    trainings = list(itertools.islice(_trainings(stack), count))
    if trainings:
        console.print()
        terminal.print_table(console, _table(trainings))
    else:
        console.print("No run has trained a model yet, so there are no training costs.")
    console.print()
    estimates = [document["cost"] for _, document in trainings] + ([estimate] if estimate else [])
    for sentence in _about_prices(stack, estimates):
        terminal.prose(console, sentence)


def _trainings(stack: Stack) -> Iterator[_Training]:
    # Most runs train, so this reads few documents beyond those that are shown.
    for report in reports.newest_first(stack):
        document = reports.document(stack, report.run)
        cost = (document or {}).get("cost")
        if document and cost and _readable(_row, report, document) and _readable(_prices_of, cost):
            yield report, document


def _readable(read: Callable[..., object], *arguments: object) -> bool:
    """Check whether a function can read a report. Anybody may write one to the bucket."""
    try:
        read(*arguments)
    except UNREADABLE:
        return False
    return True


def _table(trainings: Sequence[_Training]) -> Table:
    table = terminal.table(footer=len(trainings) > 1)
    total, saved = (
        sum(document["cost"].get(field) or 0 for _, document in trainings)
        for field in ("total", "spot_saved")
    )
    columns = {
        "Run": "Total",
        "Dataset": "",
        "Ended": "",
        "Trained on": "",
        "Billed": "",
        "Cost": formatting.money(total),
        "Spot saved": formatting.money(saved) if saved else "",
    }
    for column, footer in columns.items():
        right = column in ("Billed", "Cost")
        # On a narrow terminal, dataset names and dates may wrap, but no figure.
        whole = right or column in ("Run", "Trained on")
        table.add_column(column, footer, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    for report, document in trainings:
        table.add_row(*_row(report, document))
    return table


def _row(report: Stored, document: Mapping[str, Any]) -> list[str]:
    cost = document["cost"]
    return [
        id_in(report.run),
        escape((document.get("dataset") or {}).get("dataset", "")),
        formatting.local_time(report.written),
        _instances(cost),
        formatting.duration(cost["billable_seconds"]),
        "unknown" if cost.get("total") is None else formatting.money(cost["total"]),
        _saved_by_spot(cost),
    ]


def _instances(estimate: Estimate) -> str:
    count = estimate["instance_count"]
    return f"{count} x {estimate['instance_type']}" if count > 1 else str(estimate["instance_type"])


def _saved_by_spot(cost: Estimate) -> str:
    share, dollars = cost.get("spot_saving"), cost.get("spot_saved")
    if share is None:
        return ""
    return f"{share:.0%}" + (f", {formatting.money(dollars)}" if dollars else "")


def _prices_of(estimate: Estimate) -> str:
    return f"{estimate['prices_date']} for {estimate['prices_region']}"


def _about_prices(stack: Stack, estimates: Sequence[Estimate]) -> Iterator[str]:
    dates = dict.fromkeys(map(_prices_of, estimates))
    if dates:
        yield f"Estimated with the prices of {formatting.listing(list(dates))}, in US dollars without tax."
    if stack.target.local:
        yield "The local cloud is free. These figures are what AWS would charge."
    if prices.uploaded(stack):
        yield (
            f"Estimates of later runs use your price table, {prices.uri(stack)}. Delete it to use the list "
            "prices of AWS again."
        )
    else:
        yield (
            f"To use your own prices, run `lexline cost --prices FILE`. {paths.PRICE_TABLE} is an example "
            "of the file."
        )
