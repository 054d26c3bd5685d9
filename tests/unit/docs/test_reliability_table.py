"""docs/reliability.md lists the tests under faults."""

import ast

from tests.unit.docs.tables import rows
from tests.unit.template.conftest import PROJECT


def names_of_tests(folder: str) -> set[str]:
    """Return the names of the tests in a folder of tests/, without its sub-folders."""
    return {
        node.name
        for file in (PROJECT / "tests" / folder).glob("test_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_the_table_has_every_test_once_and_no_other() -> None:
    listed = [row["test"].strip("`") for row in rows("reliability.md", "test")]
    assert len(listed) == len(set(listed))
    assert names_of_tests("faults") <= set(listed) <= names_of_tests("faults") | names_of_tests("e2e")
