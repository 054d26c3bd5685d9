"""Measure how the cost of training grows with corpus, vocabulary, model width and number of hosts.

    .venv/bin/python -m benchmarks.scaling            about 6 minutes; writes scaling.json beside this file
    .venv/bin/python -m benchmarks.scaling --quick    two sizes of each; writes to build/bench/ only

This runs train.py, recipe fast, for some ten seconds at each of four sizes, on synthetic text (synthetic.py),
so that one size varies at a time. It prints a table for each.

Ranks stand for hosts. Each has one thread and sends through gloo over the loopback interface, whose byte
counter shows how much a rank sends. With up to one rank per core, ranks are as fast as hosts with a network
that costs nothing. With more ranks, only bytes and processor time are meaningful. Nothing else should use the
loopback interface meanwhile.
"""

import argparse
import itertools
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from benchmarks import synthetic
from benchmarks.alternating import Training, TrainingFailed
from benchmarks.bench import ASIDE, RESULTS, machine
from benchmarks.data import ROOT, Data
from benchmarks.measured_training import our_training
from benchmarks.progress import Progress

MILLION = 1_000_000
BPTT = 35
STEPS_A_TURN = 10
FEWEST_TURNS = 3


@dataclass(frozen=True)
class Case:
    """One measurement. `varied` names the size that differs from BASE."""

    varied: str = "base"
    words: int = 2 * MILLION
    vocabulary: int = 33_278
    width: int = 200
    batch_size: int = 20
    ranks: int = 1
    threads: int = 0  # 0: torch's own choice, one for each core


