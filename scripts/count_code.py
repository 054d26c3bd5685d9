"""Count the lines of code of each top folder: no docstrings, no comments, no blank lines.

Run `python scripts/count_code.py` for the totals, or `python scripts/count_code.py FOLDER` for every file of
a folder. Only Python files that Git tracks are counted.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def count(source: str) -> int:
    """Return the number of lines of a Python source that carry code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - _docstring_lines(source))


def _docstring_lines(source: str) -> set[int]:
    """Return the lines of every string that stands alone as a statement: docstrings and attribute docs."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def tracked(folder: str) -> list[Path]:
    """Return the paths of the Python files below a folder that Git tracks, relative to the repository.

    A link is not counted: the file that it points to is.
    """
    listing = subprocess.run(
        ["git", "ls-files", "--", folder], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    paths = [Path(line) for line in listing.splitlines() if line.endswith(".py")]
    return [path for path in paths if not (ROOT / path).is_symlink()]


def main() -> None:
    """Print the count of each top folder, or of each file in the folder that is given."""
    by_file = len(sys.argv) > 1
    counts: Counter[str] = Counter()
    for path in tracked(sys.argv[1] if by_file else "."):
        counts[str(path) if by_file else path.parts[0]] += count((ROOT / path).read_text(encoding="utf-8"))
    for name, lines in sorted(counts.items()):
        print(f"{lines:7,}  {name}")
    print(f"{sum(counts.values()):7,}  total")


if __name__ == "__main__":
    main()
