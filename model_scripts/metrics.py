"""The metrics of a training job and the file that holds them, metrics.json."""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import distributed
from cache_perplexity import CachePerplexity
from perplexity import perplexity

TEXTS = ("samples", "side_by_side", "word_differences")
"""The entries of metrics.json with words of the corpus or of a model."""


@dataclass(frozen=True)
class Epoch:
    """The metrics of one pass over train.

    Attributes:
        epoch: Its number, from 1.
        lr: The learning rate of its last step.
        seconds: Its duration, the evaluation on valid included.
        words_per_second: The speed of the pass over train.
        train_loss: Mean over the pass, with dropout, in nats per token.
        valid_loss: After the pass, in nats per token.
    """

    epoch: int
    lr: float
    seconds: float
    words_per_second: float
    train_loss: float
    valid_loss: float


@dataclass
class Metrics:
    """The content of metrics.json.

    Attributes:
        artifact: The folder of the model, which gets metrics.json without TEXTS.
        output: The folder of the job's other output, which gets all of metrics.json.
        world_size: The number of processes that train together.
        batch_size: The columns that the text was cut into, which may be fewer than the job was given.
        bptt: The words that gradients flow back through, likewise.
        notes: Sentences that say where the job deviates from what it was given.
        tokens: The number of tokens of each split.
        unknown_share: The share of each split's tokens that are <unk>.
        test_words: The number of different words in the vocabulary and test together.
        started: When the job started, by time.monotonic.
        best_epoch: The epoch with the lowest loss on valid.
        stopped: Why training ended early, if it did.
        resumed: How often training was resumed after an interruption.
        test_loss: In nats per token; None until the model is tested.
        seconds_before: The seconds before the last interruption.
        cache: The perplexity with a continuous cache (cache_perplexity.py); None if it was not measured.
        comparison: The comparison with the champion (comparison.py), or None if there is no champion.
        samples: Texts by the finished model (example_texts.py).
        hyperparameters: The values that the job used, by name.
        machine: What it trained on (machine.py).
        side_by_side: A text by the champion and one by the model (beside_champion.py).
        word_differences: The words that one of the two predicts much better, likewise.
    """

    artifact: Path
    output: Path
    recipe: str
    world_size: int
    batch_size: int
    bptt: int
    notes: list[str]
    tokenizer: str
    vocabulary_size: int
    parameters: int
    tokens: dict[str, int]
    unknown_share: dict[str, float]
    test_words: int
    started: float
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str | None = None
    resumed: int = 0
    test_loss: float | None = None
    seconds_before: float = 0.0
    cache: CachePerplexity | None = None
    comparison: dict[str, Any] | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    side_by_side: dict[str, Any] | None = None
    word_differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> Epoch | None:
        """The best epoch so far."""
        return None if self.best_epoch is None else self.epochs[self.best_epoch - 1]

    @property
    def seconds(self) -> float:
        """The job's seconds so far, those before interruptions included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def test_exact_loss(self) -> float | None:
        """The loss on test if the exact word is to be predicted, in nats per token (comparison.py)."""
        if self.test_loss is None:
            return None
        return self.test_loss + self.unknown_share["test"] * math.log(
            self.test_words - self.vocabulary_size + 1
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "resumed": self.resumed,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from what `state_dict` returned."""
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.best_epoch = state["best_epoch"]
        self.resumed = state["resumed"] + 1
        self.seconds_before = state["seconds"]

    def document(self) -> dict[str, Any]:
        """Return the content of metrics.json. An infinite perplexity is null: JSON has no infinity."""
        valid_loss = self.best.valid_loss if self.best else None
        names = (
            *("recipe", "world_size", "batch_size", "bptt", "notes"),
            *("tokenizer", "vocabulary_size", "parameters"),
        )
        return {
            **{name: getattr(self, name) for name in names},
            **{f"{split}_tokens": count for split, count in self.tokens.items()},
            **{f"{split}_unknown_share": share for split, share in self.unknown_share.items()},
            "epochs": [
                {
                    **asdict(epoch),
                    "train_perplexity": _finite_perplexity(epoch.train_loss),
                    "valid_perplexity": _finite_perplexity(epoch.valid_loss),
                }
                for epoch in self.epochs
            ],
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "resumed": self.resumed,
            "valid_loss": valid_loss,
            "valid_perplexity": _finite_perplexity(valid_loss),
            "test_loss": self.test_loss,
            "test_perplexity": _finite_perplexity(self.test_loss),
            "test_words": self.test_words,
            "test_exact_perplexity": _finite_perplexity(self.test_exact_loss),
            "cache": None if self.cache is None else _finite(asdict(self.cache)),
            "comparison": self.comparison,
            "hyperparameters": self.hyperparameters,
            "machine": self.machine,
            **{name: getattr(self, name) for name in TEXTS},
            "seconds": self.seconds,
        }

    def save(self) -> None:
        """Write metrics.json into both folders. Only the first rank writes.

        The artifact's file has no TEXTS: the artifact is passed on further than the job's output, and must
        hold no text.
        """
        if not distributed.is_first():
            return
        document = self.document()
        _write(self.output / "metrics.json", document)
        without_texts = {name: value for name, value in document.items() if name not in TEXTS}
        _write(self.artifact / "metrics.json", without_texts)


def _write(path: Path, document: dict[str, Any]) -> None:
    """Replace the file at once, so that a reader never sees half of it."""
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: figure if math.isfinite(figure) else None for name, figure in figures.items()}


def _finite_perplexity(loss: float | None) -> float | None:
    value = math.inf if loss is None else perplexity(loss)
    return value if math.isfinite(value) else None
