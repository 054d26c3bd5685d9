"""The benchmark's trainings.

    plain   the plain loop, one epoch
    same    ours with the same hyperparameters, one epoch
    best    ours with the best hyperparameters, for as long as the plain loop's epoch

Each is a script in a process of its own, as users run it, with torch's default number of threads. The first
two run in turn, some batches at a time (alternating.py). A probe of the third gets a few turns among them;
its speed says how many epochs fit.
"""

import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import plain_loop
from benchmarks.alternating import Training, batches_per_second
from benchmarks.data import MODEL_SCRIPTS, ROOT, Data
from benchmarks.progress import Progress

HyperparameterValues = Mapping[str, object]

SAME: HyperparameterValues = {
    "recipe": "fast",
    "emsize": plain_loop.EMSIZE,
    "nhid": plain_loop.NHID,
    "nlayers": plain_loop.NLAYERS,
    "tied": True,
    "batch_size": plain_loop.BATCH_SIZE,
    "bptt": plain_loop.BPTT,
    "dropout": plain_loop.DROPOUT,
}
"""The plain loop's hyperparameters. The optimiser and its learning rate are the recipe's."""

BEST: HyperparameterValues = {
    "recipe": "fast",
    "emsize": 320,
    "nhid": 320,
    "nlayers": 1,
    "tied": True,
    "dropout": 0.3,
}
"""The best hyperparameters. The number of epochs follows from the speed in the same run."""

SLACK = 0.9
"""Share of the available time that is planned for.

A shared machine may be slower in the training than in the turns of the probe before it: by 9 % in one run,
where a share of 0.97 would have led to a training that takes longer than the plain loop's epoch.
"""


@dataclass(frozen=True)
class Extent:
    """How much is trained.

    Attributes:
        batches_a_turn: Of each loop.
        probing_turns: Turns of the probe. If 0, `same` stands for the probe: it is about as fast.
        speed_turns: Turns on the whole corpus for the speed, if the trainings are on a slice; else 0.
    """

    batches_a_turn: int
    probing_turns: int
    speed_turns: int = 0


@dataclass(frozen=True)
class Speeds:
    """Words per second in training, by turn. The n-th turns of both loops followed each other."""

    plain: Sequence[float]
    ours: Sequence[float]

    @property
    def note(self) -> str:
        """The spread of the ratios, for the results."""
        ratios = sorted(ours / plain for ours, plain in zip(self.ours, self.plain, strict=True))
        return (
            f"medians of {len(ratios)} turns each; in pairs of turns ours was {ratios[0]:.1f} to "
            f"{ratios[-1]:.1f} times as fast, {statistics.median(ratios):.1f} in their median."
        )


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        folder: The artifact.
        test_perplexity: As the script logged it.
        seconds: Duration of its process, without the turns of others.
        command: Without this machine's folders.
        cache_perplexity: Test perplexity with a continuous cache; None if the script logged none.
        without_cache: Test perplexity of the same tokens without the cache.
    """

    folder: Path
    test_perplexity: float
    seconds: float
    command: str
    cache_perplexity: float | None
    without_cache: float | None


@dataclass(frozen=True)
class Trainings:
    """The finished trainings.

    Attributes:
        plain: The plain loop's.
        same: Ours with the same hyperparameters.
        best: Ours with the best ones.
        speeds: Of `plain` and `same`.
        epoch_seconds: Duration of the plain loop's training pass, without reading, evaluation and saving.
        budget: The seconds that `best` had.
    """

    plain: Trained
    same: Trained
    best: Trained
    speeds: Speeds
    epoch_seconds: float
    budget: float


def plain_training(text: Data, folder: Path, batches_a_turn: int) -> Training:
    """Return the plain loop's training, not started. folder: gets the artifact."""
    command = [sys.executable, "-m", "benchmarks.plain_loop", text.folder, folder]
    return Training([*command, "--log-interval", batches_a_turn], {}, ROOT)


