"""The text of a dataset, however it is packed: one stream of text, to be read as often as needed.

The text files of an archive make up the corpus:
- If three of them are named as train, valid and test (in one folder, with names that differ only in that
  word), they are the splits, and the other files are left out.
- Otherwise all text files, joined in the order of their paths, are one corpus.
Hidden files, macOS's shadow files, READMEs, licences and binary files are left out. An archive within the
archive is refused, because its text would be missing silently.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.errors import ArchiveHasNoCorpus, ArchiveNested, SplitIncomplete
from uploads.archives import Container, Member, open_container
from uploads.file_names import SPLIT_NAMES, SplitName, is_incidental, role_of
from uploads.object_reader import ObjectReader
from uploads.text_stream import decoded


class Part(NamedTuple):
    """Members of one container, in order; `split` is None for a corpus that is still to be split."""

    split: SplitName | None
    container: Container
    members: list[Member]


@dataclass(frozen=True)
class UploadedCorpus:
    """The parts for train, valid and test in that order, or a single part that is the whole corpus."""

    parts: Sequence[Part]

    @property
    def where(self) -> str:
        """The URIs of the objects, for errors."""
        return ", ".join(dict.fromkeys(part.container.where for part in self.parts))

    def text(self) -> Iterator[tuple[SplitName | None, str]]:
        """Yield the checked text in pieces, each with its split. Every file ends with a newline."""
        for split, container, members in self.parts:
            for member, chunks in container.read(members):
                name = f", member {member.path!r}," if container.is_archive else ""
                for piece in decoded(chunks, container.where + name):
                    yield split, piece


def open_corpus(sources: Mapping[SplitName | None, ObjectReader]) -> UploadedCorpus:
    """Return the corpus in three objects, one for each split, or in the one object under None.

    Raises:
        InvalidDataset: A subclass names the object and what is wrong with it.
    """
    parts = []
    for split, source in sources.items():
        container = open_container(source)
        files = _texts(container)
        # A text that is alone is a corpus, even if it is called train, valid or test.
        if split is None and len(files) > 1 and (chosen := _split_set(container.where, files)):
            return UploadedCorpus([Part(name, container, [chosen[name]]) for name in SPLIT_NAMES])
        parts.append(Part(split, container, files))
    return UploadedCorpus(parts)


def _texts(container: Container) -> list[Member]:
    """Return the text files of a container in the order of their paths."""
    members = container.members()
    if not container.is_archive:
        return members
    members = [member for member in members if not is_incidental(member.path)]
    if nested := next((member for member in members if member.kind == "archive"), None):
        raise ArchiveNested(
            f"{container.where} contains another archive: {nested.path!r}. Unpack that one and pack the "
            "texts themselves."
        )
    texts = [member for member in members if member.kind == "text"]
    if not texts:
        found = f"only {members[0].path!r} and the like" if members else "no file at all"
        raise ArchiveHasNoCorpus(
            f"{container.where} contains no text file ({found}; hidden files, READMEs and licences do not "
            "count). Pack one or more plain text files in UTF-8."
        )
    return sorted(texts, key=lambda member: member.path)


def _split_set(where: str, files: Sequence[Member]) -> Mapping[SplitName, Member] | None:
    """Return the one set of train, valid and test in an archive; None if no file is named as one of them."""
    families: dict[tuple[str, str, str], dict[SplitName, Member]] = {}
    for member in files:
        if role := role_of(member.path):
            other = families.setdefault(role.family, {}).setdefault(role.split, member)
            if other is not member:
                raise ArchiveHasNoCorpus(
                    f"{where} has two files for {role.split}: {other.path!r} and {member.path!r}. Keep one."
                )
    complete = [family for family in families.values() if len(family) == len(SPLIT_NAMES)]
    if len(complete) > 1:
        both = " and ".join(repr(family["train"].path) for family in complete[:2])
        raise ArchiveHasNoCorpus(
            f"{where} has more than one set of train, valid and test ({both}). Upload the one to train on."
        )
    if complete or not families:
        return complete[0] if complete else None
    found = next(iter(families.values()))
    missing = " and ".join(split for split in SPLIT_NAMES if split not in found)
    names = ", ".join(repr(member.path) for member in found.values())
    raise SplitIncomplete(
        f"{where} has {names} without {missing}. Add what is missing, or, to have one corpus split 90/5/5, "
        "give the files names without train, valid or test."
    )
