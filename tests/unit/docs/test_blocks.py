"""The fenced blocks of README.md, CONTRIBUTING.md, localcloud/README.md and docs/ are well formed.

tests/verification/test_documented_commands.py runs those for a shell.
"""

import json
import subprocess

import pytest

from tests.unit.docs.blocks import PAGES, blocks
from tests.unit.template.conftest import PROJECT


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_json_or_python_or_shell_or_a_drawing(page: str) -> None:
    found = blocks(page)
    assert len(found) * 2 == (PROJECT / page).read_text(encoding="utf-8").count("\n```")
    for block in found:
        where = f"{page}:{block.line}"
        assert block.language in ("json", "python", "sh", "mermaid"), where
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            compile(block.text, where, "exec")
        elif block.language == "sh":
            checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
            assert not checked.stderr, f"{where}\n{checked.stderr}"
