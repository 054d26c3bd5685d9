"""The epochs of training: truncated back-propagation through time over the columns of a text.

    a b c d e f g h i j k, 2 columns   ->   a f   rows 0-1 are read, rows 1-2 predicted;
                                            b g   then rows 2-3 are read, with the LSTM's state after row 1;
                                            c h   and so on to the end of the columns, which ends the epoch
                                            d i
                                            e j

Gradients flow back to the first row of a batch and no further (Mikolov et al., Interspeech 2010; PyTorch's
word_language_model example). After each epoch the loss on valid decides whether the weights are kept.

Each step seeds its random numbers anew, from the job's seed, the step's number and the rank. A resumed job
therefore draws the numbers that an uninterrupted job would have drawn.
"""

import hashlib
import math
import signal
import time
from dataclasses import asdict, dataclass, replace
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
from language_model import WEIGHTS, Batch, LanguageModel, State, save_weights
from metrics import Epoch, Metrics
from numbered_text import Tokens
from optimisation import Optimisation
from perplexity import mean_loss, perplexity
from user_error import UserError
from vocabulary import TokenIds

STEPS_BETWEEN_CHECKS = 50
"""How often the loss is checked. On a GPU, reading it means waiting for it."""


class Diverged(Exception):
    """The loss is not a number, or its perplexity is infinite. The message says where."""


class Stopped(Exception):
    """SIGTERM arrived, and the job's state is saved."""


@dataclass
class Position:
    """How far training is. A resumed job starts here.

    Attributes:
        epoch: The current epoch, from 1.
        row: The first row that the epoch has not read.
        step: The epoch's steps so far.
        steps: The steps of all epochs so far.
        lr: The learning rate of the last step.
        loss: In nats, summed over the epoch's predicted `words`.
        seconds: Duration of the epoch's pass over train so far.
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
    """The time of the last line in the log, and the position's words and loss then."""

    at: float
    words: int
    loss: float


