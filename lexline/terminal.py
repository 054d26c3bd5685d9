"""What the command puts on the screen, beside a run's own display."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from lexline import wording

_FILE_WIDTH = 200
"""Wider than any table here."""


def stdout() -> Console:
    """Ordinary output. Lines are not folded, so that a URL stays in one piece; and in a file, no tables."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console


def plain(text: str) -> str:
    """Text without the control characters by which it could steer a terminal; lines and tabs stay.

    What a model writes is made of whatever its corpus held.
    """
    return "".join(each for each in text if each in "\n\t" or unicodedata.category(each) != "Cc")


def prose(console: Console, text: str) -> None:
    """Prints text that wraps between words on a terminal; a file gets one line per sentence."""
    console.print(plain(text), markup=False, soft_wrap=not console.is_terminal)


def complain(message: str, hint: str) -> None:
    """An error and the next step, on stderr."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    errors.print("[bold red]Error:[/] ", end="")
    errors.print(message, markup=False)
    if hint:
        errors.print(hint, markup=False)


@contextmanager
def working(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Says what goes on, and how long it took once it is done.

    Gives a function for news from the work: a terminal shows the newest line under a spinner, a file none.
    """
    began = time.monotonic()
    if console.is_terminal:
        with console.status(escape(what)) as spinner:
            room = max(20, console.width - 6)
            yield lambda line: spinner.update(f"{escape(what)}\n  [dim]{escape(line[:room])}[/]")
    else:
        console.print(f"{what} ...", markup=False)
        yield lambda line: None
    console.print(f"{what}: done in {wording.seconds(time.monotonic() - began)}", markup=False)
