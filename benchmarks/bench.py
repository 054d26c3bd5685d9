"""Compare Lexline with the plain loop (plain_loop.py) on the same text and machine.

    make bench            or  .venv/bin/python -m benchmarks.bench [--data PATH]
    make bench QUICK=1    or  .venv/bin/python -m benchmarks.bench --quick

The first prints a table of all targets with both figures of this run, and writes results.md and
results.json beside this file. It takes at most 75 minutes, during which nothing else should run. The second
needs about 50 seconds of one processor, which a busy machine gives it in 3 minutes if it gets a third of one.
It reads a slice of the text and writes to build/bench/ only.

The two are measured in turn: training as measured_training.py describes; each other figure in a new process
(fresh_process.py), so that caches are as cold as they are for a user. A quick run saves the time for that
and calls everything in its own process. It uses one thread: on a busy machine, two threads wait for one
another at each operation. So its figures are no results, and no target is judged by them.

The row of the model that trained for a night is the last one that overnight.py measured.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks import artifact, data, measured_training, plain_loop, table
from benchmarks.alternating import TrainingFailed
from benchmarks.data import ROOT, Data
from benchmarks.fresh_process import CallFailed, call, call_here
from benchmarks.measured_training import SAME, Trainings, arguments
from benchmarks.progress import Progress
from benchmarks.table import Row

RESULTS = ROOT / "benchmarks"
ASIDE = ROOT / "build" / "bench"
"""The folder for results of a quick run or of one that lacks a row. Only complete runs are committed."""

OVERNIGHT = RESULTS / "overnight.json"
"""The result of overnight.py."""
OVERNIGHT_HOURS = 12

CONCURRENT = 32
BURST = 200
MINUTES = 75
AFTER_TRAINING = 420
"""Seconds of MINUTES reserved for the measurements after training."""

PLAIN = "benchmarks.plain_loop"
GENERATION = "benchmarks.generation"
SERVING = "benchmarks.serving"
TOKENISING = "benchmarks.tokenising"


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        training: See measured_training.py.
        repetitions: Of each short measurement.
        words: Words of each generated text.
        slowdown_turns: Turns of the measurement of restricted draws.
        text_gib: Size of the text for the measurement of memory.
        slice_words: Words of train to train on; 0 for all.
        call: Calls a function for a measurement, by its name (fresh_process.py).
        endpoint: Whether to measure an endpoint over HTTP.
    """

    training: measured_training.Extent
    repetitions: int
    words: int
    slowdown_turns: int
    text_gib: float
    slice_words: int = 0
    call: Callable[..., Any] = call
    endpoint: bool = True

    @property
    def quick(self) -> bool:
        """Whether training is on a slice of the text."""
        return self.slice_words > 0


WHOLE = Extent(
    measured_training.Extent(batches_a_turn=50, probing_turns=7),
    repetitions=3,
    words=300,
    slowdown_turns=5,
    text_gib=1.0,
)
QUICK = Extent(
    measured_training.Extent(batches_a_turn=3, probing_turns=0, speed_turns=3),
    repetitions=1,
    words=50,
    slowdown_turns=1,
    text_gib=1 / 64,
    slice_words=10_000,
    call=call_here,
    # Ray's ten processes take longer to start than all the rest.
    endpoint=False,
)


@dataclass(frozen=True)
class Models:
    """Artifacts to generate with.

    Attributes:
        plain: The plain loop's.
        ours: Ours with the same hyperparameters, then any other.
        corpus: The folder of the text whose words they know.
    """

    plain: Path
    ours: list[Path]
    corpus: Path

    @classmethod
    def of(cls, trained: Trainings, text: Data) -> "Models":
        """Return the trained models."""
        return cls(trained.plain.folder, [trained.same.folder, trained.best.folder], text.folder)


def stand_ins(whole: Data, scratch: Path, progress: Progress) -> Models:
    """Return untrained models with the whole vocabulary, for a quick run.

    The plain model's speed does not depend on its weights. For ours, see generation.write_untrained.
    """
    ours = scratch / "stand_in"
    call_here(f"{GENERATION}:write_untrained", whole.folder, ours, arguments(SAME))
    corpus = plain_loop.Corpus(whole.folder)
    plain_loop.save(plain_loop.PlainModel(len(corpus.dictionary)), whole.folder, scratch / "plain_stand_in")
    progress.say("models of the whole vocabulary made")
    return Models(scratch / "plain_stand_in", [ours], whole.folder)


