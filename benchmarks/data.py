"""The text both loops are measured on: files train, valid and test with words between spaces.

WikiText-2 where it is at hand, else the State of the Union messages. Every word of valid and test that train
lacks is <unk> in the files themselves, so both loops know the same words and their perplexities compare.
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


class NoData(Exception):
    """The text asked for is not there; the message says what to name instead."""


@dataclass(frozen=True)
class Data:
    """A folder of train, valid and test, and what text they hold."""

    folder: Path
    name: str


def prepare(source: Path | None, folder: Path) -> Data:
    """The three files in `folder`, from a tar archive or a folder, or without one from WikiText-2 or sotu.

    Raises NoData if `source` does not hold the three splits.
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
            raise NoData(f"{chosen} holds no {split} file (looked for {', '.join(names(split))}).")
    return Data(folder, "WikiText-2" if "wikitext-2" in chosen.name.lower() else chosen.name)


def names(split: str) -> tuple[str, str, str]:
    return split, f"{split}.txt", f"wiki.{split}.tokens"


def copy_from_folder(source: Path, split: str, target: Path) -> bool:
    for name in names(split):
        if (source / name).is_file():
            shutil.copyfile(source / name, target)
            return True
    return False


def copy_from_tar(source: Path, split: str, target: Path) -> bool:
    with tarfile.open(source) as archive:
        for member in archive:
            content = archive.extractfile(member) if Path(member.name).name in names(split) else None
            if content:
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
                return True
    return False


def write_sotu(folder: Path) -> None:
    """Every 20th message is valid, every one before it test; words that train holds once become <unk>."""
    sys.path.insert(0, str(MODEL_SCRIPTS))
    import sotu

    import tokenizer

    prose = tokenizer.BY_NAME["prose"]
    texts: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for number, path in enumerate(sorted((Path(sotu.__file__).parent / "data" / "speeches").glob("*.txt"))):
        split = {18: "test", 19: "valid"}.get(number % 20, "train")
        texts[split] += [prose.split(line) for line in path.read_text(encoding="utf-8").splitlines()]
    write_closed(folder, texts, fewest=2)


def write_closed(folder: Path, texts: dict[str, list[list[str]]], fewest: int) -> None:
    """The splits, with <unk> for every word that train holds fewer than `fewest` times."""
    counts = Counter(word for line in texts["train"] for word in line)
    for split, lines in texts.items():
        closed = (" ".join(word if counts[word] >= fewest else UNKNOWN for word in line) for line in lines)
        (folder / split).write_text("".join(f"{line}\n" for line in closed), encoding="utf-8")


def cut(data: Data, folder: Path, train_words: int, held_out_words: int) -> Data:
    """The beginning of each split, as a corpus of its own."""
    folder.mkdir(parents=True)
    wanted = {"train": train_words, "valid": held_out_words, "test": held_out_words}
    texts = {split: list(first_lines(read(data.folder / split), wanted[split])) for split in SPLITS}
    write_closed(folder, texts, fewest=1)
    return Data(folder, f"a slice of {data.name}")


def read(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.split()


def first_lines(lines: Iterable[list[str]], words: int) -> Iterator[list[str]]:
    """Lines until they hold `words` words, each line's end counted as one."""
    for line in lines:
        if words <= 0:
            return
        words -= len(line) + 1
        yield line


def long_lines(path: Path, count: int) -> list[str]:
    """Up to `count` lines of at least 60 characters, spread over the file."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) >= 60]
    return lines[:: max(1, len(lines) // count)][:count]
