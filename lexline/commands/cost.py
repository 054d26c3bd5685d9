"""`lexline cost`: show costs, and upload prices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexline.aws import prices as aws_prices
from lexline.commands.common import DEFAULT_STACK, Last, Profile, Region, StackName, connect
from lexline.core import paths
from lexline.display import cost as display
from lexline.display import terminal


def cost(
    last: Last = 10,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Upload a price table for the estimates of later runs: a JSON file like "
            f"{paths.PRICE_TABLE}. The command checks it first.",
        ),
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Show what the endpoint costs, and what the last runs cost.

    All figures are estimates in US dollars, from a dated table of list prices. They do not include tax, data
    transfer, free tiers or discounts.
    """
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    if prices is None:
        display.show(console, connection, last)
        return
    # Import it here, because it imports pydantic, which takes long.
    from lexline.commands import price_table

    table, content = price_table.load(prices)
    uri = aws_prices.upload(connection, content)
    console.print(
        f"Uploaded the prices of {table.date} for {table.region} to {uri}. Estimates of later runs use them."
    )
