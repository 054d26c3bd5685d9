"""The fenced blocks of the pages that a newcomer reads."""

import re
from typing import NamedTuple

from tests.unit.template.conftest import PROJECT

PAGES = [
    *("README.md", "CONTRIBUTING.md", "localcloud/README.md"),
    *(f"docs/{page.name}" for page in sorted(PROJECT.glob("docs/*.md"))),
]
_FENCED = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page, with the page's line on which it begins."""

    line: int
    language: str
    text: str

    @property
    def on_aws(self) -> bool:
        """Whether the first line tells the reader that the commands need an AWS account."""
        return self.text.startswith("# on AWS\n")


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start()) + 2, found[1], found[2]) for found in _FENCED.finditer(text)
    ]


def shell_blocks(page: str) -> list[Block]:
    """Return the blocks of a page that a reader types into a shell."""
    return [block for block in blocks(page) if block.language == "sh"]
