"""Print which folder of the project imports which, and fail if the imports have a cycle.

Run `python scripts/import_graph.py`. Each line is a folder and the folders that it imports, lowest first: a
folder imports only folders above it in the list. Imports for type checking count too. `docs/architecture.md`
shows the same plan, and `tests/unit/docs/test_floor_plan.py` checks it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Each deployable part is a root of its own: its modules are imported by their path below it.
PARTS = ("functions/pipeline", "functions/api", "model_scripts", ".")


def folders(part: Path) -> dict[str, set[str]]:
    """Return the folders below a part, each with the folders of the same part that its modules import.

    A module that lies directly in the part is a folder of its own, so that entry points can be told from
    packages.
    """
    names = {path: _name(path, part) for path in _modules(part)}
    graph: dict[str, set[str]] = {name.folder: set() for name in names.values()}
    known = {name.dotted: name.folder for name in names.values()}
    for path, name in names.items():
        for imported in _imports(path, name):
            folder = _folder_of(imported, known)
            if folder and folder != name.folder:
                graph[name.folder].add(folder)
    return graph


class _Name:
    def __init__(self, relative: Path) -> None:
        parts = relative.with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.parts = parts[:-1] if self.is_package else parts
        self.dotted = ".".join(self.parts)
        self.folder = "/".join(self.parts if self.is_package else self.parts[:-1]) or self.parts[0]


def _name(path: Path, part: Path) -> _Name:
    return _Name(path.relative_to(part))


def _modules(part: Path) -> list[Path]:
    """Return the part's modules: of the repository's root, those of `lexline` and `localcloud`."""
    tops = [part / "lexline", part / "localcloud"] if part == ROOT else [part]
    # functions/pipeline/model_scripts is a link to a part of its own.
    return [path for top in tops for path in sorted(top.rglob("*.py")) if not path.parent.is_symlink()]


def _imports(path: Path, name: _Name) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.parts if name.is_package else name.parts[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _folder_of(imported: str, known: Mapping[str, str]) -> str | None:
    """Return the folder of an imported module, or of the module that an imported name is from."""
    while imported:
        if imported in known:
            return known[imported]
        imported = imported.rpartition(".")[0]
    return None


def main() -> None:
    """Print the graph of each part."""
    for name in PARTS:
        graph = folders(ROOT / name)
        print(f"{name}:")
        try:
            for folder in TopologicalSorter(graph).static_order():
                print(f"  {folder:45} <- {', '.join(sorted(graph[folder])) or 'nothing'}")
        except CycleError as error:
            sys.exit(f"  These folders import one another: {' -> '.join(reversed(error.args[1]))}")


if __name__ == "__main__":
    main()