def our_training(
    text: Data, folder: Path, hparams: HyperparameterValues, epochs: int, batches_a_turn: int = 200
) -> Training:
    """Return a training by train.py, not started. folder/model gets the artifact.

    It writes no checkpoints. They are due after some time, and time also passes while the other training
    runs.
    """
    options = {**hparams, "epochs": epochs, "log_interval": batches_a_turn}
    folders = {
        "SM_CHANNEL_TRAINING": text.folder,
        "SM_MODEL_DIR": folder / "model",
        "SM_OUTPUT_DATA_DIR": folder / "output",
        "SAGEMAKER_BASE_DIR": folder,  # has no folder `checkpoints`, which /opt/ml may have
        "TMPDIR": folder / "scratch",  # what a training that is killed leaves behind
    }
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    return Training(
        [sys.executable, MODEL_SCRIPTS / "train.py", *arguments(options)],
        {name: str(path) for name, path in folders.items()},
        folder,
    )


def arguments(hparams: HyperparameterValues) -> list[str]:
    """Return hyperparameters as train.py's arguments."""
    return [word for name, value in hparams.items() for word in (f"--{name}", str(value))]


def train_all(
    text: Data, whole: Data, extent: Extent, scratch: Path, deadline: float, progress: Progress
) -> Trainings:
    """Run all trainings.

    Args:
        text: The text to train on.
        whole: The text for the measurement of speed, if `text` is a slice.
        extent: How much to train.
        scratch: A folder for artifacts.
        deadline: When training must end, in seconds on the progress's clock. It may shorten `best`.
        progress: Prints messages.
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
        # The plain loop's first turn ends when its training pass begins.
        epoch_seconds = sum(turn.seconds for turn in plain.turns[1:])
        budget = min(epoch_seconds, max(0.0, deadline - progress.elapsed))
        epochs = epochs_within(budget, probe if probe.turns else same, same)
    progress.say(
        f"the plain loop's epoch took {epoch_seconds:.0f} s; test perplexity of plain "
        f"{trained_plain.test_perplexity:.1f}, of ours {trained_same.test_perplexity:.1f}. "
        f"In that time ours will do {epochs} epochs",
        budget + 60,
    )
    with our_training(text, scratch / "best", BEST, epochs) as best:
        # A SageMaker job writes checkpoints, so its time includes them.
        best.environment["LEXLINE_CHECKPOINTS"] = str(scratch / "checkpoints")
        while best.take_turn(hold=False):
            if progress.due():
                progress.say(best.log[-1], max(0.0, budget - best.seconds) + 60)
        trained_best = finished(best, scratch / "best" / "model")
    return Trainings(trained_plain, trained_same, trained_best, speeds, epoch_seconds, budget)


def train_in_turn(
    plain: Training, same: Training, probe: Training, extent: Extent, progress: Progress
) -> None:
    """Run `plain` and `same` to their ends, and `probe` for its few turns."""
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
    """Measure both loops' speed in a few turns, then end them."""
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
    """Return the speeds of all pairs of turns but the first.

    In its first turn ours starts and reads; the plain loop has an extra turn for that.
    """
    batch = plain_loop.BATCH_SIZE * plain_loop.BPTT
    of_plain = [batch * speed for speed in batches_per_second(plain.turns[1:])]
    of_ours = [batch * speed for speed in batches_per_second(ours.turns)]
    pairs = min(len(of_plain), len(of_ours))
    return Speeds(of_plain[:pairs], of_ours[:pairs])


def epochs_within(budget: float, probe: Training, same: Training) -> int:
    """Return how many epochs of `probe` fit in `budget` seconds, at least one.

    Reading, evaluation and saving are included. The cost of evaluation relative to training is taken from
    `same`, which has ended: valid after each epoch and test at the end are about half of it each.
    """
    start = probe.turns[0].seconds
    epoch = probe.turns[0].of / statistics.median(batches_per_second(probe.turns))
    same_epoch = same.turns[0].of / statistics.median(batches_per_second(same.turns))
    evaluation = (same.seconds - sum(turn.seconds for turn in same.turns)) * epoch / same_epoch
    return max(1, int((budget * SLACK - start - evaluation) / (epoch + evaluation / 2)))


def finished(training: Training, folder: Path) -> Trained:
    """Return the result of a training that has ended."""
    command = " ".join(Path(word).name if "/" in word else word for word in training.command)
    return Trained(
        folder,
        training.figure("test_perplexity"),
        training.seconds,
        command,
        training.figure_if_logged("test_cache_perplexity"),
        training.figure_if_logged("without_cache"),
    )
