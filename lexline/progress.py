"""Reads what train.py prints: `key=value` words on a line, one line per report.

    vocabulary_size=33278 parameters=7345678 train_tokens=2088628
    epoch=1/6 step=200/2983 lr=20 words_per_second=1432 train_loss=5.12 train_perplexity=168.02
    epoch=1/6 seconds=123.4 valid_loss=5.42 valid_perplexity=226.6
    test_loss=5.33 test_perplexity=208.3

Any other line of the log is the framework's and is passed over.
"""

import re
from dataclasses import dataclass, replace

_WORD = re.compile(r"(?:^|\s)([a-z_]+)=(\S+)")


@dataclass(frozen=True)
class Training:
    """How far a training job is.

    Numbers are None until the log has said them; perplexities may be inf or nan.
    """

    vocabulary_size: int | None = None
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    lr: float | None = None
    words_per_second: float | None = None
    train_perplexity: float | None = None
    valid_perplexity: float | None = None
    test_perplexity: float | None = None

    @property
    def fraction(self) -> float:
        """The part of all epochs that is done, from 0 to 1."""
        if self.test_perplexity is not None:
            return 1.0
        if not self.epochs:
            return 0.0
        within = self.step / self.steps if self.steps else 0.0
        return min(1.0, (self.epoch - 1 + within) / self.epochs)


def read(training: Training, line: str) -> Training:
    """What is known after one more line of the log."""
    words = dict(_WORD.findall(line))
    try:
        if "vocabulary_size" in words:
            return replace(training, vocabulary_size=int(words["vocabulary_size"]))
        if "test_perplexity" in words:
            return replace(training, test_perplexity=float(words["test_perplexity"]))
        if "valid_perplexity" in words and "epoch" in words:
            epoch, epochs = _of(words["epoch"])
            # The epoch is over whether or not its last step, or any step, was reported.
            steps = training.steps or 1
            return replace(
                training,
                epoch=epoch,
                epochs=epochs,
                step=steps,
                steps=steps,
                valid_perplexity=float(words["valid_perplexity"]),
            )
        if "train_perplexity" in words and "epoch" in words and "step" in words:
            epoch, epochs = _of(words["epoch"])
            step, steps = _of(words["step"])
            return replace(
                training,
                epoch=epoch,
                epochs=epochs,
                step=step,
                steps=steps,
                lr=float(words["lr"]),
                words_per_second=float(words["words_per_second"]),
                train_perplexity=float(words["train_perplexity"]),
            )
    except (KeyError, ValueError):
        # A line that only looks like ours, for example cut in two by the log.
        return training
    return training


def _of(pair: str) -> tuple[int, int]:
    part, whole = pair.split("/")
    return int(part), int(whole)
