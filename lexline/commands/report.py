"""`lexline report`: find or save the report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexline.aws import reports
from lexline.aws.runs import id_in
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect
from lexline.core.errors import UserError
from lexline.display import formatting, terminal


def report(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Id or name of a run. Default: the run that ended last."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the page to this file, to open it in a browser.")
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Print the address of a run's report, or save the report.

    The report is a web page with the result, the training curve, sample texts, costs and sources.
    """
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    found = reports.find(connection, run)
    console.print(f"{found.run}, {formatting.local_time(found.written)}: {found.uri}", markup=False)
    if save is None:
        terminal.prose(console, f"To save it: `lexline report {id_in(found.run)} --save FILE`")
        return
    try:
        save.write_bytes(reports.page(connection, found))
    except OSError as error:
        raise UserError(
            f"The file {save} cannot be written: {error.strerror}.", "Give --save another path."
        ) from error
    console.print(f"Saved to {save}. Open {save.absolute().as_uri()} in a browser.", markup=False)
