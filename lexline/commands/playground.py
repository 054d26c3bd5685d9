"""`lexline playground`: a web page on this machine to try, compare and deploy models."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect
from lexline.display import terminal


def playground(
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port of 127.0.0.1.  [default: a free one]", show_default=False),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Serve a web page to write, score and compare texts, and to watch and deploy models, until Ctrl-C.

    The page is for this machine only: the server listens on 127.0.0.1, and responds only to the address that
    it prints. It signs the requests, or adds the API key. So the page works for a stack on AWS, too, and
    opens nothing there.
    """
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    # Import it here, because other commands do not need the server.
    from lexline.playground import server

    def announce(address: str) -> None:
        name, place = connection.target.stack_name, connection.target.place
        console.print(f"The playground of the stack {name} on {place}:\n\n  {address}\n", markup=False)
        terminal.prose(
            console, "Keep the address to yourself: it lets its reader deploy models. Ctrl-C stops."
        )

    # Ctrl-C is the usual way to stop it, so not an error.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(connection, port, open_browser=browser, announce=announce)
    console.print("\nThe playground has stopped. The stack goes on.")
