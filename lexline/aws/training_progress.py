"""Read the training progress from the log of a training job.

train.py prints one line per report, with `key=value` pairs:

    vocabulary_size=33278 parameters=7345678 train_tokens=2088628
    epoch=1/6 step=200/2983 lr=20 words_per_second=1432 train_loss=5.12 train_perplexity=168.02
    epoch=1/6 seconds=123.4 valid_loss=5.42 valid_perplexity=226.6
    test_loss=5.33 test_perplexity=208.3

All other lines of the log come from SageMaker's toolkit and are ignored.
"""

import re
from dataclasses import dataclass, replace

_MOST_POINTS = 1000
"""More points than a terminal has columns."""
_PAIR = re.compile(r"(?:^|\s)([a-z_]+)=(\S+)")


@dataclass(frozen=True)
class Progress:
    """Progress of a training job. Perplexities are None until they are reported, and may be inf or nan.

    Attributes:
        epoch: The current epoch, from 1; 0 before the first report.
        epochs: Number of epochs.
        step: The last step that was reported in this epoch.
        steps: Number of steps in an epoch.
        words_per_second: Speed of the training.
        train_perplexity: Perplexity on the training text since the last report.
        valid_perplexity: Perplexity on the validation text after the last epoch.
        finished: Whether the test perplexity is known, which is reported last.
        train_curve: The reported perplexities on the training text, each with its epoch and the part of it
            that was read: 1.5 is the middle of the second epoch.
        valid_curve: The perplexities on the validation text after each epoch.
    """

    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    words_per_second: float | None = None
    train_perplexity: float | None = None
    valid_perplexity: float | None = None
    finished: bool = False
    train_curve: tuple[tuple[float, float], ...] = ()
    valid_curve: tuple[tuple[float, float], ...] = ()

    @property
    def fraction(self) -> float:
        """The completed part of all epochs, from 0 to 1."""
        if self.finished:
            return 1.0
        if not self.epochs:
            return 0.0
        within = self.step / self.steps if self.steps else 0.0
        return min(1.0, (self.epoch - 1 + within) / self.epochs)


def update(progress: Progress, line: str) -> Progress:
    """Return the progress after one more line of the log."""
    pairs = dict(_PAIR.findall(line))
    try:
        if "test_perplexity" in pairs:
            return replace(progress, finished=True)
        if "valid_perplexity" in pairs and "epoch" in pairs:
            epoch, epochs = _counter(pairs["epoch"])
            # The epoch is complete, even if its last step was not reported.
            steps = progress.steps or 1
            valid = float(pairs["valid_perplexity"])
            return replace(
                progress,
                epoch=epoch,
                epochs=epochs,
                step=steps,
                steps=steps,
                valid_perplexity=valid,
                valid_curve=_longer(progress.valid_curve, (epoch, valid)),
            )
        if "train_perplexity" in pairs and "epoch" in pairs:
            epoch, epochs = _counter(pairs["epoch"])
            step, steps = _counter(pairs["step"])
            train = float(pairs["train_perplexity"])
            return replace(
                progress,
                epoch=epoch,
                epochs=epochs,
                step=step,
                steps=steps,
                words_per_second=float(pairs["words_per_second"]),
                train_perplexity=train,
                train_curve=_longer(progress.train_curve, (epoch - 1 + step / steps, train)),
            )
    except (KeyError, ValueError, ZeroDivisionError):
        # The line only resembles a report, for example because the log split it in two.
        pass
    return progress


def _longer(
    curve: tuple[tuple[float, float], ...], point: tuple[float, float]
) -> tuple[tuple[float, float], ...]:
    """Return a curve with one more point. A curve with many points loses every second one."""
    return (*(curve[1::2] if len(curve) >= _MOST_POINTS else curve), point)


def _counter(text: str) -> tuple[int, int]:
    count, total = text.split("/")
    return int(count), int(total)
