"""The training loop: truncated back-propagation through time over the columns of a corpus.

    a b c d e f g h i j k, 2 columns   ->   a f   rows 0-1 are read and rows 1-2 predicted,
                                            b g   then rows 2-3 are read with the memory of those before,
                                            c h   and so on to the end: one epoch
                                            d i
                                            e j

Gradients reach back to the first row of a batch and no further (Mikolov et al., Interspeech 2010; PyTorch's
word_language_model example). After each epoch the loss on valid decides whether its weights are kept.

Everything random in a step is drawn from generators seeded anew with the job's seed, the step's number and
the rank. So an interrupted run goes on with the very numbers it would have had.
"""

import hashlib
import math
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

import distributed
import recipes
from checkpoint import Checkpoints
from hyperparameters import Hyperparameters
from job_log import log, log_values, scores
from language_model import WEIGHTS, LanguageModel, State, save_weights
from metrics import Epoch, Metrics
from optimisation import Optimisation
from perplexity import mean_loss, perplexity
from user_error import UserError
from vocabulary import TokenIds

STEPS_BETWEEN_CHECKS = 50
"""The loss is looked at this often: on a GPU, looking means waiting for it."""


class Diverged(Exception):
    """The loss is no number any more, or so large that perplexity is infinite. The message says where."""


class Stopped(Exception):
    """SIGTERM came, and what could be saved is saved."""


@dataclass
class Position:
    """How far training is; a resumed run begins here.

    epoch: the one under way, from 1. row: the first that it has not read yet. step: its steps so far. steps:
    those of all epochs. lr: of the last step. loss: in nats, summed over the `words` that the epoch has
    predicted. seconds: of the epoch's pass over train.
    """

    epoch: int = 1
    row: int = 0
    step: int = 0
    steps: int = 0
    lr: float = 0.0
    loss: float = 0.0
    words: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Logged:
    """When the last line of the log was said, and the position's words and loss then."""

    at: float
    words: int
    loss: float


