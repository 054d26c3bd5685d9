"""What `lexline cost` prints: what the endpoint costs, what the last runs cost, and by which prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lexline import costs, report_files, runs, serving, wording
from lexline.target import Stack, Target


def standing(target: Target, stack: Stack, live: serving.Serving | None) -> costs.Estimate | None:
    """What the endpoint costs with the instances it has now; None where there is none, or no estimate of it.

    Its config has the name of the run that deployed it, and that run's report has the estimate.
    """
    document = report_files.document(target, stack, live.config) if live and live.config else None
    estimate: costs.Estimate | None = (document or {}).get("standing_cost")
    before = (estimate or {}).get("instance_count")
    if not estimate or not live or not before or not live.instances:
        return estimate
    rates = {
        name: estimate[name] * live.instances / before
        for name in ("per_hour", "per_day", "per_month")
        if estimate.get(name) is not None
    }
    return {**estimate, **rates, "instance_count": live.instances}


def show(console: Console, target: Target, stack: Stack, count: int) -> None:
    """Prints what the endpoint costs, what the last `count` trainings cost, and by which prices."""
    live = serving.read(target, stack)
    endpoint = standing(target, stack, live)
    if live is None:
        console.print("No endpoint stands, so nothing costs anything by the hour.")
    elif endpoint is None:
        console.print(f"There is no estimate for the endpoint {stack.endpoint}: no report tells of it.")
    else:
        kind = "serverless" if endpoint["kind"] == "serverless" else _fleet(endpoint)
        console.print(f"The endpoint {stack.endpoint} ({kind}) costs {costs.on_endpoint(endpoint)}.")
    trained = [
        (stored, document, document["cost"])
        for stored in report_files.newest(target, stack, count)
        if (document := report_files.document(target, stack, stored.run)) and document.get("cost")
    ]
    if trained:
        console.print()
        console.print(_table(trained))
    else:
        console.print("No run has trained yet, so none has cost more than a trifle.")
    console.print()
    estimates = [cost for _, _, cost in trained] + ([endpoint] if endpoint else [])
    for sentence in _on_prices(target, stack, estimates):
        console.print(sentence, markup=False)


def _table(trained: Sequence[tuple[report_files.Stored, Mapping[str, Any], costs.Estimate]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_footer=len(trained) > 1)
    totals = [cost["total"] for _, _, cost in trained if cost.get("total") is not None]
    saved = [cost["spot_saved"] for _, _, cost in trained if cost.get("spot_saved")]
    columns = {
        "Run": "Together",
        "Dataset": "",
        "Ended": "",
        "Trained on": "",
        "Billed": "",
        "Cost": wording.money(sum(totals)),
        "Spot saved": wording.money(sum(saved)) if saved else "",
    }
    for column, footer in columns.items():
        right = column in ("Billed", "Cost")
        table.add_column(column, footer, justify="right" if right else "left", no_wrap=True)
    for stored, document, cost in trained:
        total = cost.get("total")
        table.add_row(
            runs.id_in(stored.run),
            escape((document.get("dataset") or {}).get("dataset", "")),
            wording.local_time(stored.written),
            _fleet(cost),
            wording.seconds(cost["billable_seconds"]),
            "unknown" if total is None else wording.money(total),
            costs.on_spot(cost),
        )
    return table


def _fleet(estimate: costs.Estimate) -> str:
    return f"{estimate['instance_count']} x {estimate['instance_type']}"


def _on_prices(target: Target, stack: Stack, estimates: Sequence[costs.Estimate]) -> list[str]:
    """By which prices the estimates are made, and how to have them made by others."""
    dates = {(str(each["prices_date"]), str(each["prices_region"])): None for each in estimates}
    told = [f"of {date} for {region}" for date, region in dates]
    own = report_files.own_prices(target, stack)
    sentences = [f"Estimated by prices {wording.listing(told)}, in US dollars without tax."] if told else []
    if target.local:
        sentences.append("This machine charges nothing; the figures are what AWS would.")
    sentences.append(
        f"Runs from now on are estimated by your table, {own}. Delete it to go back to AWS's list."
        if own
        else "For prices of your own give --prices FILE, which puts the table at "
        f"s3://{stack.bucket}/{report_files.PRICES}; functions/pipeline/prices.json is one to start from."
    )
    return sentences