class Training:
    """A model, the text that it learns, and the position in that text."""

    def __init__(
        self,
        model: LanguageModel,
        train: Tokens,
        valid: Tokens,
        hparams: Hyperparameters,
        metrics: Metrics,
        artifact: Path,
        checkpoints: Checkpoints | None,
    ) -> None:
        """Cut the text into columns.

        Args:
            model: The new model, on the device to train on.
            train: The text to learn.
            valid: The text that decides which epoch is best.
            hparams: The job's hyperparameters, as `fit` returns them.
            metrics: The job's metrics, which get a record of each epoch.
            artifact: The model folder, which gets the best weights.
            checkpoints: On the first rank, where checkpoints go, if anywhere.
        """
        self.model = model
        self.columns = batchify(train, hparams.batch_size)
        self.valid = valid
        self.hparams = hparams
        self.metrics = metrics
        self.weights = artifact / WEIGHTS
        self.checkpoints = checkpoints
        self.own = distributed.own_columns(hparams.batch_size)
        self.own_count = self.own.stop - self.own.start
        self.device = model.decoder.bias.device
        self.steps_per_epoch = math.ceil((len(self.columns) - 1) / hparams.bptt)
        self.optimisation = Optimisation(model, hparams, self.steps_per_epoch)
        self.position = Position()
        self.state: State = model.start(self.own_count)

    def run(self) -> None:
        """Train all epochs, or those that a checkpoint has left. The artifact gets the best epoch's weights.

        If training diverges, it ends with the best epoch so far.

        Raises:
            UserError: Training diverged before the end of the first epoch.
            Stopped: SIGTERM arrived.
        """
        self._resume()
        try:
            while self.position.epoch <= self.hparams.epochs:
                with DeferredSigterm() as sigterm:
                    finished = self._read_train(sigterm)
                if sigterm.received or not finished:
                    self._stop()
                # The checkpoint is saved. SIGTERM is no longer deferred: it ends the process at once, and a
                # resumed job evaluates again.
                self._end_epoch()
        except Diverged as problem:
            if self.metrics.best is None:
                raise UserError(
                    f"Training diverged: {problem}. "
                    f"Try a lower lr (now {self.hparams.lr:g}) or clip (now {self.hparams.clip:g})."
                ) from None
            self.metrics.stopped = f"{problem}; the best epoch so far, {self.metrics.best_epoch}, is kept"
            log(f"stopped early: {self.metrics.stopped}")

    def _read_train(self, sigterm: "DeferredSigterm") -> bool:
        """Read what is left of train in this epoch, then save a checkpoint. Raises Diverged.

        Returns:
            False if SIGTERM arrived at any rank. The checkpoint then includes the step that was in progress.
        """
        self.model.train()
        position, interval = self.position, self.hparams.log_interval
        began = time.monotonic() - position.seconds
        logged = Logged(time.monotonic(), position.words, position.loss)
        # Each rank sums the loss of its own columns on its device, so that no step waits for the sum.
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        if distributed.is_first():
            loss += position.loss
        while position.row < len(self.columns) - 1:
            step_loss, stopping, save_due = self._step(sigterm)
            loss += step_loss
            position.seconds = time.monotonic() - began
            over = position.row == len(self.columns) - 1
            log_due = position.step % interval == 0 or (over and position.step < interval)
            check_due = position.step % STEPS_BETWEEN_CHECKS == 0
            if log_due or save_due or stopping or over or check_due:
                position.loss = distributed.sum_over_ranks(loss)
                self._check(logged)
            if log_due:
                logged = self._log(logged)
            if save_due or stopping or over:
                self._save()
            if stopping:
                return False
        return True

    def _step(self, sigterm: "DeferredSigterm") -> tuple[Tensor, bool, bool]:
        """Train on one batch. Nothing in it waits for a GPU.

        Returns:
            The loss, in nats and summed over this rank's columns; whether any rank received SIGTERM; whether
            a checkpoint is due.
        """
        position, hparams = self.position, self.hparams
        generator = torch.Generator().manual_seed(_seed(hparams.seed, position.steps))
        rows = min(recipes.window(hparams, generator), len(self.columns) - 1 - position.row)
        batch = self.batch(position.row, rows)
        self.model.dropout = recipes.dropout(hparams, position.steps / self.steps_per_epoch)
        self._seed_dropout(_seed(hparams.seed, position.steps, distributed.rank()))

        loss, outputs, self.state = self.model(batch, self.state)
        # This rank's part of the mean over the whole batch.
        penalty = self.optimisation.penalty(outputs) * (self.own_count / hparams.batch_size)
        (loss / (rows * hparams.batch_size) + penalty).backward()
        save_due = self.checkpoints is not None and self.checkpoints.due
        stopping, save_due = distributed.sum_gradients(
            self.model.parameters(), flags=[sigterm.received, save_due]
        )
        position.lr = self.optimisation.step(rows)

        position.row += rows
        position.step += 1
        position.steps += 1
        position.words += rows * hparams.batch_size
        return loss.detach(), stopping, save_due

    def batch(self, row: int, rows: int) -> Batch:
        """Return words and the words that follow them, both (rows, own columns).

        torch needs 8-byte numbers. Only the batch is converted; the text stays on disk, at 4 bytes a word.
        """
        numbers = torch.from_numpy(self.columns[row : row + rows + 1].astype(np.int64, order="C"))
        return Batch.of(numbers, self.model.shape, self.device)

    def _seed_dropout(self, seed: int) -> None:
        # torch.manual_seed does the same, but takes most of a millisecond.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _end_epoch(self) -> None:
        """Measure the loss on valid and keep the weights if they are the best so far. Raises Diverged."""
        position, metrics = self.position, self.metrics
        began = time.monotonic()
        with self.optimisation.averaged():
            valid_loss = mean_loss(self.model, self.valid)
            if not math.isfinite(perplexity(valid_loss)):
                raise Diverged(f"the loss on valid became {valid_loss:g} in epoch {position.epoch}")
            distributed.confirm_sums(self.device)
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
            epoch=f"{position.epoch}/{self.hparams.epochs}",
            seconds=f"{epoch.seconds:.1f}",
            **scores("valid", valid_loss, metrics.unknown_share["valid"]),
        )
        metrics.save()
        self.position = Position(epoch=position.epoch + 1, steps=position.steps)
        self.state = self.model.start(self.own_count)

    def _check(self, logged: Logged) -> None:
        """Raise Diverged if the mean loss since the last line in the log is not finite or far too large."""
        position = self.position
        recent = (position.loss - logged.loss) / (position.words - logged.words)
        if not math.isfinite(perplexity(recent)):
            raise Diverged(f"the loss became {recent:g} in epoch {position.epoch}, step {position.step}")

    def _log(self, last: Logged) -> Logged:
        """Log speed and loss since the last line."""
        position = self.position
        now = Logged(time.monotonic(), position.words, position.loss)
        words = now.words - last.words
        log_values(
            epoch=f"{position.epoch}/{self.hparams.epochs}",
            # With windows of varying length an epoch may have more steps than calculated.
            step=f"{position.step}/{max(position.step, self.steps_per_epoch)}",
            lr=f"{position.lr:g}",
            words_per_second=round(words / max(now.at - last.at, 1e-9)),
            **scores("train", (now.loss - last.loss) / words, self.metrics.unknown_share["train"]),
        )
        return now

    def _stop(self) -> None:
        """Raise Stopped. The artifact keeps the best epoch's weights, if an epoch has ended."""
        position = self.position
        where = f"SIGTERM came in epoch {position.epoch}, step {position.step}"
        self.metrics.stopped = where
        self.metrics.save()
        rest = "a restarted job resumes from there" if self.checkpoints else "there is no checkpoint folder"
        log(f"stopped: {where}; {rest}")
        raise Stopped(where)

    def _save(self) -> None:
        """Save a checkpoint. Every rank calls this; the first one writes."""
        columns = self.hparams.batch_size
        state = [
            (distributed.gather_columns(h, columns), distributed.gather_columns(c, columns))
            for h, c in self.state
        ]
        distributed.confirm_sums(self.device)
        if self.checkpoints is None:
            return
        best = None
        if self.metrics.best:
            best = torch.frombuffer(bytearray(self.weights.read_bytes()), dtype=torch.uint8)
        self.checkpoints.save(
            {
                "position": asdict(self.position),
                # named_parameters has tied matrices once, state_dict twice. cuDNN makes weights parts of
                # larger buffers, which would come along.
                "weights": {name: weight.detach().clone() for name, weight in self.model.named_parameters()},
                "optimisation": self.optimisation.state_dict(),
                "memory": state,
                "metrics": self.metrics.state_dict(),
                "best": best,
            }
        )

    def _resume(self) -> None:
        """Resume from the checkpoint, if there is one; the number of ranks may have changed.

        Raises UserError if the checkpoint belongs to another job.
        """
        with distributed.shared_errors():
            found = self.checkpoints.load() if self.checkpoints else None
        saved: dict[str, Any] | None = distributed.broadcast(found)
        if saved is None:
            return
        self.position = Position(**saved["position"])
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(saved["weights"][name])
        self.optimisation.load_state_dict(saved["optimisation"])
        self.state = [
            (h[:, self.own].to(self.device).contiguous(), c[:, self.own].to(self.device).contiguous())
            for h, c in saved["memory"]
        ]
        self.metrics.load_state_dict(saved["metrics"])
        if saved["best"] is not None and distributed.is_first():
            self.weights.write_bytes(saved["best"].numpy().tobytes())
        log(f"resumed: epoch {self.position.epoch}, step {self.position.step}")


