"""Train a word-level LSTM language model: the entry point of a SageMaker training job.

    SM_CHANNEL_TRAINING   folder with train, valid and test (UTF-8 text)
    SM_MODEL_DIR          gets model.pt, vocabulary, config.json, metrics.json and the code/ that serves them
    SM_OUTPUT_DATA_DIR    gets metrics.json and training_curve.png

By hand, with those three set:  python train.py --epochs 6 --tied true

Plain SGD with truncated back-propagation, as in PyTorch's word_language_model example: the learning rate is
divided by 4 after each epoch in which valid does not improve, and the best epoch on valid is what is kept
and tested.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import corpus_files
import hyperparameters
import tokenizer
import vocabulary
from hyperparameters import Hyperparameters
from language_model import (
    CONFIG,
    VOCABULARY,
    WEIGHTS,
    LanguageModel,
    Shape,
    load_weights,
    save_config,
    save_weights,
)
from perplexity import mean_loss, perplexity
from training_report import Epoch, Report, say, scores
from user_error import UserError, report
from vocabulary import TokenIds, Vocabulary

SERVING_MODULES = ("generate.py", "language_model.py", "tokenizer.py", "user_error.py", "vocabulary.py")


@dataclass(frozen=True)
class Folders:
    """Where SageMaker put the data and where it looks for results."""

    channel: Path
    model: Path
    output: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Folders":
        names = ("SM_CHANNEL_TRAINING", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise UserError(
                f"The environment lacks {' and '.join(missing)}. SageMaker's toolkit sets them for a job "
                "whose data channel is named training; by hand, set them to folders."
            )
        folders = cls(*(Path(environment[name]) for name in names))
        for folder in (folders.model, folders.output):
            folder.mkdir(parents=True, exist_ok=True)
        return folders


@dataclass(frozen=True)
class Corpus:
    """The three splits as word numbers, and the vocabulary of the first."""

    tokenizer: str
    vocabulary: Vocabulary
    splits: Mapping[str, TokenIds]

    @classmethod
    def read(cls, channel: Path, wanted_tokenizer: str) -> "Corpus":
        files = corpus_files.find(channel)
        chosen = (
            tokenizer.choose(corpus_files.sample(files["train"]))
            if wanted_tokenizer == "auto"
            else tokenizer.BY_NAME[wanted_tokenizer]
        )

        def words(split: str) -> Iterator[list[str]]:
            return (chosen.split(line) for line in corpus_files.lines(files[split]))

        words_known, train = vocabulary.learn(words("train"))
        held_out = {split: words_known.encode_lines(words(split)) for split in ("valid", "test")}
        return cls(chosen.name, words_known, {"train": train, **held_out})


class Diverged(Exception):
    """The loss is no number any more, or so large that perplexity is infinite. The message says where."""


def main(arguments: Sequence[str]) -> int:
    try:
        train(hyperparameters.parse(arguments), Folders.from_environment(os.environ))
    except UserError as error:
        report(error)
        return 1
    return 0


def train(settings: Hyperparameters, folders: Folders) -> Report:
    """The whole job. Raises UserError where the input is to blame."""
    started = time.monotonic()
    device = prepare_torch(settings.seed)
    corpus = Corpus.read(folders.channel, settings.tokenizer)
    columns = batchify(corpus.splits["train"], settings.batch_size).to(device)

    shape = Shape(len(corpus.vocabulary), settings.emsize, settings.nhid, settings.nlayers, settings.tied)
    model = LanguageModel(shape, settings.dropout).to(device)
    metrics = Report(
        tokenizer=corpus.tokenizer,
        vocabulary_size=len(corpus.vocabulary),
        parameters=model.count_parameters(),
        tokens={split: len(tokens) for split, tokens in corpus.splits.items()},
        unknown_share={
            split: float(np.mean(tokens == vocabulary.UNKNOWN_ID)) for split, tokens in corpus.splits.items()
        },
    )
    announce(metrics)
    write_artifact_without_weights(folders.model, corpus, shape, settings)

    fit(model, columns, corpus.splits["valid"], settings, folders, metrics)

    load_weights(model, folders.model / WEIGHTS)
    metrics.test_loss = mean_loss(model, corpus.splits["test"])
    say(**scores("test", metrics.test_loss))
    metrics.seconds = time.monotonic() - started
    metrics.save(folders.model, folders.output)
    metrics.draw(folders.output / "training_curve.png")
    return metrics


def prepare_torch(seed: int) -> torch.device:
    """Seeds everything random and picks the GPU if there is one. The same seed on the same machine trains the
    same model."""
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        # cuBLAS is deterministic only with a fixed workspace (PyTorch's notes on randomness).
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        return torch.device("cuda")
    return torch.device("cpu")


def announce(metrics: Report) -> None:
    say(
        tokenizer=metrics.tokenizer,
        valid_tokens=metrics.tokens["valid"],
        test_tokens=metrics.tokens["test"],
        **{f"{split}_unknown_share": f"{share:.4f}" for split, share in metrics.unknown_share.items()},
    )
    say(
        vocabulary_size=metrics.vocabulary_size,
        parameters=metrics.parameters,
        train_tokens=metrics.tokens["train"],
    )


def write_artifact_without_weights(
    directory: Path, corpus: Corpus, shape: Shape, settings: Hyperparameters
) -> None:
    """All of the artifact that is known before training, so that a stopped job leaves a model that serves."""
    corpus.vocabulary.save(directory / VOCABULARY)
    save_config(directory / CONFIG, shape, corpus.tokenizer, asdict(settings))
    code = directory / "code"
    code.mkdir(exist_ok=True)
    for name in SERVING_MODULES:
        shutil.copyfile(Path(__file__).with_name(name), code / name)


def batchify(tokens: TokenIds, batch_size: int) -> Tensor:
    """The text cut into batch_size columns of equal length, (rows, batch_size); a short rest is left out.

    a b c d e f g h i j k, 2 columns   ->   a f
                                            b g
                                            c h
                                            d i
                                            e j
    """
    rows = len(tokens) // batch_size
    if rows < 2:
        raise UserError(
            f"batch_size {batch_size} is too large for {len(tokens):,} training tokens: "
            f"it can be at most {len(tokens) // 2}."
        )
    return torch.from_numpy(np.ascontiguousarray(tokens[: rows * batch_size].reshape(batch_size, rows).T))


def fit(
    model: LanguageModel,
    columns: Tensor,
    valid: TokenIds,
    settings: Hyperparameters,
    folders: Folders,
    metrics: Report,
) -> None:
    """Train epoch by epoch, saving the weights each time valid improves and the metrics each time.

    If training diverges, the best epoch so far is the result; without one, UserError.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr)
    for number in range(1, settings.epochs + 1):
        try:
            epoch = run_epoch(number, model, optimizer, columns, valid, settings)
        except Diverged as problem:
            if metrics.best is None:
                raise UserError(
                    f"Training diverged: {problem}. "
                    f"Try a lower lr (now {settings.lr:g}) or clip (now {settings.clip:g})."
                ) from None
            metrics.stopped = f"{problem}; the best epoch so far, {metrics.best_epoch}, is kept"
            print(f"stopped early: {metrics.stopped}", flush=True)
            return
        metrics.epochs.append(epoch)
        say(
            epoch=f"{number}/{settings.epochs}",
            seconds=f"{epoch.seconds:.1f}",
            **scores("valid", epoch.valid_loss),
        )
        if metrics.best is None or epoch.valid_loss < metrics.best.valid_loss:
            metrics.best_epoch = number
            save_weights(model, folders.model / WEIGHTS)
        else:
            for group in optimizer.param_groups:
                group["lr"] /= 4
        metrics.save(folders.model, folders.output)