class Training:
    """A model, the text it learns, and how far it is."""

    def __init__(
        self,
        model: LanguageModel,
        train: TokenIds,
        valid: TokenIds,
        settings: Hyperparameters,
        metrics: Metrics,
        artifact: Path,
        checkpoints: Checkpoints | None,
    ) -> None:
        """artifact: the model folder, which gets the best weights. checkpoints: the first rank's.

        Raises UserError where the batch does not fit the corpus or the ranks.
        """
        if distributed.world() > settings.batch_size:
            raise UserError(
                f"batch_size {settings.batch_size} is too small for {distributed.world()} processes, which "
                f"share its columns: make it at least {distributed.world()}, or use fewer instances."
            )
        self.model = model
        self.columns = batchify(train, settings.batch_size)
        self.valid = valid
        self.settings = settings
        self.metrics = metrics
        self.weights = artifact / WEIGHTS
        self.checkpoints = checkpoints
        self.own = distributed.part(settings.batch_size)
        self.own_columns = self.own.stop - self.own.start
        self.device = model.decoder.bias.device
        self.steps_per_epoch = math.ceil((len(self.columns) - 1) / settings.bptt)
        self.optimisation = Optimisation(model, settings, self.steps_per_epoch)
        self.position = Position()
        self.memory: State = model.start(self.own_columns)

    def run(self) -> None:
        """Train epoch by epoch, from the checkpoint on if there is one. The artifact gets the best epoch's
        weights.

        If training diverges, the best epoch so far is the result; without one, UserError. Raises Stopped.
        """
        self._resume()
        try:
            while self.position.epoch <= self.settings.epochs:
                with KeepSigterm() as sigterm:
                    finished = self._read_train(sigterm)
                if sigterm.came or not finished:
                    self._stop()
                # Until the next epoch there is nothing to save, and SIGTERM ends the process at once.
                self._end_epoch()
        except Diverged as problem:
            if self.metrics.best is None:
                raise UserError(
                    f"Training diverged: {problem}. "
                    f"Try a lower lr (now {self.settings.lr:g}) or clip (now {self.settings.clip:g})."
                ) from None
            self.metrics.stopped = f"{problem}; the best epoch so far, {self.metrics.best_epoch}, is kept"
            log(f"stopped early: {self.metrics.stopped}")

    def _read_train(self, sigterm: "KeepSigterm") -> bool:
        """The epoch's pass over train, or what is left of it, and then a checkpoint. Raises Diverged.

        False if SIGTERM came to any rank: the checkpoint is then of the step that was under way.
        """
        self.model.train()
        position, interval = self.position, self.settings.log_interval
        began = time.monotonic() - position.seconds
        logged = Logged(time.monotonic(), position.words, position.loss)
        # Each rank adds up its own columns', and on its device, where nobody has to wait for the sum.
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        if distributed.is_first():
            loss += position.loss
        while position.row < len(self.columns) - 1:
            loss_now, stopping, due = self._step(sigterm)
            loss += loss_now
            position.seconds = time.monotonic() - began
            over = position.row == len(self.columns) - 1
            log = position.step % interval == 0 or (over and position.step < interval)
            if log or due or stopping or over or position.step % STEPS_BETWEEN_CHECKS == 0:
                position.loss = distributed.total(loss)
                self._check(logged)
            if log:
                logged = self._log(logged)
            if due or stopping or over:
                self._save()
            if stopping:
                return False
        return True

    def _step(self, sigterm: "KeepSigterm") -> tuple[Tensor, bool, bool]:
        """One batch: its loss, summed over this rank's columns; whether a rank was stopped; whether to
        save."""
        position, settings = self.position, self.settings
        chance = torch.Generator().manual_seed(_seed(settings.seed, position.steps))
        rows = min(recipes.window(settings, chance), len(self.columns) - 1 - position.row)
        words, targets = self.batch(position.row, rows)
        self._reseed(_seed(settings.seed, position.steps, distributed.rank()))

        loss, outputs, self.memory = self.model(words, targets, self.memory)
        # This rank's part of the mean over the whole batch.
        penalty = self.optimisation.penalty(outputs) * (self.own_columns / settings.batch_size)
        (loss / (rows * settings.batch_size) + penalty).backward()
        due = self.checkpoints is not None and self.checkpoints.due
        stopping, due = distributed.sum_gradients(self.model.parameters(), [sigterm.came, due])
        position.lr = self.optimisation.step(rows)

        position.row += rows
        position.step += 1
        position.steps += 1
        position.words += rows * settings.batch_size
        return loss.detach(), stopping, due

    def batch(self, row: int, rows: int) -> tuple[Tensor, Tensor]:
        """Words, and the words after them, of this rank's columns: both (rows, own columns).

        Only a batch is made of the 8-byte numbers that torch wants; the corpus stays at 4.
        """
        numbers = torch.from_numpy(self.columns[row : row + rows + 1, self.own].astype(np.int64, order="C"))
        numbers = numbers.to(self.device)
        return numbers[:-1], numbers[1:]

    def _reseed(self, seed: int) -> None:
        """Seed dropout. torch.manual_seed would do the same in a good part of a millisecond."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _end_epoch(self) -> None:
        """The loss on valid, and what follows from it. Raises Diverged."""
        position, metrics = self.position, self.metrics
        began = time.monotonic()
        with self.optimisation.averaged():
            valid_loss = mean_loss(self.model, self.valid)
            if not math.isfinite(perplexity(valid_loss)):
                raise Diverged(f"the loss on valid became {valid_loss:g} in epoch {position.epoch}")
            better = metrics.best is None or valid_loss < metrics.best.valid_loss
            if better and distributed.is_first():
                save_weights(self.model, self.weights)
        self.optimisation.epoch_ended(valid_loss)
        epoch = Epoch(
            epoch=position.epoch,
            lr=position.lr,
            seconds=position.seconds + time.monotonic() - began,
            words_per_second=position.words / max(position.seconds, 1e-9),
            train_loss=position.loss / position.words,
            valid_loss=valid_loss,
        )
        metrics.epochs.append(epoch)
        if better:
            metrics.best_epoch = position.epoch
        log_values(
            epoch=f"{position.epoch}/{self.settings.epochs}",
            seconds=f"{epoch.seconds:.1f}",
            **scores("valid", valid_loss),
        )
        metrics.save()
        self.position = Position(epoch=position.epoch + 1, steps=position.steps)
        self.memory = self.model.start(self.own_columns)

    def _check(self, logged: Logged) -> None:
        position = self.position
        recent = (position.loss - logged.loss) / (position.words - logged.words)
        if not math.isfinite(perplexity(recent)):
            raise Diverged(f"the loss became {recent:g} in epoch {position.epoch}, step {position.step}")

    def _log(self, last: Logged) -> Logged:
        """How training went since the last line, as a line."""
        position = self.position
        now = Logged(time.monotonic(), position.words, position.loss)
        words = now.words - last.words
        log_values(
            epoch=f"{position.epoch}/{self.settings.epochs}",
            # Windows that vary make the number of steps a matter of chance.
            step=f"{position.step}/{max(position.step, self.steps_per_epoch)}",
            lr=f"{position.lr:g}",
            words_per_second=round(words / max(now.at - last.at, 1e-9)),
            **scores("train", (now.loss - last.loss) / words),
        )
        return now

    def _stop(self) -> None:
        """Leave the artifact as it is, with the best epoch so far, if any. Raises Stopped."""
        position = self.position
        where = f"SIGTERM came in epoch {position.epoch}, step {position.step}"
        self.metrics.stopped = where
        self.metrics.save()
        if self.checkpoints is None:
            log(f"stopped: {where}; there is no checkpoint folder, so a new start begins at the beginning")
        else:
            log(f"stopped: {where}; a new start goes on from there")
        raise Stopped(where)

    def _save(self) -> None:
        """A checkpoint. Every rank takes part, the first one writes."""
        columns = self.settings.batch_size
        memory = [(distributed.whole(h, columns), distributed.whole(c, columns)) for h, c in self.memory]
        if self.checkpoints is None:
            return
        best = None
        if self.metrics.best:
            best = torch.frombuffer(bytearray(self.weights.read_bytes()), dtype=torch.uint8)
        self.checkpoints.save(
            {
                "position": asdict(self.position),
                # By parameter: a matrix that is tied to another one is written once.
                "weights": {name: weight.detach() for name, weight in self.model.named_parameters()},
                "optimisation": self.optimisation.state_dict(),
                "memory": memory,
                "metrics": self.metrics.state_dict(),
                "best": best,
            }
        )

    def _resume(self) -> None:
        """Take up the checkpoint, if there is one. Raises UserError if it is another job's.

        The number of ranks may be another than before.
        """
        with distributed.together():
            found = self.checkpoints.load() if self.checkpoints else None
        saved: dict[str, Any] | None = distributed.from_first(found)
        if saved is None:
            return
        self.position = Position(**saved["position"])
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(saved["weights"][name])
        self.optimisation.load_state_dict(saved["optimisation"])
        self.memory = [
            (h[:, self.own].to(self.device).contiguous(), c[:, self.own].to(self.device).contiguous())
            for h, c in saved["memory"]
        ]
        self.metrics.load_state_dict(saved["metrics"])
        if saved["best"] is not None and distributed.is_first():
            self.weights.write_bytes(saved["best"].numpy().tobytes())
        log(f"resumed: epoch {self.position.epoch}, step {self.position.step}")


class KeepSigterm:
    """Within it, SIGTERM is remembered rather than obeyed.

    On SageMaker a job that is stopped, or interrupted on a spot instance, gets SIGTERM and two minutes. But
    the container's first process gets it, AWS's training toolkit, and passes it on to nobody (nothing in
    sagemaker_training 5.1.4 handles it). Where that is so, the checkpoint made last is what counts; where a
    whole process group is told, or torchrun tells its ranks, training stops at the end of its step.
    """

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> "KeepSigterm":
        self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True


def batchify(tokens: TokenIds, batch_size: int) -> TokenIds:
    """The text cut into batch_size columns of equal length, (rows, batch_size); a short rest is left out.

    A view: each column is a stretch of the text, where it lies.
    """
    rows = len(tokens) // batch_size
    if rows < 2:
        raise UserError(
            f"batch_size {batch_size} is too large for {len(tokens):,} training tokens: "
            f"it can be at most {len(tokens) // 2}."
        )
    return tokens[: rows * batch_size].reshape(batch_size, rows).T


def _seed(*numbers: int) -> int:
    """A seed for each tuple of numbers, as unlike those of its neighbours as any."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest(), "little")
