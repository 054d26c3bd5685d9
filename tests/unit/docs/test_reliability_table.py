"""docs/reliability.md and the tests under faults name each other."""

import ast
from pathlib import Path

from tests.unit.docs.tables import rows
from tests.unit.template.conftest import PROJECT

FAULTS = PROJECT / "tests" / "faults"


def defined_in(*files: Path) -> list[str]:
    return [
        node.name
        for file in files
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def named() -> list[str]:
    return [row["test"].strip("`") for row in rows("reliability.md", "test")]


def test_every_test_that_the_table_names_exists() -> None:
    there = defined_in(*FAULTS.glob("test_*.py"), *(PROJECT / "tests" / "e2e").glob("test_*.py"))
    assert set(named()) - set(there) == set()


def test_every_test_under_faults_is_in_the_table_once() -> None:
    """Those of the harness are about the cloud in which things go wrong, and not about the pipeline."""
    files = [file for file in FAULTS.glob("test_*.py") if not file.name.startswith("test_harness_")]
    assert set(defined_in(*files)) - set(named()) == set()
    assert len(named()) == len(set(named()))
