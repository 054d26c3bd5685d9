"""Output on the terminal or to a file: text, tables, errors, and a spinner for long work."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lexline.display import formatting

_FILE_WIDTH = 200
"""Width of output to a file, wider than any table here."""


def stdout() -> Console:
    """Return the console for ordinary output. It does not wrap lines, so that URLs stay in one piece."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console


def plain(text: str) -> str:
    """Return text without control characters except newlines and tabs.

    A model generates any character that its corpus had. Control characters could change the terminal's state.
    """
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")


def prose(console: Console, text: str) -> None:
    """Print text, wrapped between words on a terminal, and in one line to a file."""
    console.print(plain(text), markup=False, soft_wrap=not console.is_terminal)


def table(*, footer: bool = False) -> Table:
    """Return an empty table in the style of all tables here."""
    return Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_footer=footer)


def print_error(message: str, hint: str) -> None:
    """Print an error and the next step to stderr."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("[bold red]Error:[/] ", end="")
    console.print(message, markup=False)
    if hint:
        console.print(hint, markup=False)


@contextmanager
def working(console: Console, work: str) -> Iterator[Callable[[str], None]]:
    """Show that work is in progress, and afterwards how long it took.

    Yields:
        A function that takes a line of news. A terminal shows the newest line; a file shows none.
    """
    started = time.monotonic()
    if console.is_terminal:
        with console.status(escape(work)) as spinner:
            width = max(20, console.width - 6)
            yield lambda line: spinner.update(f"{escape(work)}\n  [dim]{escape(line[:width])}[/]")
    else:
        console.print(f"{work} ...", markup=False)
        yield lambda line: None
    console.print(f"{work}: done in {formatting.duration(time.monotonic() - started)}", markup=False)