def run_epoch(
    number: int,
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    columns: Tensor,
    valid: TokenIds,
    settings: Hyperparameters,
) -> Epoch:
    """One pass over train, then the loss on valid. Raises Diverged."""
    model.train()
    started = logged = time.monotonic()
    lr = optimizer.param_groups[0]["lr"]
    cross_entropy = nn.CrossEntropyLoss()
    state = model.start(settings.batch_size)
    starts = range(0, len(columns) - 1, settings.bptt)
    total, words = 0.0, 0
    recent_total, recent_words = 0.0, 0
    for step, row in enumerate(starts, start=1):
        inputs, targets = next_words(columns, row, settings.bptt)
        state = (state[0].detach(), state[1].detach())
        optimizer.zero_grad()
        predictions, state = model(inputs, state)
        loss = cross_entropy(predictions, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()

        loss_now = loss.item()
        if not math.isfinite(perplexity(loss_now)):
            raise Diverged(f"the loss became {loss_now:g} in epoch {number}, step {step}")
        total, words = total + loss_now * len(targets), words + len(targets)
        recent_total, recent_words = recent_total + loss_now * len(targets), recent_words + len(targets)
        if step % settings.log_interval == 0 or step == len(starts) < settings.log_interval:
            now = time.monotonic()
            say(
                epoch=f"{number}/{settings.epochs}",
                step=f"{step}/{len(starts)}",
                lr=f"{lr:g}",
                words_per_second=round(recent_words / max(now - logged, 1e-9)),
                **scores("train", recent_total / recent_words),
            )
            recent_total, recent_words, logged = 0.0, 0, now

    training_seconds = time.monotonic() - started
    valid_loss = mean_loss(model, valid)
    if not math.isfinite(perplexity(valid_loss)):
        raise Diverged(f"the loss on valid became {valid_loss:g} in epoch {number}")
    return Epoch(
        epoch=number,
        lr=lr,
        seconds=time.monotonic() - started,
        words_per_second=words / max(training_seconds, 1e-9),
        train_loss=total / words,
        valid_loss=valid_loss,
    )


def next_words(columns: Tensor, row: int, bptt: int) -> tuple[Tensor, Tensor]:
    """Up to bptt rows of inputs (rows, columns) and, flat, the word that follows each."""
    rows = min(bptt, len(columns) - 1 - row)
    return columns[row : row + rows], columns[row + 1 : row + 1 + rows].flatten().long()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
