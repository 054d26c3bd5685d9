"""Output on the terminal or to a file: text, tables, errors, and a spinner for long work."""

from __future__ import annotations

import re
import shlex
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from lexline.core.errors import UserError
from lexline.display import formatting

_FILE_WIDTH = 200
"""Width of output to a file, wider than any table here."""
_GAP = 2
"""Spaces between two columns of a table."""
_BROKEN = 12
"""A longer word may be broken in a table."""


stack_options: dict[str, str] = {}
"""The options that name the stack, with the values that this command was given."""


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


def options(command: str = "") -> str:
    """Return the options that name the stack, each after a space, except those that a command has."""
    missing = {option: value for option, value in stack_options.items() if option not in command.split()}
    return "".join(f" {option} {shlex.quote(value)}" for option, value in missing.items())


def with_options(text: str) -> str:
    """Return text in which each command in backticks has the options that name the stack."""
    return re.sub("`(lexline [^`]+)`", lambda command: f"`{command[1]}{options(command[1])}`", text)


def prose(console: Console, text: str) -> None:
    """Print text, wrapped between words on a terminal, and in one line to a file."""
    console.print(plain(with_options(text)), markup=False, soft_wrap=not console.is_terminal)


def table(*, footer: bool = False) -> Table:
    """Return an empty table in the style of all tables here."""
    return Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold", show_footer=footer)


def print_table(console: Console, table: Table) -> None:
    """Print a table; on a terminal that is too narrow for it, a line for each value, so that none is cut."""
    columns = [[str(column.header), *map(str, column.cells), str(column.footer)] for column in table.columns]
    width = sum(map(_least_width, table.columns, columns))
    for gap in (_GAP, 1):
        if width + gap * (len(columns) - 1) <= console.width:
            table.padding = (0, gap, 0, 0)
            console.print(table)
            return
    names, *rows, total = zip(*columns, strict=True)
    for number, row in enumerate([*rows, *([total] if table.show_footer else [])]):
        if number:
            console.print()
        for name, text in zip(names, row, strict=True):
            if Text.from_markup(text):
                console.print(f"[bold]{name}:[/] {text}")


def _least_width(column: Column, texts: Sequence[str]) -> int:
    # A value that may wrap does so between words. Only a long word, such as a dataset's name, is broken.
    lengths = [Text.from_markup(text).cell_len if column.no_wrap else _longest_word(text) for text in texts]
    return max(*lengths, column.min_width or 0)


def _longest_word(text: str) -> int:
    return min(_BROKEN, max(map(cell_len, Text.from_markup(text).plain.split()), default=0))


def print_error(error: UserError) -> None:
    """Print an error and the next step to stderr."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]{error.label}[/] ", end="")
    console.print(plain(error.message), markup=False)
    if error.hint:
        console.print(plain(with_options(error.hint)), markup=False)


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
