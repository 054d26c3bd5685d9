"""The folders import one another in one direction, as docs/architecture.md says."""

import re
import sys
import tomllib
from graphlib import TopologicalSorter

import pytest

from tests.unit.docs.tables import rows
from tests.unit.template.conftest import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
import import_graph


@pytest.mark.parametrize("part", import_graph.PARTS)
def test_no_folder_imports_itself_through_others(part: str) -> None:
    graph = import_graph.folders(PROJECT / part)
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph) > 0


def test_a_room_imports_only_rooms_above_it_in_the_floor_plan() -> None:
    plan = [re.sub(r"[`/]|\.py", "", row["room"]) for row in rows("architecture.md", "room")]
    graph = import_graph.folders(PROJECT / "functions" / "pipeline")
    assert set(plan) == set(graph)
    for room, imported in graph.items():
        if room not in ("steps", "events"):
            assert {plan.index(each) for each in imported} <= set(range(plan.index(room))), room
        assert not imported & {"steps", "events"}


def test_nothing_of_the_product_imports_what_stands_beside_it() -> None:
    """Functions and scripts are deployed alone. The local cloud needs neither."""
    for part, foreign in {
        "functions": r"model_scripts|localcloud|lexline",
        "model_scripts": r"boto3|botocore|localcloud|lexline",
        "localcloud": r"lexline|functions",
    }.items():
        statement = re.compile(rf"^\s*(import|from) ({foreign})\b", re.MULTILINE)
        for path in (PROJECT / part).rglob("*.py"):
            assert not statement.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("part", ["lexline", "localcloud"])
def test_every_folder_with_code_is_installed(part: str) -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    listed = {name for name in settings["packages"] if name.split(".")[0] == part}
    folders = {file.parent.relative_to(PROJECT) for file in (PROJECT / part).rglob("*.py")}
    assert {".".join(folder.parts) for folder in folders} == listed
