"""Record the output of `make demo` as a picture of a terminal.

Run `python scripts/record_demo.py docs/demo.svg` in a checkout with an environment (`make env`). The script
runs `make demo` and draws the lines that it printed. Lines that follow one another and differ only in their
numbers, such as those of each epoch, are shown once with the first and last of them.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
_WIDTH = 110
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NUMBERS = re.compile(r"\d[\d.,:]*")


def shortened(lines: list[str]) -> list[str]:
    """Return the lines with the middle of each series of more than three similar lines left out."""
    kept: list[str] = []
    index = 0
    while index < len(lines):
        form = _NUMBERS.sub("0", lines[index])
        end = index
        while end < len(lines) and _NUMBERS.sub("0", lines[end]) == form:
            end += 1
        series = lines[index:end]
        kept += series if len(series) <= 3 else [series[0], "   ...", series[-1]]
        index = end
    return kept


def main() -> None:
    """Run the demo, echo its output, and write the picture."""
    target = Path(sys.argv[1])
    printed: list[str] = []
    with subprocess.Popen(
        ["make", "--no-print-directory", "demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as demo:
        for line in demo.stdout or ():
            print(line, end="", flush=True)
            printed += [_ESCAPES.sub("", part).rstrip() for part in line.rstrip("\n").split("\r")[-1:]]
    if demo.returncode:
        sys.exit(f"make demo failed with exit code {demo.returncode}; no picture was written.")
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    console.print("$ make demo", style="bold", highlight=False)
    for line in shortened(printed):
        heading = line.startswith("== ")
        console.print(Text(line, style="bold cyan" if heading else ""), overflow="fold")
    target.write_text(console.export_svg(title="make demo"), encoding="utf-8")


if __name__ == "__main__":
    main()
