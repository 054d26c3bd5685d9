"""Checkpoints: all that a job needs to go on after an interruption as if there had been none.

SageMaker keeps /opt/ml/checkpoints over an interruption of a spot instance, by copying it to S3 as it changes
and back before a restart; the model folder is lost. One file therefore holds everything, and the next
one takes its place: the job's identity, weights, optimiser, schedule, position, the LSTM's memory, what was
measured, and the best weights so far. Random numbers come from the seed, the step and the rank
(epoch_loop.py), so the position says their state too.

A folder of checkpoints belongs to one job. One that another corpus, other hyperparameters or another version
of this code made is refused rather than overwritten. One that is damaged cannot be told from nobody's, and
training begins anew.
"""

import hashlib
import os
import time
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from corpus import Corpus
from hyperparameters import Hyperparameters
from job_log import log
from user_error import UserError

FORMAT = 2
"""Version of the file's contents."""

FILE = "checkpoint.pt"

EVERY_SECONDS = 60.0
"""Seconds of work that an interruption may cost."""

WITHOUT_EFFECT = ("log_interval",)
"""Hyperparameters that may differ after an interruption: the model does not depend on them."""


def folder(environment: Mapping[str, str]) -> Path | None:
    """Where this job's checkpoints go, or None if it has no place for them.

    LEXLINE_CHECKPOINTS names a folder, which is made. Otherwise it is the folder `checkpoints` beside the
    model's, which SageMaker makes for a job with a CheckpointConfig.
    """
    named = environment.get("LEXLINE_CHECKPOINTS")
    if named:
        Path(named).mkdir(parents=True, exist_ok=True)
        return Path(named)
    usual = Path(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml") / "checkpoints"
    return usual if usual.is_dir() else None


def identity(settings: Hyperparameters, corpus: Corpus) -> dict[str, Any]:
    """What must be the same for a job to go on from a checkpoint."""
    digest = hashlib.blake2b("\n".join(corpus.vocabulary.words).encode(), digest_size=16)
    for _, tokens in sorted(corpus.splits.items()):
        digest.update(len(tokens).to_bytes(8, "little"))
        digest.update(tokens.data)
    matters = {name: value for name, value in asdict(settings).items() if name not in WITHOUT_EFFECT}
    return {"format": FORMAT, **matters, "corpus": digest.hexdigest()}


class Checkpoints:
    """The checkpoint of one job, in a folder."""

    def __init__(self, directory: Path, job: dict[str, Any]) -> None:
        """job: its `identity`."""
        self._path = directory / FILE
        self._job = job
        self._written_at = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._written_at >= EVERY_SECONDS

    def save(self, contents: dict[str, Any]) -> None:
        """Put plain tensors, numbers, text, lists and dictionaries of them in place of the last checkpoint.

        A process killed at any moment leaves the one or the other, whole. A disk that is full costs the
        checkpoint, not the training.
        """
        unfinished = self._path.with_name(f"{FILE}.tmp")
        try:
            with unfinished.open("wb") as file:
                torch.save({"job": self._job, **contents}, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
            _sync(self._path.parent)
        # torch.save tells of a write that failed as a RuntimeError.
        except (OSError, RuntimeError) as error:
            unfinished.unlink(missing_ok=True)
            log(f"The checkpoint could not be written ({error}); training goes on.")
        self._written_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The contents of the last checkpoint, on the CPU, or None if there is none or it is damaged.

        Raises UserError if it is another job's.
        """
        if not self._path.exists():
            return None
        try:
            contents = _read(self._path)
        except Exception as error:  # what torch.load raises depends on which bytes are wrong
            log(f"The checkpoint {self._path} is damaged ({error}): training starts from the beginning.")
            return None
        self._check(contents.get("job", {}))
        return contents

    def _check(self, found: dict[str, Any]) -> None:
        differing = [name for name in self._job if found.get(name) != self._job[name]]
        if not differing:
            return
        name = differing[0]
        was, now = found.get(name), self._job[name]
        difference = {
            "format": f"by another version of Lexline, in format {was} rather than {now}",
            "corpus": "from another corpus",
        }.get(name, f"with {name} {was}, and this job has {name} {now}")
        raise UserError(
            f"The checkpoint {self._path} was made {difference}. "
            "Give this job a checkpoint folder of its own, or empty that one to start from the beginning."
        )


def _read(path: Path) -> dict[str, Any]:
    # torch.load does not check the checksums that torch.save writes.
    with zipfile.ZipFile(path) as archive:
        wrong = archive.testzip()
    if wrong:
        raise ValueError(f"{wrong} does not match its checksum")
    contents: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return contents


def _sync(directory: Path) -> None:
    """Make a rename in the directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