BASE = Case()
CORPUS = [replace(BASE, varied="corpus", words=n * MILLION // 2) for n in (1, 4, 16, 64)]
VOCABULARY = [
    replace(BASE, varied="vocabulary", words=4 * MILLION, vocabulary=n)
    for n in (10_000, 33_278, 100_000, 300_000)
]
WIDTH = [replace(BASE, varied="width", width=n) for n in (100, 200, 400, 800)]
HOSTS = [replace(BASE, varied="ranks", batch_size=60, ranks=n, threads=1) for n in (1, 2, 3, 4)]


@dataclass(frozen=True)
class Cost:
    """The cost of a case.

    Attributes:
        case: The case.
        parameters: Of the model.
        start_seconds: From the start of the process to its first logged batches, reading included.
        seconds: Per million words of the training pass.
        processor_seconds: Per million words of the training pass.
        step_seconds: Per step.
        peak_gib: Peak memory of the rank that needed most.
        sent_mb: Megabytes (1,000,000 bytes) that a rank sends per step; 0 for one rank.
    """

    case: Case
    parameters: int
    start_seconds: float
    seconds: float
    processor_seconds: float
    step_seconds: float
    peak_gib: float
    sent_mb: float


def measure(case: Case, text: Path, scratch: Path, seconds: float) -> Cost:
    """Measure a case in at least `seconds` of its training, then end it."""
    values = {"recipe": "fast", "emsize": case.width, "nhid": case.width, "batch_size": case.batch_size}
    with training(case, our_training(Data(text, ""), scratch, values, 100, STEPS_A_TURN)) as running:
        running.take_turn(hold=False)
        steps: list[float] = []
        sent = processor = 0.0
        while len(steps) < FEWEST_TURNS or sum(steps) * STEPS_A_TURN < seconds:
            before = loopback_bytes(), processor_seconds(running)
            turn = running.take_turn(hold=False)
            if turn is None:
                raise TrainingFailed(f"{case} ended before it was measured:\n" + "\n".join(running.log[-5:]))
            if turn.step <= running.turns[-2].step:  # an epoch ended in this turn: it includes evaluation
                continue
            steps.append(turn.seconds / STEPS_A_TURN)
            sent += loopback_bytes() - before[0]
            processor += processor_seconds(running) - before[1]
        step = statistics.median(steps)
        measured = len(steps) * STEPS_A_TURN
        million = MILLION / (case.batch_size * BPTT)
        return Cost(
            case=case,
            parameters=int(running.figure("parameters")),
            start_seconds=running.turns[0].seconds,
            seconds=step * million,
            processor_seconds=processor / measured * million,
            step_seconds=step,
            peak_gib=max(peak_bytes(process) for process in processes(running)) / 2**30,
            sent_mb=sent / measured / case.ranks / 1e6 if case.ranks > 1 else 0.0,
        )


def training(case: Case, single: Training) -> Training:
    """Return the training of one process, or the same under torchrun if the case has several ranks."""
    if case.threads:
        single.environment["OMP_NUM_THREADS"] = str(case.threads)
    if case.ranks > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={case.ranks}"]
        single.command[1:1] = launcher
    return single


def processes(training: Training) -> list[psutil.Process]:
    """Return a training's processes."""
    assert training.process is not None
    first = psutil.Process(training.process.pid)
    return [first, *first.children(recursive=True)]


def processor_seconds(training: Training) -> float:
    """Return the processor time that a training has used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes(training))


def peak_bytes(process: psutil.Process) -> int:
    """Return a process's peak resident memory."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def loopback_bytes() -> int:
    """Return the bytes received on the loopback interface since the machine started."""
    return psutil.net_io_counters(pernic=True)["lo"].bytes_recv


def with_texts(cases: Sequence[Case], scratch: Path) -> Iterator[tuple[Case, Path]]:
    """Yield each case with its text, which is deleted when the next case needs another one."""
    for (words, vocabulary), group in itertools.groupby(cases, lambda case: (case.words, case.vocabulary)):
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            text = synthetic.write(Path(name) / "text", words, vocabulary)
            for case in group:
                yield case, text


def to_markdown(costs: Sequence[Cost]) -> str:
    """Return one table for each size that varies."""
    tables = []
    for varied in dict.fromkeys(cost.case.varied for cost in costs):
        rows = [cost for cost in costs if cost.case.varied == varied]
        lines = [
            f"| {varied} | parameters | s per million words | processor s per million words | ms a step | "
            "s to the first batches | peak GiB | MB sent by a rank in a step |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *(
                f"| {size(cost.case)} | {cost.parameters:,} | {cost.seconds:.1f} "
                f"| {cost.processor_seconds:.1f} | {cost.step_seconds * 1000:.0f} "
                f"| {cost.start_seconds:.1f} | {cost.peak_gib:.2f} | {cost.sent_mb:.1f} |"
                for cost in rows
            ),
        ]
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def size(case: Case) -> str:
    """Return the size that varies, with its unit."""
    return {
        "corpus": f"{case.words / MILLION:g} million words",
        "vocabulary": f"{case.vocabulary:,} words",
        "width": f"{case.width}",
        "ranks": f"{case.ranks}",
    }[case.varied]


def run(quick: bool) -> None:
    """Measure all cases and write the results."""
    progress = Progress()
    progress.say(machine())
    groups = [WIDTH, HOSTS, CORPUS, VOCABULARY]
    cases = [case for group in groups for case in (group[:2] if quick else group)]
    costs = []
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scaling-", dir=ROOT / "build") as name:
        for number, (case, text) in enumerate(with_texts(cases, Path(name)), start=1):
            with tempfile.TemporaryDirectory(dir=name) as scratch:
                costs.append(measure(case, text, Path(scratch), seconds=3 if quick else 10))
            left = progress.elapsed / number * (len(cases) - number)
            progress.say(f"{case.varied} {size(case)}: {costs[-1].seconds:.1f} s per million words", left)
    results = ASIDE if quick else RESULTS
    results.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "costs": [asdict(cost) for cost in costs]}
    (results / "scaling.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print("\n" + to_markdown(costs))
    progress.say(f"written to {results.relative_to(ROOT)}/scaling.json")


def main() -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="measure two sizes of each, for a few seconds")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(arguments.quick)
    except KeyboardInterrupt:
        print("\ninterrupted: no results are written", file=sys.stderr)
        return 130
    except TrainingFailed as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
