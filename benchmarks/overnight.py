"""Train the best large model that a night on this machine allows. Its perplexity is a row of the benchmark.

    .venv/bin/python -m benchmarks.overnight [--hours 12] [--data PATH]

This measures the speed of LARGE in a few steps, plans as many epochs as fit into the hours, and trains.
Nothing else should run meanwhile. After an interruption (Ctrl-C, or a restart of the machine), the same
command resumes from the last checkpoint. Everything is kept in build/overnight/; delete that folder to
start from the beginning.

At the end it writes overnight.json beside this file, which `make bench` shows as a row and does not measure
again. Other hours than 12 or another text than WikiText-2 are for tests of this script: the result then
stays in build/overnight/.
"""

import argparse
import json
import shutil
import signal
import statistics
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.alternating import Training, TrainingFailed, batches_per_second
from benchmarks.bench import OVERNIGHT, OVERNIGHT_HOURS, machine
from benchmarks.data import ROOT, Data, NoData
from benchmarks.measured_training import SLACK, HyperparameterValues, our_training
from benchmarks.progress import Progress

LARGE: HyperparameterValues = {
    "recipe": "fast",
    "emsize": 650,
    "nhid": 650,
    "dropout": 0.5,
    "tied": True,
}
"""The large model's hyperparameters, by calculation: with this width, some 40 epochs fit into a night."""

FOLDER = ROOT / "build" / "overnight"
BATCHES_A_TURN = 10
TURNS = 6
EVALUATION = 0.06
"""The time of a pass over valid, or over test at the end, as a share of a pass over train."""


@dataclass(frozen=True)
class Plan:
    """A training that may be interrupted and resumed: its checkpoint fits no other plan."""

    text: str
    hours: float
    hparams: HyperparameterValues
    epochs: int


class OtherPlan(Exception):
    """The folder contains another training. The message says what to do."""


def plan(text: Data, hours: float, folder: Path, progress: Progress) -> Plan:
    """Return the folder's plan, or measure the speed and write one.

    Raises:
        OtherPlan: The folder's plan is for another text, other hours or other hyperparameters.
        TrainingFailed: The training script failed, or the text is too short.
    """
    path = folder / "plan.json"
    if path.exists():
        found = Plan(**json.loads(path.read_text(encoding="utf-8")))
        if (found.text, found.hours, found.hparams) != (text.name, hours, LARGE):
            raise OtherPlan(
                f"{folder} has a training on {found.text} for {found.hours:g} hours with {found.hparams}. "
                "Resume it with the same arguments, or delete the folder to start from the beginning."
            )
        progress.say(f"the plan is to train {found.epochs} epochs")
        return found
    with our_training(text, folder / "probe", LARGE, 1, BATCHES_A_TURN) as probe:
        while len(probe.turns) < TURNS and probe.take_turn(hold=False):
            pass
        if len(probe.turns) < 2:
            raise TrainingFailed(
                f"{text.name} has fewer than {2 * BATCHES_A_TURN} steps in an epoch, which is too short to "
                "measure: use a longer text."
            )
        chosen = Plan(text.name, hours, LARGE, epochs_within(hours * 3600, probe))
    path.write_text(json.dumps(asdict(chosen)), encoding="utf-8")
    progress.say(f"{chosen.epochs} epochs are planned", hours * 3600)
    return chosen


def epochs_within(seconds: float, probe: Training) -> int:
    """Return how many epochs fit, at least one, with a pass over valid after each and one over test."""
    start = probe.turns[0].seconds
    epoch = probe.turns[0].of / statistics.median(batches_per_second(probe.turns))
    return max(1, int((seconds * SLACK - start - epoch * EVALUATION) / (epoch * (1 + EVALUATION))))


def train(text: Data, chosen: Plan, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train, from the last checkpoint if there is one, and return the result.

    Raises:
        TrainingFailed: The training script failed.
    """
    with our_training(text, folder, chosen.hparams, chosen.epochs) as training:
        training.environment["LEXLINE_CHECKPOINTS"] = str(folder / "checkpoints")
        while training.take_turn(hold=False):
            if progress.due(600):
                progress.say(training.log[-1])
        # train.py counts the time before interruptions, too, up to the checkpoints that it resumed from.
        metrics = json.loads((folder / "output" / "metrics.json").read_text(encoding="utf-8"))
        return {
            **asdict(chosen),
            "test_perplexity": training.figure("test_perplexity"),
            "test_cache_perplexity": training.figure_if_logged("test_cache_perplexity"),
            "parameters": metrics["parameters"],
            "seconds": metrics["seconds"],
            "resumed": metrics["resumed"],
            "machine": machine(),
            "date": f"{datetime.now(UTC):%d %B %Y}",
        }


def run(hours: float, source: Path | None, folder: Path) -> Path:
    """Train as planned, and return the file with the result.

    Raises:
        NoData: The source lacks a text.
        OtherPlan: The folder contains another training.
        TrainingFailed: The training script failed.
    """
    progress = Progress()
    # Checkpoints depend on the text's content, so it may be written again.
    shutil.rmtree(folder / "data", ignore_errors=True)
    text = data.prepare(source, folder / "data")
    progress.say(f"on {text.name}; {machine()}")
    result = train(text, plan(text, hours, folder, progress), folder, progress)
    official = hours == OVERNIGHT_HOURS and text.name == "WikiText-2"
    path = OVERNIGHT if official else folder / OVERNIGHT.name
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    progress.say(f"test perplexity {result['test_perplexity']:.1f}; written to {path}")
    return path


def main() -> int:
    """Run, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=OVERNIGHT_HOURS, help="hours to train (default: 12)")
    parser.add_argument("--data", type=Path, help="folder or tar archive with train, valid and test files")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(options.hours, options.data, FOLDER)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command resumes", file=sys.stderr)
        return 130
    except (NoData, OtherPlan, TrainingFailed) as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
