"""What `lexline cost` prints: what the endpoint costs, what the last runs cost, and by which prices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lexline import costs, report_files, serving, terminal, wording
from lexline.run_ids import id_in
from lexline.target import Stack, Target


@dataclass(frozen=True)
class _Trained:
    """A run that trained, as its report has it."""

    report: report_files.Stored
    dataset: str
    cost: costs.Estimate


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
        terminal.prose(
            console, f"The endpoint {stack.endpoint} ({kind}) costs {costs.on_endpoint(endpoint)}."
        )
    trained = list(itertools.islice(_trained(target, stack), count))
    if trained:
        console.print()
        console.print(_table(trained))
    else:
        console.print("No run has trained yet, so none has cost more than a trifle.")
    console.print()
    estimates = [run.cost for run in trained] + ([endpoint] if endpoint else [])
    for sentence in _on_prices(target, stack, estimates):
        terminal.prose(console, sentence)


def _trained(target: Target, stack: Stack) -> Iterator[_Trained]:
    """The runs that trained, newest first. Most do, so few documents are read beyond what is shown."""
    for stored in report_files.newest_first(target, stack):
        document = report_files.document(target, stack, stored.run)
        if document and document.get("cost"):
            yield _Trained(stored, (document.get("dataset") or {}).get("dataset", ""), document["cost"])


def _table(trained: Sequence[_Trained]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_footer=len(trained) > 1)
    totals = [run.cost["total"] for run in trained if run.cost.get("total") is not None]
    saved = [run.cost["spot_saved"] for run in trained if run.cost.get("spot_saved")]
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
        # On a narrow terminal names and dates fold, but no figure.
        whole = right or column in ("Run", "Trained on")
        table.add_column(column, footer, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    for run in trained:
        total = run.cost.get("total")
        table.add_row(
            id_in(run.report.run),
            escape(run.dataset),
            wording.local_time(run.report.written),
            _fleet(run.cost),
            wording.seconds(run.cost["billable_seconds"]),
            "unknown" if total is None else wording.money(total),
            costs.on_spot(run.cost),
        )
    return table


def _fleet(estimate: costs.Estimate) -> str:
    count = estimate["instance_count"]
    return f"{count} x {estimate['instance_type']}" if count > 1 else str(estimate["instance_type"])


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
