"""What a training job says about itself: lines in the log, metrics.json, and the training curve.

The log's `key=value` lines are read by the training job's MetricDefinitions and by the command's progress
bar.
"""

import contextlib
import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import distributed
from perplexity import perplexity

MOST_CHARACTERS = 300


def say(**values: object) -> None:
    """One line of `key=value` pairs in the log."""
    tell(" ".join(f"{key}={value}" for key, value in values.items()))


def tell(sentence: str) -> None:
    """One line on stdout, said by the first rank alone.

    Written in one piece: the training toolkit reads the pipe in chunks and takes every chunk's end for a
    line's. Where the toolkit is stopped with the script, it is gone first, and the script has a checkpoint
    to write yet: that nobody listens is no error.
    """
    if distributed.is_first():
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stdout.fileno(), f"{sentence}\n".encode())


def quoted(sentence: str) -> str:
    """A sentence as the value of a `key=value` pair."""
    return json.dumps(sentence, ensure_ascii=False)


def in_short(error: Exception) -> str:
    """An error that nobody foresaw, in one line of at most MOST_CHARACTERS."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_CHARACTERS]


def scores(name: str, loss: float) -> dict[str, str]:
    """A loss in nats per token and its perplexity, for the log."""
    return {f"{name}_loss": f"{loss:.4f}", f"{name}_perplexity": f"{perplexity(loss):.2f}"}


@dataclass(frozen=True)
class Epoch:
    """One pass over train. train_loss is the mean over the pass, with dropout on; losses are in nats per
    token."""

    epoch: int
    lr: float
    seconds: float
    words_per_second: float
    train_loss: float
    valid_loss: float


@dataclass
class Report:
    """Everything metrics.json tells.

    artifact, output: the folders that get metrics.json, the artifact's without `samples`. world_size: the
    processes that trained together. stopped: why training ended early, if it did. resumed: how many times
    training went on after an interruption. started: by time.monotonic. seconds_before: those before the
    interruption. comparison: with the model that serves now (comparison.py), or None where none was given.
    samples: texts by the finished model (example_texts.py).
    """

    artifact: Path
    output: Path
    recipe: str
    world_size: int
    tokenizer: str
    vocabulary_size: int
    parameters: int
    tokens: dict[str, int]
    unknown_share: dict[str, float]
    started: float
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str | None = None
    resumed: int = 0
    test_loss: float | None = None
    seconds_before: float = 0.0
    comparison: dict[str, Any] | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> Epoch | None:
        return None if self.best_epoch is None else self.epochs[self.best_epoch - 1]

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def so_far(self) -> dict[str, Any]:
        """What a checkpoint keeps of the run."""
        return {
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "resumed": self.resumed,
            "seconds": self.seconds,
        }

    def go_on_from(self, saved: dict[str, Any]) -> None:
        """Take up `so_far`'s answer."""
        self.epochs = [Epoch(**epoch) for epoch in saved["epochs"]]
        self.best_epoch = saved["best_epoch"]
        self.resumed = saved["resumed"] + 1
        self.seconds_before = saved["seconds"]

    def document(self) -> dict[str, Any]:
        """metrics.json's content. A perplexity too large for a float is null, since JSON has no infinity."""
        best = self.best
        return {
            "recipe": self.recipe,
            "world_size": self.world_size,
            "tokenizer": self.tokenizer,
            "vocabulary_size": self.vocabulary_size,
            "parameters": self.parameters,
            **{f"{split}_tokens": count for split, count in self.tokens.items()},
            **{f"{split}_unknown_share": share for split, share in self.unknown_share.items()},
            "epochs": [
                {
                    **asdict(epoch),
                    "train_perplexity": _finite(perplexity(epoch.train_loss)),
                    "valid_perplexity": _finite(perplexity(epoch.valid_loss)),
                }
                for epoch in self.epochs
            ],
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "resumed": self.resumed,
            "valid_loss": best.valid_loss if best else None,
            "valid_perplexity": _finite(perplexity(best.valid_loss)) if best else None,
            "test_loss": self.test_loss,
            "test_perplexity": None if self.test_loss is None else _finite(perplexity(self.test_loss)),
            "comparison": self.comparison,
            "samples": self.samples,
            "seconds": self.seconds,
        }

    def save(self) -> None:
        """Write metrics.json, whole at any moment, into both folders; the first rank does.

        The artifact goes without samples: it travels further than the job's output, and holds no text.
        """
        if not distributed.is_first():
            return
        document = self.document()
        _write(self.output / "metrics.json", document)
        del document["samples"]
        _write(self.artifact / "metrics.json", document)

    def draw(self, path: Path) -> None:
        """The training curve as PNG: perplexity by epoch, the best epoch marked.

        Where the image has no matplotlib the log says so, and the numbers stay in metrics.json.
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
            from matplotlib.ticker import MaxNLocator, StrMethodFormatter
        except ImportError:
            say(training_curve="none", reason="matplotlib-is-not-installed")
            return
        figure = Figure(figsize=(8, 5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        numbers = [epoch.epoch for epoch in self.epochs]
        axes.plot(
            numbers, [perplexity(e.train_loss) for e in self.epochs], "o-", label="train (with dropout)"
        )
        axes.plot(numbers, [perplexity(e.valid_loss) for e in self.epochs], "o-", label="valid")
        if self.best and self.test_loss is not None:
            axes.plot(
                [self.best.epoch],
                [perplexity(self.test_loss)],
                "k*",
                markersize=12,
                label=f"test, best epoch: {perplexity(self.test_loss):.1f}",
            )
        axes.set(title="Training curve", xlabel="epoch", ylabel="perplexity", yscale="log")
        # A logarithmic axis would otherwise count in powers of ten.
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3, which="both")
        axes.legend()
        figure.savefig(path, dpi=100)


def _write(path: Path, document: dict[str, Any]) -> None:
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
