"""Draw the output of `make demo` as a picture of a terminal, for the README.

    python scripts/record_demo.py docs/demo.svg           # run the demo, and draw what it prints
    python scripts/record_demo.py docs/demo.svg LOG       # draw the output of a run that was saved in LOG

The picture ends with the generated text. Lines that follow one another and differ only in their numbers, such
as those of each epoch, are shown once with the first and last of them. The API's key is left out.
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
_KEY = re.compile(r"x-api-key: \w+")
# The parts of the demo after this line do not fit into a picture.
_LAST = "== 5/6"
_WEB_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
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


def run_demo() -> list[str]:
    """Run the demo, echo its output, and return the lines."""
    lines: list[str] = []
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
            lines.append(line)
    if demo.returncode:
        sys.exit(f"make demo failed with exit code {demo.returncode}; no picture was written.")
    return lines


def plain(line: str) -> str:
    """Return a line without colours, without the API's key, and not wider than the terminal."""
    text = _KEY.sub("x-api-key: ...", _ESCAPES.sub("", line).rstrip())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def main() -> None:
    """Draw a run of the demo."""
    target = Path(sys.argv[1])
    saved = sys.argv[2:]
    output = Path(saved[0]).read_text(encoding="utf-8").splitlines() if saved else run_demo()
    # A step is shown when it has ended, not when it begins.
    lines = [plain(line) for line in output if not line.rstrip().endswith(" ...")]
    end = next((index for index, line in enumerate(lines) if line.startswith(_LAST)), len(lines))
    # The recording console writes into memory.
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    console.print("$ make demo", style="bold", highlight=False)
    for line in shortened(lines[:end]):
        console.print(Text(line, style="bold cyan" if line.startswith("== ") else ""))
    # Rich refers to fonts on the web. The reader's own monospace font does.
    picture = _WEB_FONTS.sub("", console.export_svg(title="make demo"))
    target.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
