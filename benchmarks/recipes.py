"""Tune the recipes: train variations on the same text and compare what they reach.

    .venv/bin/python -m benchmarks.recipes
    .venv/bin/python -m benchmarks.recipes fast fast-with-momentum --words 300000 --epochs 3
    .venv/bin/python -m benchmarks.recipes fast fast-wide --corpus demo
    .venv/bin/python -m benchmarks.recipes fast fast-wide --corpus FOLDER --words 20000000 --epochs 1

The first trains the three recipes with their defaults, in about five minutes, and shows how they start.
VARIATIONS has all names; add a line to try something. Each variation sees the same text equally often:
`steps` are equal unless it changes batch_size, bptt or the windows.

The first name is the baseline. Before a variation is trained, it and the baseline run some steps in turn;
the processor time of a step is shown relative to the baseline's. OMP_NUM_THREADS=1 makes it steadier on a
busy machine.

What helps a short training need not help a long one: decide at the length that counts. After an
interruption, the same command resumes: outcomes and checkpoints are kept in build/recipes/. A change of
model_scripts/ starts anew. docs/training.md has the table of what was tried.
"""

import argparse
import hashlib
import itertools
import json
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import data
from benchmarks.alternating import Training, TrainingFailed
from benchmarks.bench import machine
from benchmarks.data import MODEL_SCRIPTS, ROOT, Data, NoData
from benchmarks.measured_training import our_training
from benchmarks.progress import Progress
from benchmarks.scaling import processor_seconds
from benchmarks.table import shown

CORPORA = ("wikitext-2", "demo")
FOLDER = ROOT / "build" / "recipes"
BATCHES_A_TURN = 25
TURNS = 5


@dataclass(frozen=True)
class Variation:
    """A way to train.

    Attributes:
        hparams: Hyperparameters, by name.
        recipe: Fields of recipes.Recipe, by name.
        constants: Constants of model_scripts, as module.NAME.
    """

    hparams: Mapping[str, object]
    recipe: Mapping[str, object] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)


def fast(
    recipe: Mapping[str, object] | None = None,
    constants: Mapping[str, object] | None = None,
    **hparams: object,
) -> Variation:
    """Return a variation of the recipe fast."""
    return Variation({"recipe": "fast", **hparams}, recipe or {}, constants or {})


WITH_MOMENTUM = {"lightweight_optim.BETAS": [0.9, 0.999]}

VARIATIONS = {
    "classic": Variation({"recipe": "classic"}),
    "fast": fast(),
    "awd": Variation({"recipe": "awd"}),
    "fast-with-momentum": fast(lr=0.003, constants=WITH_MOMENTUM),
    "fast-lr-0.009": fast(lr=0.009),
    "fast-random-start": fast(recipe={"informed": False}),
    "fast-steady-regularisation": fast(recipe={"rising": 0.0}),
    "fast-full-rare-rate": fast(recipe={"rare_steps": 1e9}),
    "fast-unsmoothed": fast(constants={"initial_vectors.SMOOTHING": 1.0}),
    "fast-batch-10": fast(batch_size=10),
    "fast-one-layer": fast(nlayers=1),
    "fast-wide": fast(emsize=300, nhid=300),
    "fast-one-wide-layer": fast(emsize=320, nhid=320, nlayers=1, dropout=0.3),
    "fast-varied-windows": fast(recipe={"varied_windows": True}),
    "fast-without-penalties": fast(recipe={"alpha": 0.0, "beta": 0.0}),
    "fast-short-warm-up": fast(constants={"optimisation.WARM_UP": 0.01}),
}


@dataclass(frozen=True)
class Outcome:
    """The figures of a variation.

    Attributes:
        parameters: Of the model.
        steps: Of all epochs; with windows of varying length about as many.
        processor_seconds: Of 1,000 steps.
        cost: The processor time of a step, relative to the baseline's.
        valid_perplexity: Of the best epoch; None if it is infinite.
        test_perplexity: Likewise.
    """

    parameters: int
    steps: int
    processor_seconds: float
    cost: float
    valid_perplexity: float | None
    test_perplexity: float | None


