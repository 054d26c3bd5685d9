"""Every path and name in CONTRIBUTING.md's table exists."""

import re

from tests.unit.docs.tables import rows
from tests.unit.template.conftest import PROJECT

PATH = re.compile(r"[\w./-]+/[\w./-]*|[\w-]+\.(?:md|yaml|py|txt|toml)")
NAME = re.compile(r"_?[A-Za-z]\w+")


def test_every_path_and_every_name_exists() -> None:
    """A name stands after the path of its file, perhaps with others between them."""
    table = rows("../CONTRIBUTING.md", "to change")
    assert len(table) >= 15
    for row in table:
        path = None
        for word in re.findall(r"`([^`]+)`", f"{row['open']} {row['and also']}"):
            if PATH.fullmatch(word):
                path = PROJECT / word
                assert path.exists(), word
            elif path and path.is_file() and NAME.fullmatch(word):
                assert re.search(rf"\b{word}\b", path.read_text(encoding="utf-8")), (path, word)
        assert path, row


def test_every_folder_that_it_names_elsewhere_exists() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(r"\btests/[\w/.]+", text):
        if "approve" not in path:
            assert (PROJECT / path.rstrip(".")).exists(), path
