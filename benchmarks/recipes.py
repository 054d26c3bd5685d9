"""Compare the recipes: speed and perplexity on the same text after the same number of epochs.

    .venv/bin/python -m benchmarks.recipes [--data PATH] [--words 100000] [--epochs 4]

This trains each recipe with its default hyperparameters on the beginning of the text and prints a table, in
about five minutes. It compares how the recipes start. Only long trainings show what they reach.
"""

import argparse
import re
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data
from benchmarks.alternating import TrainingFailed
from benchmarks.bench import machine
from benchmarks.data import ROOT, Data
from benchmarks.measured_training import our_training
from benchmarks.progress import Progress

RECIPES = ("classic", "fast", "awd")
BATCHES_A_TURN = 25


@dataclass(frozen=True)
class Outcome:
    """A recipe's figures. words_per_second: the median of the logged values."""

    recipe: str
    parameters: int
    words_per_second: float
    valid_perplexity: float
    test_perplexity: float


def measure(recipe: str, text: Data, scratch: Path, epochs: int) -> Outcome:
    """Train a recipe to the end. Raises TrainingFailed."""
    with our_training(text, scratch, {"recipe": recipe}, epochs, BATCHES_A_TURN) as training:
        while training.take_turn(hold=False):
            pass
        speeds = re.findall(r"\bwords_per_second=(\d+)", "\n".join(training.log))
        return Outcome(
            recipe=recipe,
            parameters=int(training.figure("parameters")),
            words_per_second=statistics.median(map(int, speeds)),
            valid_perplexity=training.figure("valid_perplexity"),
            test_perplexity=training.figure("test_perplexity"),
        )


def to_markdown(outcomes: list[Outcome]) -> str:
    """Return the table."""
    rows = [
        f"| {it.recipe} | {it.parameters:,} | {it.words_per_second:,.0f} | {it.valid_perplexity:.1f} "
        f"| {it.test_perplexity:.1f} |"
        for it in outcomes
    ]
    head = ["| recipe | parameters | words/s | valid perplexity | test perplexity |", "| --- " * 5 + "|"]
    return "\n".join([*head, *rows]) + "\n"


def main() -> int:
    """Run the comparison and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder or tar archive of train, valid and test")
    parser.add_argument("--words", type=int, default=100_000, help="words of train to read")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    progress = Progress()
    (ROOT / "build").mkdir(exist_ok=True)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="recipes-", dir=ROOT / "build") as name:
        whole = data.prepare(options.data, Path(name) / "data")
        text = data.cut(whole, Path(name) / "slice", options.words, options.words // 5)
        progress.say(f"{options.words:,} words of {whole.name}, {options.epochs} epochs; {machine()}")
        for recipe in RECIPES:
            try:
                outcomes.append(measure(recipe, text, Path(name) / recipe, options.epochs))
            except TrainingFailed as problem:
                print(problem, file=sys.stderr)
                return 1
            progress.say(f"{recipe}: test perplexity {outcomes[-1].test_perplexity:.1f}")
    print("\n" + to_markdown(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
