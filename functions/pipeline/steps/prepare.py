"""Data prep: from what was uploaded to train, valid and test in prepared/, checked and counted.

The text streams through twice, never stored: once to check it and learn its size and hash, which give the
lines to cut at and the name of its folder, and once to write it. Every refusal by an error happens before
anything is visible in prepared/. A multipart upload that a killed function leaves open is removed by the
bucket's lifecycle.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from contracts.dataset import NotPrepared, Prepared, PrepareInput, SourceObject, Split
from contracts.request import Hyperparameters
from contracts.run import Run
from coordination import arrivals
from core import aws, environment
from core.errors import DatasetEmpty, DatasetTooLarge, DatasetTooSmall
from core.logging import logger
from entry_point import step
from object_reader import ObjectReader
from prepared_folder import PreparedFolder, fingerprint
from splits import cut, lines_per_split
from text_stream import Preview, Tally
from uploaded_corpus import UploadedCorpus, open_corpus, open_split_corpus
from uploads.file_names import SPLIT_NAMES, SplitName
from uploads.listing import SingleObject, SplitSet, find_objects, objects

# Lambda stops a function after 900 s, without a word to it; this leaves time to clean up.
SECONDS = 840


@step(PrepareInput)
def handler(given: PrepareInput) -> Prepared | NotPrepared:
    """Raises InvalidDataset's subclasses, each naming the S3 object and what to do about it."""
    run, bucket = given.run, environment.bucket()
    dataset = str(run.dataset)
    arrivals.close(run)
    arrivals.mark_handled(dataset, objects(aws.s3(), bucket, dataset))
    found = find_objects(aws.s3(), bucket, dataset, uploaded=run.upload is not None)
    return found if isinstance(found, NotPrepared) else _prepared(run, found)


def _prepared(run: Run, found: SingleObject | SplitSet) -> Prepared | NotPrepared:
    started = time.monotonic()
    dataset = str(run.dataset)
    readers = _readers(found)
    corpus = _corpus(found, readers)
    needed = words_needed(run.hyperparameters)
    content = _measure(corpus, started, needed)
    source = [
        SourceObject(uri=reader.uri, etag=reader.etag, version_id=reader.version_id) for reader in readers
    ]
    folder = PreparedFolder(
        aws.s3(), environment.bucket(), dataset, fingerprint(content.sha256, content.lines)
    )
    manifest = folder.manifest()
    if manifest is None:
        with folder:
            _write(corpus, content, folder, started)
            _check_sizes(folder.sizes(), needed, readers)
            manifest = folder.publish(run.name, source, content.preview)
    else:
        _check_sizes({split: getattr(manifest.sizes, split) for split in SPLIT_NAMES}, needed, readers)
    # Not by the version alone: that of every object is "null" while a bucket's versioning is suspended.
    versions = [f"{each.etag} {each.version_id}" for each in source if each.version_id]
    if len(versions) == len(source) and not arrivals.first_to_read(run, versions) and run.upload:
        return NotPrepared(
            outcome="seen",
            dataset=dataset,
            reason=f"An earlier run has read these very uploads of dataset {dataset}; their arrival was "
            f'announced again. To run them again, start an execution with {{"dataset": "{dataset}"}}.',
        )
    logger.info("Prepared", uri=folder.uri, seconds=round(time.monotonic() - started, 1))
    return Prepared(
        dataset=dataset,
        source=source,
        fingerprint=folder.fingerprint,
        prepared_uri=folder.uri,
        manifest_uri=folder.manifest_uri,
        splits=manifest.sizes,
    )


def _readers(found: SingleObject | SplitSet) -> list[ObjectReader]:
    """One for each object; of a set in the order train, valid, test."""
    objects = (
        [found.objects[split] for split in SPLIT_NAMES] if isinstance(found, SplitSet) else [found.object]
    )
    return [ObjectReader(aws.s3(), environment.bucket(), item.key, item.etag, item.size) for item in objects]


def _corpus(found: SingleObject | SplitSet, readers: Sequence[ObjectReader]) -> UploadedCorpus:
    if isinstance(found, SplitSet):
        return open_split_corpus(dict(zip(SPLIT_NAMES, readers, strict=True)))
    return open_corpus(readers[0])


def words_needed(hyperparameters: Hyperparameters) -> dict[SplitName, int]:
    """The fewest words to train and measure with.

    Train: one full step, batch_size columns of bptt inputs and the word after each. Valid and test: one
    window of bptt words; a perplexity over fewer says nothing. A corpus that is cut 90/5/5 has to fill all
    three.
    """
    train = hyperparameters.batch_size * (hyperparameters.bptt + 1)
    return {"train": train, "valid": hyperparameters.bptt, "test": hyperparameters.bptt}


@dataclass(frozen=True)
class _Content:
    """What the first pass learns: the hash of the whole text, the lines of each split, the first lines."""

    sha256: str
    lines: Mapping[SplitName, int]
    preview: list[str]


def _measure(corpus: UploadedCorpus, started: float, needed: Mapping[SplitName, int]) -> _Content:
    whole = Tally()
    preview = Preview()
    lines: dict[SplitName, int] = dict.fromkeys(SPLIT_NAMES, 0)
    for split, text in _in_time(corpus.text(), started, corpus.where):
        lines_before = whole.lines
        whole.add(text)
        preview.add(text)
        if split:
            lines[split] += whole.lines - lines_before
    if not whole.words:
        raise DatasetEmpty(f"{corpus.where} holds no words. Upload it with its text.")
    if whole.words < sum(needed.values()):
        raise DatasetTooSmall(
            f"{corpus.where} holds {whole.words:,} words in all; at least {sum(needed.values()):,} are "
            f"needed. {_ENLARGE}"
        )
    return _Content(whole.sha256, lines if corpus.is_split else lines_per_split(whole.lines), preview.lines)


def _write(corpus: UploadedCorpus, content: _Content, folder: PreparedFolder, started: float) -> None:
    text = _in_time(corpus.text(), started, corpus.where)
    if corpus.is_split:
        for split, piece in text:
            if split:
                folder.write(split, piece)
    else:
        for split, piece in cut((piece for _, piece in text), content.lines):
            folder.write(split, piece)


_Piece = TypeVar("_Piece")


def _in_time(pieces: Iterable[_Piece], started: float, where: str) -> Iterator[_Piece]:
    for piece in pieces:
        if time.monotonic() - started > SECONDS:
            raise DatasetTooLarge(
                f"{where} was not through after {SECONDS} seconds. Upload a smaller part of it, or plain "
                "text instead of an archive of many files."
            )
        yield piece


_ENLARGE = "Upload more text, or lower the hyperparameters batch_size and bptt."


def _check_sizes(
    sizes: Mapping[SplitName, Split], needed: Mapping[SplitName, int], readers: Sequence[ObjectReader]
) -> None:
    for split in SPLIT_NAMES:
        words = sizes[split].words if split in sizes else 0
        if words < needed[split]:
            where = readers[SPLIT_NAMES.index(split)] if len(readers) > 1 else readers[0]
            raise DatasetTooSmall(
                f"{where.uri} gives {words:,} words for {split}; at least {needed[split]:,} are needed, "
                f"and a corpus is cut only between lines. {_ENLARGE}"
            )