class DeferredSigterm:
    """A context in which SIGTERM is noted and does not end the process.

    SageMaker sends SIGTERM to a job that is stopped, or whose spot instance is taken away, two minutes before
    the end. It sends it to the container's first process, AWS's training toolkit, which does not pass it on
    (sagemaker_training 5.1.4). In that case the last checkpoint counts. If the signal reaches the process
    group, or comes from torchrun, training stops at the end of the current step.
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> "DeferredSigterm":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True


def fit(hparams: Hyperparameters, tokens: int) -> Hyperparameters:
    """Return hyperparameters whose batch_size and bptt a training text of so many tokens allows.

    A full step reads batch_size columns of bptt words and the word after each. If the text is shorter,
    batch_size shrinks to the number of ranks, which share the columns, and then bptt.

    Raises:
        UserError: batch_size is too small for the ranks, or the text is too short for them.
    """
    ranks = distributed.world_size()
    if ranks > hparams.batch_size:
        raise UserError(
            f"batch_size {hparams.batch_size} is too small for {ranks} processes, which share its columns: "
            f"make it at least {ranks}, or use fewer instances."
        )
    if tokens < 2 * ranks:
        raise UserError(
            f"train has {tokens:,} tokens, too few for {ranks} processes. Use fewer instances or more text."
        )
    batch_size = min(hparams.batch_size, max(ranks, tokens // (hparams.bptt + 1)))
    bptt = min(hparams.bptt, tokens // batch_size - 1)
    return replace(hparams, batch_size=batch_size, bptt=bptt)


def own_tokens(length: int, batch_size: int) -> range:
    """Return the places of the tokens in this rank's columns of a text of so many tokens."""
    rows = length // batch_size
    own = distributed.own_columns(batch_size)
    return range(own.start * rows, own.stop * rows)


def batchify(tokens: Tokens | TokenIds, batch_size: int) -> TokenIds:
    """Cut a text into batch_size columns of equal length and drop the rest.

    Returns:
        A view (rows, columns) of this rank's columns; each is a stretch of the text.
    """
    rows = len(tokens) // batch_size
    own = own_tokens(len(tokens), batch_size)
    return tokens[own.start : own.stop].reshape(-1, rows).T


def _seed(*numbers: int) -> int:
    """Return a seed that is unrelated to that of any other numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest(), "little")
