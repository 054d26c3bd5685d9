"""`lexline datasets`: list the datasets, or the files of one of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from lexline.aws import datasets as stored
from lexline.commands.common import DEFAULT_STACK, AsJson, Profile, Region, StackName, connect
from lexline.core import dataset_names
from lexline.core.errors import UserError
from lexline.display import datasets as display
from lexline.display import terminal


def datasets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A dataset whose files to list.")] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """List the datasets: their files, what was left out of the corpus and why, and the last run.

    With NAME, list the files of that dataset: the words of each, or why it was left out.
    """
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    if name is None:
        found = stored.read_all(connection)
    else:
        one = stored.read(connection, dataset_names.given(name).name)
        if one is None:
            raise UserError(
                f"There is no dataset {name}.",
                "`lexline datasets` lists the datasets, and `lexline run FILE` makes one.",
            )
        found = [one]
    if as_json:
        console.print_json(json.dumps([asdict(each) for each in found], default=str))
    elif name is None:
        display.show_all(console, found)
    else:
        display.show_one(console, found[0])