def by_turns(extent: Extent, plain: tuple[object, ...], ours: tuple[object, ...]) -> tuple[float, float]:
    """Return the medians of two functions' results. They are called in turn."""
    results = [(extent.call(*plain), extent.call(*ours)) for _ in range(extent.repetitions)]
    return statistics.median(a for a, _ in results), statistics.median(b for _, b in results)


def training_rows(trained: Trainings, extent: Extent) -> list[Row]:
    """Return the rows on the speed of training and the perplexity it reaches."""
    seconds, epoch_seconds = trained.best.seconds, trained.epoch_seconds
    shortened = trained.budget < epoch_seconds
    on_slice = "on a slice; " if extent.quick else ""
    return [
        Row(
            "training, same hyperparameters",
            "tokens/s",
            statistics.median(trained.speeds.plain),
            statistics.median(trained.speeds.ours),
            at_least=10,
            note=trained.speeds.note,
        ),
        Row(
            "test perplexity after one epoch, same hyperparameters",
            "perplexity",
            trained.plain.test_perplexity,
            trained.same.test_perplexity,
            at_most=150,
            note=f"{on_slice}`{trained.same.command}`",
        ),
        Row(
            "test perplexity in the time of the plain loop's epoch",
            "perplexity",
            trained.plain.test_perplexity,
            trained.best.test_perplexity,
            at_most=98,
            holds=seconds <= epoch_seconds,
            note=f"{on_slice}ours took {seconds:.0f} s from the start of its process to the end, reading, "
            f"evaluating and saving included; the plain loop's training pass alone took {epoch_seconds:.0f} s"
            + (", which is less: the target is missed" if seconds > epoch_seconds else "")
            + (f" (the benchmark's own limit for ours was {trained.budget:.0f} s)" if shortened else "")
            + f"; `{trained.best.command}`",
        ),
        Row(
            "the same with a continuous cache",
            "perplexity",
            None,
            trained.best.cache_perplexity,
            note="a figure of its own, which judges no model, so it has no target; "
            + (
                "train.py logged no test_cache_perplexity, so it was not measured."
                if trained.best.cache_perplexity is None
                else f"without the cache, {table.shown(trained.best.without_cache)} on the same part of test."
            ),
        ),
        overnight_row(),
    ]


def overnight_row() -> Row:
    """Return the row of the model that trained for a night, as overnight.py measured it last."""
    name = f"test perplexity of a larger model after {OVERNIGHT_HOURS} hours of training"
    if not OVERNIGHT.exists():
        note = "not measured: no training of `python -m benchmarks.overnight` has run to its end yet."
        return Row(name, "perplexity", None, None, at_most=85, note=note)
    found = json.loads(OVERNIGHT.read_text(encoding="utf-8"))
    return Row(
        name,
        "perplexity",
        None,
        found["test_perplexity"],
        at_most=85,
        holds=found["seconds"] <= OVERNIGHT_HOURS * 3600,
        note=f"not of this run: measured by `python -m benchmarks.overnight`, {found['date']}, on "
        f"{found['machine']}. {found['parameters']:,} parameters, {found['epochs']} epochs in "
        f"{found['seconds'] / 3600:.1f} hours; {found['hparams']}.",
    )


