"""Every path and name in CONTRIBUTING.md's table exists."""

import re

from tests.unit.docs.tables import rows
from tests.unit.template.conftest import PROJECT

PATH = re.compile(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:md|yaml|py))`(?: `(\w+)`)?")


def test_every_path_and_every_name_exists() -> None:
    table = rows("../CONTRIBUTING.md", "to change")
    assert len(table) >= 15
    for row in table:
        found = PATH.findall(f"{row['open']} {row['and also']}")
        assert found, row
        for path, name in found:
            assert (PROJECT / path).exists(), path
            assert not name or re.search(rf"\b{name}\b", (PROJECT / path).read_text(encoding="utf-8")), name


def test_every_folder_that_it_names_elsewhere_exists() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(r"\btests/[\w/.]+", text):
        if "approve" not in path:
            assert (PROJECT / path.rstrip(".")).exists(), path
