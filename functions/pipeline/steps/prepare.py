"""Prepare: turn what was uploaded into train, valid and test under prepared/, checked and counted.

The text streams through twice and is never stored. The first pass checks it and learns its size and hash,
which give the lines to cut at and the name of its folder. The second pass writes it. Every error is raised
before anything is visible under prepared/. If the function is killed, the bucket's lifecycle deletes its open
multipart uploads.
"""

import time
from collections.abc import Iterator, Mapping

from contracts.dataset import NotPrepared, Prepared, PrepareInput, SourceObject, Split, Splits
from contracts.request import Hyperparameters
from contracts.run import Run
from coordination import arrivals
from core import aws, environment
from core.errors import DatasetEmpty, DatasetTooLarge, DatasetTooSmall, SplitIncomplete
from core.logging import logger
from entry_point import step
from uploads import listing
from uploads.file_names import SPLIT_NAMES, SplitName
from uploads.object_reader import ObjectReader
from uploads.prepared_folder import PreparedFolder, fingerprint
from uploads.splits import cut, lines_per_split
from uploads.text_stream import Tally, preview
from uploads.uploaded_corpus import UploadedCorpus, open_corpus

# Lambda stops the function after 900 s without warning. This leaves time to clean up.
SECONDS = 840
# The preview is taken from this many characters of the text, or somewhat more.
_HEAD = 64 * 1024


@step(PrepareInput)
def handler(given: PrepareInput) -> Prepared | NotPrepared:
    """Prepare the newest uploads of the run's dataset.

    Raises:
        InvalidDataset: A subclass names the S3 object and what to do about it.
    """
    run, bucket = given.run, environment.bucket()
    dataset = str(run.dataset)
    arrivals.close(run)
    listed = listing.objects(aws.s3(), bucket, dataset)
    arrivals.mark_handled(dataset, listed)
    try:
        chosen = listing.choose(listed, bucket, dataset)
    except SplitIncomplete as error:
        # If an upload started the run, the missing files of the set may still be uploaded.
        if run.upload is None:
            raise
        return NotPrepared(outcome="waiting", dataset=dataset, reason=str(error))
    readers = {
        split: ObjectReader(aws.s3(), bucket, item.key, item.etag, item.size)
        for split, item in chosen.items()
    }
    return _prepared(run, dataset, readers)


def _prepared(
    run: Run, dataset: str, readers: Mapping[SplitName | None, ObjectReader]
) -> Prepared | NotPrepared:
    started = time.monotonic()
    corpus = open_corpus(readers)
    needed = words_needed(run.hyperparameters)
    name, lines, first_lines = _measure(corpus, started, needed)
    source = [SourceObject.model_validate(each, from_attributes=True) for each in readers.values()]
    folder = PreparedFolder(aws.s3(), environment.bucket(), dataset, name)
    manifest = folder.manifest()
    if manifest:
        _check_sizes(manifest.splits, needed, readers)
    else:
        with folder:
            for split, piece in cut((piece for _, piece in _text(corpus, started)), lines):
                folder.write(split, piece)
            _check_sizes(folder.entries(), needed, readers)
            manifest = folder.publish(run.name, source, first_lines)
    # The ETag is compared too: every version is "null" while the versioning of a bucket is suspended.
    versions = [f"{each.etag} {each.version_id}" for each in source if each.version_id]
    if len(versions) == len(source) and not arrivals.first_to_read(run, versions) and run.upload:
        return NotPrepared(
            outcome="seen",
            dataset=dataset,
            reason=f"An earlier run has already read these uploads of dataset {dataset}. To run them again, "
            f'start an execution with {{"dataset": "{dataset}"}}.',
        )
    logger.info("Prepared", uri=folder.uri, seconds=round(time.monotonic() - started, 1))
    return Prepared(
        dataset=dataset,
        source=source,
        fingerprint=folder.fingerprint,
        prepared_uri=folder.uri,
        manifest_uri=folder.manifest_uri,
        splits=Splits(**manifest.splits),
    )


def words_needed(hyperparameters: Hyperparameters) -> dict[SplitName, int]:
    """Return the fewest words to train and measure with.

    Train: one full step, which is batch_size columns of bptt inputs and the word after each. Valid and test:
    one window of bptt words, because a perplexity over fewer says nothing.
    """
    train = hyperparameters.batch_size * (hyperparameters.bptt + 1)
    return {"train": train, "valid": hyperparameters.bptt, "test": hyperparameters.bptt}


def _measure(
    corpus: UploadedCorpus, started: float, needed: Mapping[SplitName, int]
) -> tuple[str, Mapping[SplitName, int], list[str]]:
    """Return the fingerprint of the corpus, the lines of each split, and the first lines of the text."""
    whole = Tally()
    head = ""
    lines: dict[SplitName, int] = dict.fromkeys(SPLIT_NAMES, 0)
    for split, text in _text(corpus, started):
        lines_before = whole.lines
        whole.add(text)
        if len(head) < _HEAD:
            head += text
        if split:
            lines[split] += whole.lines - lines_before
    if not whole.words:
        raise DatasetEmpty(f"{corpus.where} contains no words. Upload it with its text.")
    if whole.words < sum(needed.values()):
        raise DatasetTooSmall(
            f"{corpus.where} contains {whole.words:,} words in all; at least {sum(needed.values()):,} are "
            f"needed. {_ENLARGE}"
        )
    if not any(lines.values()):
        lines = lines_per_split(whole.lines)
    return fingerprint(whole.sha256, lines), lines, preview(head)


def _text(corpus: UploadedCorpus, started: float) -> Iterator[tuple[SplitName | None, str]]:
    for piece in corpus.text():
        if time.monotonic() - started > SECONDS:
            raise DatasetTooLarge(
                f"{corpus.where} took more than {SECONDS} seconds to read. Upload a smaller part of it, or "
                "plain text instead of an archive of many files."
            )
        yield piece


_ENLARGE = "Upload more text, or lower the hyperparameters batch_size and bptt."


def _check_sizes(
    sizes: Mapping[SplitName, Split],
    needed: Mapping[SplitName, int],
    readers: Mapping[SplitName | None, ObjectReader],
) -> None:
    for split in SPLIT_NAMES:
        words = sizes[split].words if split in sizes else 0
        if words < needed[split]:
            uri = readers[split if split in readers else None].uri
            raise DatasetTooSmall(
                f"{uri} gives {words:,} words for {split}; at least {needed[split]:,} are needed, and a "
                f"corpus is cut only between lines. {_ENLARGE}"
            )