@dataclass(frozen=True)
class Comparison:
    """The text and length of all trainings that are compared, and the baseline."""

    text: Data
    epochs: int
    baseline: Variation

    def folder(self, variation: Variation) -> Path:
        """Return the variation's folder, which depends on the text, the length and the code, too."""
        fingerprint = hashlib.blake2b(digest_size=8)
        for path in [*sorted(self.text.folder.iterdir()), *sorted(MODEL_SCRIPTS.glob("*.py"))]:
            with path.open("rb") as file:
                fingerprint.update(hashlib.file_digest(file, "blake2b").digest())
        described = [self.epochs, asdict(self.baseline), asdict(variation)]
        fingerprint.update(json.dumps(described).encode())
        return FOLDER / fingerprint.hexdigest()

    def training(self, variation: Variation, folder: Path) -> Training:
        """Return a training, not started."""
        made = our_training(self.text, folder, variation.hparams, self.epochs, BATCHES_A_TURN)
        changes = json.dumps({"recipe": variation.recipe, "constants": variation.constants})
        made.command[1:2] = [str(ROOT / "benchmarks" / "varied_training.py"), changes]
        return made

    def outcome(self, variation: Variation) -> Outcome:
        """Return the outcome, of an earlier run if it is kept. Training resumes from the last checkpoint.

        Raises:
            TrainingFailed: The training failed.
        """
        folder = self.folder(variation)
        kept = folder / "outcome.json"
        if kept.exists():
            return Outcome(**json.loads(kept.read_text(encoding="utf-8")))
        seconds, cost, steps = self.cost(variation, folder)
        with self.training(variation, folder) as training:
            training.environment["LEXLINE_CHECKPOINTS"] = str(folder / "checkpoints")
            while training.take_turn(hold=False):
                pass
        metrics = json.loads((folder / "output" / "metrics.json").read_text(encoding="utf-8"))
        perplexities = {name: metrics[name] for name in ("valid_perplexity", "test_perplexity")}
        found = Outcome(metrics["parameters"], steps * self.epochs, seconds, cost, **perplexities)
        shutil.rmtree(folder)
        folder.mkdir()
        kept.write_text(json.dumps(asdict(found)), encoding="utf-8")
        return found

    def cost(self, variation: Variation, folder: Path) -> tuple[float, float, int]:
        """Return processor seconds for 1,000 steps, their ratio to the baseline's, and an epoch's steps.

        Both are the medians of turns in which first the one, then the other runs.
        """
        with (
            self.training(variation, folder / "timed") as own,
            self.training(self.baseline, folder / "timed_baseline") as other,
        ):
            # zip takes a turn of each, one after the other.
            pairs = list(itertools.islice(zip(step_seconds(own), step_seconds(other), strict=False), TURNS))
            if not pairs:
                raise TrainingFailed(
                    f"An epoch has fewer than {2 * BATCHES_A_TURN} steps, which is too short to measure: "
                    "raise --words."
                )
            return (
                1000 * statistics.median(seconds for seconds, _ in pairs),
                statistics.median(seconds / baseline for seconds, baseline in pairs),
                own.turns[0].of,
            )


def step_seconds(training: Training) -> Iterator[float]:
    """Yield the processor seconds of a step, turn by turn, but not of turns with a start-up or evaluation."""
    before = training.take_turn()
    while before:
        begun = processor_seconds(training)
        turn = training.take_turn()
        if turn and turn.step > before.step:
            yield (processor_seconds(training) - begun) / (turn.step - before.step)
        before = turn


def prepare(corpus: str | None, words: int, folder: Path) -> Data:
    """Write the beginning of a corpus to a new folder.

    Args:
        corpus: One of CORPORA, or the path of a folder or tar archive of train, valid and test; None for
            WikiText-2 or, where it is missing, the State of the Union messages.
        words: The words of train; valid and test get a fifth of that each, if they have so many.
        folder: The new folder.

    Raises:
        NoData: The corpus does not exist.
    """
    if corpus == "demo":
        whole = data.write_demo(folder / "whole")
    else:
        named = None if corpus is None else data.WIKITEXT_2 if corpus == "wikitext-2" else Path(corpus)
        whole = data.prepare(named, folder / "whole")
    return data.shorten(whole, folder / "text", words, words // 5)


def to_markdown(outcomes: Mapping[str, Outcome | None]) -> str:
    """Return the table. None stands for a training that failed."""
    columns = (
        *("variation", "parameters", "steps", "processor s for 1,000 steps", "relative"),
        *("valid perplexity", "test perplexity"),
    )
    rows = [
        f"| {name} | {it.parameters:,} | {it.steps:,} | {it.processor_seconds:.1f} | {it.cost:.2f} "
        f"| {shown(it.valid_perplexity)} | {shown(it.test_perplexity)} |"
        if it
        else f"| {name} | failed | - | - | - | - | - |"
        for name, it in outcomes.items()
    ]
    return "\n".join([f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|", *rows]) + "\n"


def compare(names: Sequence[str], corpus: str | None, words: int, epochs: int) -> dict[str, Outcome | None]:
    """Train all, the baseline first. None stands for a training that failed; its reason is printed."""
    progress = Progress()
    FOLDER.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, Outcome | None] = {}
    with tempfile.TemporaryDirectory(prefix="text-", dir=FOLDER) as name:
        text = prepare(corpus, words, Path(name))
        progress.say(f"{words:,} words of {text.name}, {epochs} epochs; {machine()}")
        comparison = Comparison(text, epochs, VARIATIONS[names[0]])
        for name in names:
            outcomes[name] = None
            try:
                outcomes[name] = found = comparison.outcome(VARIATIONS[name])
            except TrainingFailed as problem:
                print(problem, file=sys.stderr)
            else:
                progress.say(f"{name}: test perplexity {shown(found.test_perplexity)}")
    return outcomes


def main() -> int:
    """Run the comparison and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "variations",
        nargs="*",
        metavar="variation",
        default=["classic", "fast", "awd"],
        help=f"the baseline, then what to compare with it: {', '.join(VARIATIONS)}",
    )
    parser.add_argument("--corpus", help=f"{', '.join(CORPORA)}, or a folder or tar archive of your own")
    parser.add_argument("--words", type=int, default=100_000, help="words of train to read")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    unknown = [name for name in options.variations if name not in VARIATIONS]
    if unknown:
        parser.error(f"unknown variation {unknown[0]}: the names are {', '.join(VARIATIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        outcomes = compare(options.variations, options.corpus, options.words, options.epochs)
    except NoData as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the same command resumes", file=sys.stderr)
        return 130
    print("\n" + to_markdown(outcomes))
    return 0 if all(outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
