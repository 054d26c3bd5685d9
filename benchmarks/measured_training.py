"""The benchmark's trainings: the plain loop and ours for an epoch each, then ours for as long as that took.

Each is a script in a process of its own, as its users run it, with torch's default threads. The first two
take turns of some batches (alternating.py), and the third is given a few turns among them, from which follows how
many epochs it can do in its time.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import plain_loop
from benchmarks.alternating import Training, batches_per_second
from benchmarks.data import MODEL_SCRIPTS, ROOT, Data
from benchmarks.progress import Progress

Settings = Mapping[str, object]

SAME: Settings = {
    "recipe": "fast",
    "emsize": plain_loop.EMSIZE,
    "nhid": plain_loop.NHID,
    "nlayers": plain_loop.NLAYERS,
    "tied": True,
    "batch_size": plain_loop.BATCH_SIZE,
    "bptt": plain_loop.BPTT,
    "dropout": plain_loop.DROPOUT,
}
"""Ours at the plain loop's hyperparameters. The optimiser and its learning rate are the recipe's."""

BEST: Settings = {"recipe": "fast", "tied": True}
"""Ours when only the time is given. The number of epochs follows from the speed found in the same run."""

SLACK = 0.97
"""Share of the time that the estimate of ours may fill."""


@dataclass(frozen=True)
class Extent:
    """How much is trained.

    batches_a_turn: of each loop. probing_turns: of the long training, to learn its speed. speed_turns: on the
    whole corpus, broken off after them, where the trainings themselves are on a slice; else 0.
    """

    batches_a_turn: int
    probing_turns: int
    speed_turns: int = 0


@dataclass(frozen=True)
class Speeds:
    """Words a second in training, turn by turn; the n-th turns of both loops were side by side in time."""

    plain: Sequence[float]
    ours: Sequence[float]

    @property
    def note(self) -> str:
        ratios = sorted(ours / plain for ours, plain in zip(self.ours, self.plain, strict=True))
        return (
            f"medians of {len(ratios)} turns each; in pairs of turns ours was {ratios[0]:.1f} to "
            f"{ratios[-1]:.1f} times as fast, {statistics.median(ratios):.1f} in their median."
        )


@dataclass(frozen=True)
class Trained:
    """A finished training. seconds: from the start of its process to its end, turns of others left out."""

    folder: Path
    test_perplexity: float
    seconds: float
    command: str


@dataclass(frozen=True)
class Trainings:
    """What training gave. Seconds: epoch_seconds of the plain loop's training pass alone, without reading,
    evaluating or saving; budget of what the long training was to keep within."""

    plain: Trained
    same: Trained
    best: Trained
    speeds: Speeds
    epoch_seconds: float
    budget: float


def plain_training(text: Data, folder: Path, batches_a_turn: int) -> Training:
    command = [sys.executable, "-m", "benchmarks.plain_loop", text.folder, folder]
    return Training([*command, "--log-interval", batches_a_turn], {}, ROOT)


def our_training(
    text: Data, folder: Path, settings: Settings, epochs: int, batches_a_turn: int = 200
) -> Training:
    """train.py as a person runs it by hand. The artifact comes into folder/model.

    Without checkpoints: they are due by the clock, which does not stand still between turns.
    """
    options = {**settings, "epochs": epochs, "log_interval": batches_a_turn}
    places = {
        "SM_CHANNEL_TRAINING": text.folder,
        "SM_MODEL_DIR": folder / "model",
        "SM_OUTPUT_DATA_DIR": folder / "output",
        "SAGEMAKER_BASE_DIR": folder,  # holds no folder `checkpoints`, whatever /opt/ml holds
    }
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    return Training(
        [sys.executable, MODEL_SCRIPTS / "train.py", *arguments(options)],
        {name: str(place) for name, place in places.items()},
        folder,
    )


def arguments(settings: Settings) -> list[str]:
    """Settings as train.py's arguments."""
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def train_all(
    text: Data, whole: Data, extent: Extent, scratch: Path, deadline: float, progress: Progress
) -> Trainings:
    """All trainings on `text`, their speed on `whole` when that is another.

    deadline: when, on the progress's clock, training is to be over; it may cut the long training's time.
    """
    turn = extent.batches_a_turn
    speeds = speeds_alone(whole, extent, scratch, progress) if extent.speed_turns else None
    with (
        plain_training(text, scratch / "plain", turn) as plain,
        our_training(text, scratch / "same", SAME, 1, turn) as same,
        our_training(text, scratch / "probe", BEST, 100, turn) as probe,
    ):
        train_in_turn(plain, same, probe, extent, progress)
        trained_plain = finished(plain, scratch / "plain")
        trained_same = finished(same, scratch / "same" / "model")
        speeds = speeds or words_per_second(plain, same)
        # The plain loop's first turn ends where its training pass begins.
        epoch_seconds = sum(turn.seconds for turn in plain.turns[1:])
        budget = min(epoch_seconds, max(0.0, deadline - progress.elapsed))
        epochs = epochs_within(budget, probe, same)
    progress.say(
        f"the plain loop's epoch took {epoch_seconds:.0f} s; test perplexity of plain "
        f"{trained_plain.test_perplexity:.1f}, of ours {trained_same.test_perplexity:.1f}. "
        f"In that time ours will do {epochs} epochs",
        budget + 60,
    )
    with our_training(text, scratch / "best", BEST, epochs) as best:
        # A SageMaker job writes checkpoints, so their cost belongs to its time.
        best.environment["LEXLINE_CHECKPOINTS"] = str(scratch / "checkpoints")
        while best.take_turn(hold=False):
            if progress.due():
                progress.say(best.log[-1], max(0.0, budget - best.seconds) + 60)
        trained_best = finished(best, scratch / "best" / "model")
    return Trainings(trained_plain, trained_same, trained_best, speeds, epoch_seconds, budget)


