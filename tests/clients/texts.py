"""A corpus on which a model trains in a second."""

from pathlib import Path


def write(folder: Path) -> Path:
    """Write train, valid and test into a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in {"train": 200, "valid": 40, "test": 40}.items():
        text = "".join(
            f"the president spoke {number % 7} words to the people about peace\n" for number in range(lines)
        )
        (folder / split).write_text(text)
    return folder
