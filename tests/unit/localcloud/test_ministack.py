"""The contract with MiniStack's internals: after an upgrade of MiniStack, these tests name what changed.

MiniStack changes the process that imports it. Each test therefore imports it in another process.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud import ministack
from localcloud.ministack.internals import INTERNALS, STORES, VERSION

PACKAGE = Path(ministack.__file__).parent
ROOT = PACKAGE.parent.parent

CHECK = """
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


def check(state: Path, change: str = "") -> Any:
    """Start MiniStack after a change of its internals."""
    command = [sys.executable, "-c", CHECK, str(state), change]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.split("RESULT ")[1])


def test_the_installed_ministack_is_the_expected_one(tmp_path: Path) -> None:
    assert check(tmp_path) == {"moved": [], "refused": ""}


def test_a_changed_internal_is_refused_by_name(tmp_path: Path) -> None:
    changes = (
        "from ministack.core import lambda_runtime as runtime",
        "from ministack.services import eventbridge, stepfunctions, sts",
        "del stepfunctions._invoke_with_callback, sts._sessions",
        "eventbridge._put_events = lambda entries: None",
        "runtime._PYTHON_WORKER_SCRIPT = 'print()'",
    )
    found = check(tmp_path, "\n".join(changes))
    assert "ministack.services.stepfunctions:_invoke_with_callback is gone" in found["moved"]
    assert "ministack.services.sts:_sessions is gone" in found["moved"]
    moved = "ministack.services.eventbridge:_put_events takes (entries), not (data, allow_aws_source)"
    assert moved in found["moved"]
    assert any(difference.startswith("the Lambda worker's script lacks") for difference in found["moved"])
    assert all(difference in found["refused"] for difference in found["moved"])


def test_another_version_is_refused(tmp_path: Path) -> None:
    refused = check(tmp_path, "internals.VERSION = '9.9.9'")["refused"]
    assert refused.endswith(f"version is {VERSION}, not 9.9.9")


# --- one package knows MiniStack ---


def imported_from_ministack(tree: ast.AST) -> dict[str, str]:
    """A module's names for MiniStack's modules: {"states": "ministack.services.stepfunctions"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ministack":
            names.update({name.asname or name.name: f"{node.module}.{name.name}" for name in node.names})
        if isinstance(node, ast.Import):
            names.update(
                {n.asname or n.name: n.name for n in node.names if n.name.split(".")[0] == "ministack"}
            )
    return names


def used_names(source: Path) -> Iterator[str]:
    """MiniStack's names that a module reads, calls or replaces, as the tables write them."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    modules = imported_from_ministack(tree)
    for node in ast.walk(tree):  # self._states = stepfunctions
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in modules:
            modules[ast.unparse(node.targets[0])] = modules[node.value.id]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (module := modules.get(ast.unparse(node.value))):
            yield f"{module}:{node.attr}"


def test_no_other_package_imports_ministack() -> None:
    importing = set()
    for source in [*(ROOT / "localcloud").rglob("*.py"), *(ROOT / "lexline").rglob("*.py")]:
        text = source.read_text(encoding="utf-8")
        if imported_from_ministack(ast.parse(text)) or "import_module" in text:
            importing.add(source)
    assert importing
    assert {source for source in importing if PACKAGE not in source.parents} == set()


def test_the_tables_list_exactly_the_names_that_are_used() -> None:
    used = {name for source in PACKAGE.rglob("*.py") for name in used_names(source)}
    method = re.compile(r"(?<=:)(\w+)\.\w+$")
    assert used == {method.sub(r"\1", name) for name in (*INTERNALS, *STORES)}


def test_ministack_is_not_imported_before_its_options_are_set() -> None:
    statement = "import sys, localcloud.server; sys.exit('ministack' in sys.modules)"
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT)


def test_credentials_are_random() -> None:
    first, second = ministack.new_credentials(), ministack.new_credentials()
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert first[0].startswith("AKIA")
    assert (len(first[0]), len(first[1])) == (20, 40)


def test_the_x_ray_sdks_file_is_removed_with_its_folder(tmp_path: Path) -> None:
    mark = tmp_path / "aws-xray" / "initialized"
    mark.parent.mkdir()
    mark.touch()
    for _ in range(2):
        ministack.remove_tracing_mark(mark)
        assert not mark.parent.exists()


def test_the_limit_of_concurrent_invocations_is_adjustable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "LAMBDA_ACCOUNT_CONCURRENCY"
    monkeypatch.delenv(name, raising=False)
    assert 0 < int(ministack.options(tmp_path, 4566)[name]) < 1000
    monkeypatch.setenv(name, "10")
    assert ministack.options(tmp_path, 4566)[name] == "10"
