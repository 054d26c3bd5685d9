"""Checkpoints: a job that was interrupted resumes from the last one and ends with the same weights.

SageMaker copies /opt/ml/checkpoints to S3 as it changes, and back before it restarts a job whose spot
instance was taken away; it does not keep the model folder. One file therefore holds everything: the job's
identity, weights, optimiser, position, the LSTM's state, the metrics and the best weights so far. Random
numbers depend on the seed, the step and the rank alone (epoch_loop.py), so the position covers them too.

A folder of checkpoints belongs to one job. A checkpoint of another corpus, other hyperparameters, a recipe
that was changed, or another format is refused, not overwritten. If a checkpoint is damaged, training starts
from the beginning.
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

import recipes
from hyperparameters import Hyperparameters
from job_log import log
from user_error import UserError
from vocabulary import Vocabulary

FORMAT = 3
"""Version of the file's contents."""

FILE = "checkpoint.pt"

EVERY_SECONDS = 60.0
"""The least seconds between two checkpoints."""

SHARE_OF_TIME = 0.03
"""The most that writing may take of the job's time: a large model's checkpoints are written less often."""

WITHOUT_EFFECT = ("log_interval",)
"""Hyperparameters that the model does not depend on, so they may differ after an interruption."""


def folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder for this job's checkpoints, or None if the job keeps none.

    LEXLINE_CHECKPOINTS names a folder, which is created. Otherwise it is the folder `checkpoints` beside the
    model's, which SageMaker creates for a job with a CheckpointConfig.
    """
    named = environment.get("LEXLINE_CHECKPOINTS")
    if named:
        Path(named).mkdir(parents=True, exist_ok=True)
        return Path(named)
    default = Path(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml") / "checkpoints"
    return default if default.is_dir() else None


def identity(hparams: Hyperparameters, vocabulary: Vocabulary, text: str) -> dict[str, Any]:
    """Return what must be equal for a job to resume from a checkpoint.

    Args:
        hparams: The job's hyperparameters.
        vocabulary: The words of its corpus.
        text: A fingerprint of its text.
    """
    digest = hashlib.blake2b("\n".join([text, *vocabulary.words]).encode(), digest_size=16)
    relevant = {name: value for name, value in asdict(hparams).items() if name not in WITHOUT_EFFECT}
    recipe = asdict(recipes.BY_NAME[hparams.recipe])
    return {"format": FORMAT, **relevant, "recipe_fields": recipe, "corpus": digest.hexdigest()}


class Checkpoints:
    """The checkpoint of one job, in a folder."""

    def __init__(self, directory: Path, job: dict[str, Any]) -> None:
        """Take the folder and the job's `identity`."""
        self._path = directory / FILE
        self._job = job
        self._written_at = time.monotonic()
        self._spacing = EVERY_SECONDS

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last checkpoint."""
        return time.monotonic() - self._written_at >= self._spacing

    def save(self, contents: dict[str, Any]) -> None:
        """Replace the last checkpoint.

        If the process is killed meanwhile, either the old or the new checkpoint is there, complete. If the
        disk is full, log it and keep the old one: training goes on.

        Args:
            contents: Plain tensors, numbers, strings, and lists and dictionaries of them.
        """
        began = time.monotonic()
        unfinished = self._path.with_name(f"{FILE}.tmp")
        try:
            with unfinished.open("wb") as file:
                torch.save({"job": self._job, **contents}, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
            _sync(self._path.parent)
        # torch.save raises RuntimeError if a write fails.
        except (OSError, RuntimeError) as error:
            unfinished.unlink(missing_ok=True)
            log(f"The checkpoint could not be written ({error}); training goes on.")
        self._written_at = time.monotonic()
        self._spacing = max(EVERY_SECONDS, (self._written_at - began) * (1 / SHARE_OF_TIME - 1))

    def load(self) -> dict[str, Any] | None:
        """Return the contents of the last checkpoint, on the CPU, or None if it is missing or damaged.

        Raises:
            UserError: The checkpoint belongs to another job.
        """
        if not self._path.exists():
            return None
        try:
            contents = _read(self._path)
        except Exception as error:  # torch.load raises different errors, depending on which bytes are wrong
            log(f"The checkpoint {self._path} is damaged ({error}): training starts from the beginning.")
            return None
        self._check(contents.get("job", {}))
        return contents

    def _check(self, job: dict[str, Any]) -> None:
        name = next((name for name in self._job if job.get(name) != self._job[name]), None)
        if name is None:
            return
        before, now = job.get(name), self._job[name]
        difference = {
            "format": f"by another version of Lexline, in format {before} rather than {now}",
            "recipe_fields": f"by another version of Lexline, with another recipe {self._job['recipe']}",
            "corpus": "from another corpus",
        }.get(name, f"with {name} {before}, and this job has {name} {now}")
        raise UserError(
            f"The checkpoint {self._path} was made {difference}. "
            "Give this job its own checkpoint folder, or empty that one to start from the beginning."
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
