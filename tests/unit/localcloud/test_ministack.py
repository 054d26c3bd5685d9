"""The contract with MiniStack's internals: an upgrade that moves one fails here, and at start, by its name.

MiniStack changes the process it is imported into, so each test looks at it from another one.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localcloud import ministack
from localcloud.ministack.internals import INTERNALS, STORES

PACKAGE = Path(ministack.__file__).parent
ROOT = PACKAGE.parent.parent

LOOK = """
import json, os, sys
from pathlib import Path
from localcloud import ministack
from localcloud.ministack import internals
os.environ.update(ministack.options(Path(sys.argv[1]), 4566))
exec(sys.argv[2])
try:
    ministack.MiniStack(4566)
    refused = ""
except ministack.MiniStackMoved as error:
    refused = str(error)
print("RESULT", json.dumps({"moved": internals.moved() if refused else [], "refused": refused}))
"""


def look(state: Path, change: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(state), change], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.split("RESULT ")[1])


def test_the_installed_ministack_is_the_one_the_local_cloud_is_written_for(tmp_path: Path) -> None:
    assert look(tmp_path) == {"moved": [], "refused": ""}


def test_a_moved_internal_is_refused_by_name(tmp_path: Path) -> None:
    changes = (
        "from ministack.core import lambda_runtime as runtime",
        "from ministack.services import eventbridge, stepfunctions, sts",
        "del stepfunctions._invoke_with_callback, sts._sessions",
        "eventbridge._put_events = lambda entries: None",
        "runtime._PYTHON_WORKER_SCRIPT = 'print()'",
    )
    found = look(tmp_path, "\n".join(changes))
    assert "ministack.services.stepfunctions:_invoke_with_callback is gone" in found["moved"]
    assert "ministack.services.sts:_sessions is gone" in found["moved"]
    moved = "ministack.services.eventbridge:_put_events takes (entries), not (data, allow_aws_source)"
    assert moved in found["moved"]
    assert any(entry.startswith("the Lambda worker's script lacks") for entry in found["moved"])
    assert all(entry in found["refused"] for entry in found["moved"])


def test_another_version_is_refused(tmp_path: Path) -> None:
    assert look(tmp_path, "internals.VERSION = '9.9.9'")["refused"].endswith("version is 1.5.33, not 9.9.9")


# --- one place that knows MiniStack ---


def imported_from_ministack(tree: ast.AST) -> dict[str, str]:
    """The names a module has for MiniStack's own: {"states": "ministack.services.stepfunctions"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ministack":
            names.update({name.asname or name.name: f"{node.module}.{name.name}" for name in node.names})
        if isinstance(node, ast.Import):
            names.update(
                {n.asname or n.name: n.name for n in node.names if n.name.split(".")[0] == "ministack"}
            )
    return names


def touched(source: Path) -> Iterator[str]:
    """Each of MiniStack's names that a module reads, calls or replaces, as the tables name it."""
    tree = ast.parse(source.read_text())
    modules = imported_from_ministack(tree)
    for node in ast.walk(tree):  # self._states = stepfunctions
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in modules:
            modules[ast.unparse(node.targets[0])] = modules[node.value.id]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (module := modules.get(ast.unparse(node.value))):
            yield f"{module}:{node.attr}"


def test_no_other_module_imports_ministack() -> None:
    sources = [*(ROOT / "localcloud").rglob("*.py"), *(ROOT / "lexline").rglob("*.py")]
    importing = {
        source
        for source in sources
        if imported_from_ministack(ast.parse(source.read_text())) or "import_module" in source.read_text()
    }
    assert importing
    assert {source for source in importing if PACKAGE not in source.parents} == set()


def test_what_is_touched_is_pinned_and_what_is_pinned_is_touched() -> None:
    found = {name for source in PACKAGE.rglob("*.py") for name in touched(source)}
    of_a_method = re.compile(r"(?<=:)(\w+)\.\w+$")
    assert found == {of_a_method.sub(r"\1", name) for name in (*INTERNALS, *STORES)}


def test_ministack_is_not_imported_before_its_settings_are_there() -> None:
    check = "import sys, localcloud.server; sys.exit('ministack' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


def test_no_two_starts_share_credentials() -> None:
    first, second = ministack.new_credentials(), ministack.new_credentials()
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert first[0].startswith("AKIA")
    assert len(first[0]) == 20
    assert len(first[1]) == 40


def test_the_mark_that_functions_leave_for_a_tracing_daemon_goes_with_its_folder(tmp_path: Path) -> None:
    mark = tmp_path / "aws-xray" / "initialized"
    mark.parent.mkdir()
    mark.touch()
    ministack.remove_tracing_mark(mark)
    assert not mark.parent.exists()
    ministack.remove_tracing_mark(mark)