def train_in_turn(
    plain: Training, same: Training, probe: Training, extent: Extent, progress: Progress
) -> None:
    """plain and same to their ends, turn by turn; probe for its few turns, and then no more."""
    plain.take_turn()
    while turn := plain.take_turn():
        same.take_turn()
        if len(probe.turns) < extent.probing_turns:
            probe.take_turn()
        if progress.due():
            batch = sum(turn.seconds for turn in plain.turns[1:]) / turn.step
            ours = sum(turn.seconds for turn in same.turns) / same.turns[-1].step
            progress.say(
                f"{turn.step:,} of {turn.of:,} batches; plain {batch * 1000:.0f} ms a batch, "
                f"ours {ours * 1000:.0f} ms",
                (turn.of - turn.step) * (batch + ours) + turn.of * batch + 120,
            )
    while len(probe.turns) < extent.probing_turns and probe.take_turn():
        pass
    probe.end()
    while same.take_turn():
        pass


def speeds_alone(text: Data, extent: Extent, scratch: Path, progress: Progress) -> Speeds:
    """Both loops' training speed from a few turns, after which they are broken off."""
    with (
        plain_training(text, scratch / "plain_speed", extent.batches_a_turn) as plain,
        our_training(text, scratch / "our_speed", SAME, 1, extent.batches_a_turn * 3) as ours,
    ):
        plain.take_turn()
        for _ in range(extent.speed_turns):
            plain.take_turn()
            ours.take_turn()
        speeds = words_per_second(plain, ours)
    progress.say(f"training speed measured on {text.name}")
    return speeds


def words_per_second(plain: Training, ours: Training) -> Speeds:
    """From the pairs of turns but the first, in which ours starts and reads; plain has a turn for that."""
    batch = plain_loop.BATCH_SIZE * plain_loop.BPTT
    of_plain = [batch * speed for speed in batches_per_second(plain.turns[1:])]
    of_ours = [batch * speed for speed in batches_per_second(ours.turns)]
    pairs = min(len(of_plain), len(of_ours))
    return Speeds(of_plain[:pairs], of_ours[:pairs])


def epochs_within(budget: float, probe: Training, same: Training) -> int:
    """How many epochs of `probe`, at least one, fit in `budget` seconds with reading, evaluating and saving.

    Evaluating is taken to cost, in proportion to training, what it cost in `same`, which has ended: valid
    after each epoch and test in the end are about half of it each.
    """
    start = probe.turns[0].seconds
    epoch = probe.turns[0].of / statistics.median(batches_per_second(probe.turns))
    same_epoch = same.turns[0].of / statistics.median(batches_per_second(same.turns))
    evaluation = (same.seconds - sum(turn.seconds for turn in same.turns)) * epoch / same_epoch
    return max(1, int((budget * SLACK - start - evaluation) / (epoch + evaluation / 2)))


def finished(training: Training, folder: Path) -> Trained:
    """The result of a training that has ended. Its command is told without this machine's folders."""
    command = " ".join(Path(word).name if "/" in word else word for word in training.command)
    return Trained(folder, training.figure("test_perplexity"), training.seconds, command)