def generation_rows(models: Models, extent: Extent, progress: Progress) -> list[Row]:
    """Return the rows on the speed of generation."""
    same, *others = models.ours
    single = f"{GENERATION}:single_words_per_second"
    plain_single, our_single = by_turns(
        extent,
        (f"{PLAIN}:single_words_per_second", models.plain, extent.words),
        (single, same, extent.words),
    )
    single_note = "".join(
        f"{extent.call(single, other, extent.words):,.0f} words/s with the larger model." for other in others
    )
    progress.say("generation of one text measured")
    engine = extent.call(f"{GENERATION}:batch_words_per_second", same, CONCURRENT, extent.words)
    rounds = [
        extent.call(f"{SERVING}:served", same, CONCURRENT, BURST, extent.words)
        for _ in range(extent.repetitions if extent.endpoint else 0)
    ]
    progress.say(f"generation of {CONCURRENT} texts at once measured")
    slowdowns = extent.call(
        f"{GENERATION}:slowdowns",
        others[-1] if others else same,
        CONCURRENT,
        extent.words // 5,
        extent.slowdown_turns,
    )
    other_slowdowns = ", ".join(
        f"{name} {ratio:.2f}" for name, ratio in slowdowns.items() if name not in ("top_k 40", "top_p 0.9")
    )
    progress.say("restricted draws measured")
    over_http = (
        "over HTTP from the Ray Serve endpoint" if rounds else "the endpoint is not measured in a quick run"
    )
    return [
        Row("generation, one request", "words/s", plain_single, our_single, at_least=30, note=single_note),
        Row(
            f"generation, {CONCURRENT} requests at once on one endpoint, in all",
            "words/s",
            plain_single,
            median_of(rounds, "words_per_second"),
            at_least=80,
            note=f"{over_http}; {engine:,.0f} words/s in one process.",
        ),
        Row(
            f"{BURST} requests at once on one endpoint, until all are answered",
            "s",
            None,
            median_of(rounds, "burst_seconds"),
            at_most=2.5,
            note=f"{over_http}; each for 100 words, the default of POST /generate.",
        ),
        *(
            Row(
                f"generation with {field}, {CONCURRENT} texts at once",
                "x the time",
                None,
                slowdowns[restriction],
                at_most=2,
                note=note,
            )
            for field, restriction, note in (
                ("top_k", "top_k 40", "against a draw from all words in the same process."),
                ("top_p", "top_p 0.9", f"likewise. Without a row of their own: {other_slowdowns}."),
            )
        ),
    ]


def median_of(rounds: Sequence[dict[str, float]], name: str) -> float | None:
    """Return the median of a figure, or None if it was not measured."""
    return statistics.median(each[name] for each in rounds) if rounds else None


def artifact_rows(models: Models, extent: Extent, progress: Progress) -> list[Row]:
    """Return the rows on artifacts. The slowest and the largest of our models count."""
    same, *others = models.ours
    first_word = f"{GENERATION}:seconds_to_first_word"
    plain_seconds, same_seconds = by_turns(
        extent, (f"{PLAIN}:seconds_to_first_word", models.plain), (first_word, same)
    )
    seconds = [same_seconds]
    for other in others:
        seconds.append(statistics.median(extent.call(first_word, other) for _ in range(extent.repetitions)))
    progress.say("loading measured")
    if not artifact.holds_corpus(models.plain, models.corpus):
        raise CallFailed("The search for the corpus does not find it in the plain loop's artifact.")
    clean = not any(artifact.holds_corpus(folder, models.corpus) for folder in models.ours)
    sizes = [artifact.megabytes(folder) for folder in models.ours]
    packed = [artifact.packed_megabytes(folder) for folder in models.ours]
    return [
        Row(
            "load, trained artifact to first word",
            "s",
            plain_seconds,
            max(seconds),
            at_most=1,
            note=f"our models: {listed(seconds)} s.",
        ),
        Row(
            "artifact, no corpus in it",
            "MB",
            artifact.megabytes(models.plain),
            max(sizes),
            at_most=16,
            holds=clean,
            note=f"files on disk; our models: {listed(sizes)} MB. As model.tar.gz: plain "
            f"{artifact.packed_megabytes(models.plain):.1f}, ours {listed(packed)} MB. All files were "
            "searched for lines of the corpus: they are in plain's and "
            f"{'not' if clean else 'ALSO'} in ours.",
        ),
    ]


def listed(figures: Sequence[float]) -> str:
    """Return figures as a phrase."""
    return " and ".join(table.shown(figure) for figure in figures)


def encoding_rows(whole: Data, extent: Extent, progress: Progress) -> list[Row]:
    """Return the rows on reading a corpus."""
    files = [whole.folder / split for split in data.SPLITS]
    plain_speed, our_speed = by_turns(
        extent,
        (f"{TOKENISING}:plain_megabytes_per_second", files),
        (f"{TOKENISING}:ours_megabytes_per_second", files),
    )
    memory = extent.call(f"{TOKENISING}:peak_memory_gib", extent.text_gib)
    progress.say("corpus to token ids measured")
    return [
        Row("corpus to token ids", "MB/s", plain_speed, our_speed, at_least=10),
        Row(
            f"memory beyond the page cache to encode {extent.text_gib:g} GiB of text",
            "GiB",
            None,
            memory,
            at_most=1,
        ),
    ]


