"""Execute a notebook whole, as JupyterLab does, and save it: execute_notebook.py NOTEBOOK RESULT [SETTINGS].

SETTINGS is Python code that runs after the cell with the tag `parameters`. Exit code 1 if a cell fails.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(source: Path, result: Path, settings: str = "") -> None:
    """Execute the notebook in its own folder."""
    notebook = nbformat.read(source, as_version=4)
    position = next(
        index for index, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    )
    notebook.cells.insert(position + 1, nbformat.v4.new_code_cell(settings))
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(source.parent)}})
    try:
        client.execute()
    finally:
        nbformat.write(notebook, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
