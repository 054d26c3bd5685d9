"""`lexline generate`, `models`, `report` and `cost`: what came of the runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lexline import bill, models, registry, report_files, serving, target, terminal, wording
from lexline.commands.options import DEFAULT_STACK, Last, Profile, Region, StackName, located
from lexline.errors import UserError
from lexline.http_api import HttpApi
from lexline.run_ids import id_in


def generate(
    words: Annotated[int | None, typer.Option(help="How many words, 1 to 1,000.  [default: 100]")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text. Default: drawn.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Below 1 safer, above 1 wilder; 0.001 to 100.  [default: 1]")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to go on from.")] = None,
    curl: Annotated[
        bool, typer.Option("--curl", help="Also print the curl command line, API key included.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's whole answer.")] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Print text from the model that serves, over the HTTP API."""
    asked = {"words": words, "seed": seed, "temperature": temperature, "prompt": prompt}
    body = {name: value for name, value in asked.items() if value is not None}
    where = located(profile, stack, region)
    api = HttpApi(where, target.deployed(where))
    if curl:
        typer.echo(f"$ {api.curl('/generate', body)}\n")
    answer = api.post("/generate", body)
    text = json.dumps(answer, ensure_ascii=False, indent=2) if as_json else answer["text"]
    typer.echo(terminal.plain(text))


def show_models(
    last: Last = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known of each.")] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """List the models that were trained: how good each is, whether it was taken, and which one serves.

    "Serves" marks the model that serves now, and the one before it, which `lexline rollback` goes back to.
    """
    console = terminal.stdout()
    where = located(profile, stack, region)
    deployed = target.deployed(where)
    found = registry.newest(where, deployed, last)
    live = serving.read(where, deployed)
    if as_json:
        typer.echo(models.as_json(found, live))
    elif found:
        models.show(console, found, live)
    else:
        console.print("No model has been trained yet: lexline run FILE")


def show_report(
    wanted: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Default: the run that ended last.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page to this file, to open in a browser.")
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Say where a run's report is, or save it: a web page with verdict, curve, texts, cost and origins."""
    console = terminal.stdout()
    where = located(profile, stack, region)
    deployed = target.deployed(where)
    stored = report_files.find(where, deployed, wanted)
    console.print(f"{stored.run}, {wording.local_time(stored.written)}: {stored.uri}", markup=False)
    if save is None:
        run = id_in(stored.run)
        console.print(f"`lexline report {run} --save FILE` writes it to a file, to open in a browser.")
        return
    try:
        save.write_bytes(report_files.page(where, deployed, stored))
    except OSError as error:
        raise UserError(f"{save} cannot be written: {error.strerror}.") from error
    console.print(f"Saved as {save}: {save.absolute().as_uri()}", markup=False)


def cost(
    last: Last = 10,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Have runs from now on estimated by this price table, a JSON file like "
            "functions/pipeline/prices.json. It is checked first.",
        ),
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Say what the endpoint costs while it stands, and what the last runs cost and saved.

    These are estimates in US dollars, from a dated table of list prices: without tax, data transfer, free
    tiers and discounts.
    """
    console = terminal.stdout()
    where = located(profile, stack, region)
    deployed = target.deployed(where)
    if prices is None:
        bill.show(console, where, deployed, last)
        return
    # Imported here: only this needs to know what a price table has to look like.
    from lexline import prices as price_tables

    table, content = price_tables.read(prices)
    uri = report_files.put_prices(where, deployed, content)
    console.print(
        f"The prices of {table.date} for {table.region} are at {uri}; runs from now on are estimated by them."
    )
