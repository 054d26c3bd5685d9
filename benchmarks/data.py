"""The text that both loops are measured on: train, valid and test, with spaces between words.

It is WikiText-2 if ../shared has it, otherwise the State of the Union messages. Every word of valid and test
that train lacks is <unk> in the files themselves, so both loops know the same words and their perplexities
can be compared.
"""

import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL_SCRIPTS = ROOT / "model_scripts"
WIKITEXT_2 = ROOT.parent / "shared" / "data" / "wikitext-2.tar.xz"
SPLITS = ("train", "valid", "test")
UNKNOWN = "<unk>"
DEMO_WORDS = 250_000
"""The words of the text of scripts/demo.sh."""


class NoData(Exception):
    """The requested text does not exist. The message says what to name instead."""


@dataclass(frozen=True)
class Data:
    """A folder with train, valid and test, and the name of the text."""

    folder: Path
    name: str


def prepare(source: Path | None, folder: Path) -> Data:
    """Write the three files into a new folder.

    Args:
        source: A tar archive or folder that has them; None for WikiText-2 or the State of the Union messages.
        folder: The new folder.

    Raises:
        NoData: The source lacks a split.
    """
    folder.mkdir(parents=True)
    chosen = source or (WIKITEXT_2 if WIKITEXT_2.exists() else None)
    if chosen is None:
        write_sotu(folder)
        return Data(folder, "State of the Union messages (sotu)")
    if not chosen.exists():
        raise NoData(
            f"{chosen} does not exist: name a folder or a tar archive of train, valid and test files."
        )
    copy = copy_from_folder if chosen.is_dir() else copy_from_tar
    for split in SPLITS:
        if not copy(chosen, split, folder / split):
            raise NoData(f"{chosen} has no {split} file (looked for {', '.join(names(split))}).")
    return Data(folder, "WikiText-2" if "wikitext-2" in chosen.name.lower() else chosen.name)


def names(split: str) -> tuple[str, str, str]:
    """Return the file names that a split may have."""
    return split, f"{split}.txt", f"wiki.{split}.tokens"


def copy_from_folder(source: Path, split: str, target: Path) -> bool:
    """Copy a split out of a folder. Return whether it exists."""
    for name in names(split):
        if (source / name).is_file():
            shutil.copyfile(source / name, target)
            return True
    return False


def copy_from_tar(source: Path, split: str, target: Path) -> bool:
    """Copy a split out of a tar archive. Return whether it exists."""
    with tarfile.open(source) as archive:
        for member in archive:
            content = archive.extractfile(member) if Path(member.name).name in names(split) else None
            if content:
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
                return True
    return False


def write_sotu(folder: Path) -> None:
    """Write every 20th message to valid, the one before it to test. Words that occur once are <unk>."""
    sys.path.insert(0, str(MODEL_SCRIPTS))
    import sotu

    import tokenizer

    prose = tokenizer.BY_NAME["prose"]
    texts: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for number, path in enumerate(sorted((Path(sotu.__file__).parent / "data" / "speeches").glob("*.txt"))):
        split = {18: "test", 19: "valid"}.get(number % 20, "train")
        texts[split] += [prose.split(line) for line in path.read_text(encoding="utf-8").splitlines()]
    write_closed(folder, texts, fewest=2)


def write_demo(folder: Path) -> Data:
    """Write the text of `make demo` to a new folder: every 20th line to valid, the one before it to test."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import sotu_corpus

    folder.mkdir(parents=True)
    lines = [
        line
        for path in sotu_corpus.newest(sotu_corpus.messages(), DEMO_WORDS)
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    held_out = {"test": lines[18::20], "valid": lines[19::20]}
    train = [line for number, line in enumerate(lines) if number % 20 < 18]
    for split, chosen in {"train": train, **held_out}.items():
        (folder / split).write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")
    return Data(folder, "the demo's text")


def write_closed(folder: Path, texts: dict[str, list[list[str]]], fewest: int) -> None:
    """Write the splits, with <unk> for every word that occurs fewer than `fewest` times in train."""
    counts = Counter(word for line in texts["train"] for word in line)
    for split, lines in texts.items():
        closed = (" ".join(word if counts[word] >= fewest else UNKNOWN for word in line) for line in lines)
        (folder / split).write_text("".join(f"{line}\n" for line in closed), encoding="utf-8")


def cut(data: Data, folder: Path, train_words: int, held_out_words: int) -> Data:
    """Write the beginning of each split to a new folder."""
    folder.mkdir(parents=True)
    wanted = {"train": train_words, "valid": held_out_words, "test": held_out_words}
    texts = {split: list(first_lines(read(data.folder / split), wanted[split])) for split in SPLITS}
    write_closed(folder, texts, fewest=1)
    return Data(folder, f"a slice of {data.name}")


def shorten(data: Data, folder: Path, train_words: int, held_out_words: int) -> Data:
    """Write the beginning of each split to a new folder, unchanged."""
    folder.mkdir(parents=True)
    wanted = {"train": train_words, "valid": held_out_words, "test": held_out_words}
    for split, words in wanted.items():
        with (data.folder / split).open(encoding="utf-8") as source, (folder / split).open("wb") as target:
            for line in source:
                if words <= 0:
                    break
                words -= len(line.split()) + 1
                target.write(line.encode())
    return Data(folder, data.name)


def read(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.split()


def first_lines(lines: Iterable[list[str]], words: int) -> Iterator[list[str]]:
    """Yield lines until they have `words` words. A line end counts as a word."""
    for line in lines:
        if words <= 0:
            return
        words -= len(line) + 1
        yield line


def long_lines(path: Path, count: int) -> list[str]:
    """Return up to `count` lines of at least 60 characters, spread over the file."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) >= 60]
    return lines[:: max(1, len(lines) // count)][:count]