def machine() -> str:
    """Describe the machine and the versions of Python and torch."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        cpu = next((value.strip() for name, _, value in lines if name.strip() == "model name"), cpu)
    return (
        f"{cpu}, {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory, "
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"
    )


def report(rows: Sequence[Row], text: Data, trained: Trainings, extent: Extent, seconds: float) -> str:
    """Return the content of results.md."""
    title = "Quick run on a slice (a test of the benchmark, not a result)" if extent.quick else "Results"
    process = "the benchmark's own process" if extent.quick else "a new process"
    return f"""# {title}

{machine()}. {datetime.now(UTC):%d %B %Y}, {seconds / 60:.0f} minutes, on {text.name}.
Written by `make bench`.

{table.to_markdown(rows)}
The plain loop is [plain_loop.py](plain_loop.py); its figures are from the same run. The ratio says how many
times better ours is.

{table.notes(rows)}
## How it was measured

- Each loop trains as a script in a process of its own, with torch's default number of threads. They run in
  turn, {extent.training.batches_a_turn} batches at a time; while one runs, the other is suspended and its
  time is not counted. tokens/s is the speed of the training pass, without start-up, reading and evaluation.
- Perplexity is over the test text, `<eos>` included, as each loop's own script computes it.
- Ours in the time of the plain epoch is a new process. The number of its epochs follows from its speed in a
  few turns among the others. Its time runs from the start of the process to its end.
- Generation, loading and encoding are medians of {extent.repetitions}, plain and ours in turn, each in
  {process}. Text is generated at temperature 1 by a loaded model. A single text of ours takes a
  twentieth of a second, so each of its measurements is the median of 15 texts. Requests over HTTP go to the
  endpoint itself, without the API. Loading lasts from the artifact's files to the first word, in a process
  that has imported torch. Memory is the peak of the processes that encode, without the page cache.
- A generated word is a drawn token, punctuation and line ends included, as in the plain loop.
- Plain: `{trained.plain.command}`
"""


def run(extent: Extent, source: Path | None) -> bool:
    """Measure everything and write the results.

    If a measurement after training fails, the other rows are still written, to build/bench/.

    Returns:
        Whether everything could be measured.
    """
    progress = Progress()
    (ROOT / "build").mkdir(exist_ok=True)
    complete = True
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as name:
        scratch = Path(name)
        whole = text = data.prepare(source, scratch / "data")
        if extent.quick:
            text = data.cut(whole, scratch / "slice", extent.slice_words, extent.slice_words // 10)
        progress.say(f"on {text.name}; {machine()}")
        deadline = MINUTES * 60 - AFTER_TRAINING
        trained = measured_training.train_all(text, whole, extent.training, scratch, deadline, progress)
        rows = training_rows(trained, extent)
        models = stand_ins(whole, scratch, progress) if extent.quick else Models.of(trained, whole)
        measures: list[Callable[[], list[Row]]] = [
            lambda: generation_rows(models, extent, progress),
            lambda: artifact_rows(models, extent, progress),
            lambda: encoding_rows(whole, extent, progress),
        ]
        for measure in measures:
            try:
                rows += measure()
            except CallFailed as problem:
                complete = False
                print(problem, file=sys.stderr)
        if extent.quick:
            rows = [replace(row, judged=False) for row in rows]
        document = report(rows, text, trained, extent, progress.elapsed)
    results = RESULTS if complete and not extent.quick else ASIDE
    results.mkdir(parents=True, exist_ok=True)
    (results / "results.md").write_text(document, encoding="utf-8")
    (results / "results.json").write_text(table.to_json(rows), encoding="utf-8")
    print(f"\n{table.to_markdown(rows)}\n{table.notes(rows)}")
    kept = "" if results == RESULTS else "; the committed results are unchanged"
    progress.say(f"written to {results.relative_to(ROOT)}/results.md and results.json{kept}")
    return complete


def main() -> int:
    """Run the benchmark and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure on a slice of the text, in under 3 minutes"
    )
    parser.add_argument("--data", type=Path, help="folder or tar archive with train, valid and test files")
    options = parser.parse_args()
    if options.quick:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that this one starts
        torch.set_num_threads(1)
    # With this, context managers and `finally` blocks also run at SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        complete = run(QUICK if options.quick else WHOLE, options.data)
    except KeyboardInterrupt:
        print("\ninterrupted: no results are written", file=sys.stderr)
        return 130
    except (data.NoData, TrainingFailed) as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
