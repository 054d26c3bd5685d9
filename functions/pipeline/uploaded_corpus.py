"""The text of a dataset, whatever it came packed in: one stream of text, to be read as often as needed.

Of an archive, the text files make up the corpus:
- If three of them are named as train, valid and test (in the same folder, alike but for that word), those
  are the splits and the other files are left alone.
- Otherwise all text files, joined in the order of their paths, are one corpus.
Hidden files, macOS's shadow files, READMEs, licences and binary files are passed over. An archive within
the archive is refused: what is in it would go missing in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from archives import Container, Member, open_container
from core.errors import ArchiveHasNoCorpus, ArchiveNested, SplitIncomplete
from object_reader import ObjectReader
from text_stream import decoded
from uploads.file_names import SPLIT_NAMES, SplitName, is_incidental, role_of


@dataclass(frozen=True)
class Part:
    """Members that follow each other in one container; `split` is None for a corpus that is still to be
    cut.
    """

    split: SplitName | None
    container: Container
    members: list[Member]


@dataclass(frozen=True)
class UploadedCorpus:
    """`parts` in the order train, valid, test, or a single part that is the whole corpus."""

    parts: Sequence[Part]

    @property
    def is_split(self) -> bool:
        return self.parts[0].split is not None

    @property
    def where(self) -> str:
        """The objects it came in, for errors."""
        return ", ".join(dict.fromkeys(part.container.where for part in self.parts))

    def text(self) -> Iterator[tuple[SplitName | None, str]]:
        """The checked text in pieces, each with its split; every file's last line is ended."""
        for part in self.parts:
            for member, chunks in part.container.read(part.members):
                where = part.container.where
                if part.container.is_archive:
                    where += f", member {member.path!r},"
                for piece in decoded(chunks, where):
                    yield part.split, piece


def open_corpus(source: ObjectReader) -> UploadedCorpus:
    """The corpus in one object: a text file, compressed or not, or an archive."""
    container = open_container(source)
    files = _texts(container)
    # One text alone is a corpus, whatever it is called.
    chosen = _split_set(container.where, files) if len(files) > 1 else None
    if chosen is None:
        return UploadedCorpus([Part(None, container, files)])
    return UploadedCorpus([Part(split, container, [chosen[split]]) for split in SPLIT_NAMES])


def open_split_corpus(sources: Mapping[SplitName, ObjectReader]) -> UploadedCorpus:
    """The corpus in three objects, one for each split."""
    containers = {split: open_container(sources[split]) for split in SPLIT_NAMES}
    return UploadedCorpus([Part(split, found, _texts(found)) for split, found in containers.items()])


def _texts(container: Container) -> list[Member]:
    """The container's text files in the order of their paths."""
    if not container.is_archive:
        return container.members()
    members = [member for member in container.members() if not is_incidental(member.path)]
    nested = next((member for member in members if member.content == "archive"), None)
    if nested:
        raise ArchiveNested(
            f"{container.where} holds another archive: {nested.path!r}. Unpack that one and pack the "
            "texts themselves."
        )
    texts = [member for member in members if member.content == "text"]
    if not texts:
        found = f"only {members[0].path!r} and the like" if members else "no file that could be one"
        raise ArchiveHasNoCorpus(
            f"{container.where} holds no text file ({found}; hidden files, READMEs and licences do not "
            "count). Pack one or more plain text files in UTF-8."
        )
    return sorted(texts, key=lambda member: member.path)


def _split_set(where: str, files: Sequence[Member]) -> Mapping[SplitName, Member] | None:
    """The one set of train, valid and test among an archive's files; None if no file is named as one of
    them.
    """
    families: dict[tuple[str, str, str], dict[SplitName, Member]] = {}
    for member in files:
        role = role_of(member.path)
        if role is None:
            continue
        family = families.setdefault(role.family, {})
        if role.split in family:
            raise ArchiveHasNoCorpus(
                f"{where} has two files for {role.split}: {family[role.split].path!r} and "
                f"{member.path!r}. Keep one."
            )
        family[role.split] = member
    complete = [family for family in families.values() if len(family) == len(SPLIT_NAMES)]
    if len(complete) > 1:
        both = " and ".join(repr(family["train"].path) for family in complete[:2])
        raise ArchiveHasNoCorpus(
            f"{where} has more than one set of train, valid and test ({both}). Upload the one to train on."
        )
    if complete:
        return complete[0]
    if families:
        found = next(iter(families.values()))
        missing = " and ".join(split for split in SPLIT_NAMES if split not in found)
        named = ", ".join(repr(member.path) for member in found.values())
        raise SplitIncomplete(
            f"{where} has {named} but no {missing} to go with it. Add what is missing, or, to have one "
            "corpus split 90/5/5, give the files names without train, valid or test."
        )
    return None
