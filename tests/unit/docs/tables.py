"""The tables of a page in docs/."""

from tests.unit.template.conftest import PROJECT

DOCS = PROJECT / "docs"


def rows(page: str, column: str) -> list[dict[str, str]]:
    """Return the rows of the tables with this column, as the cells by their column's name."""
    found: list[dict[str, str]] = []
    names: list[str] = []
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        if not line.startswith("| "):
            names = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not names:
            names = cells
        elif column in names and not set("".join(cells)) <= set("-| "):
            found.append(dict(zip(names, cells, strict=True)))
    assert found, f"no table of {page} has a column {column}"
    return found
