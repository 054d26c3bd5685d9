"""The benchmark's rows, and its length: what it starts and trains is counted, with known costs, not timed."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import alternating, bench, progress
from benchmarks.alternating import Training
from benchmarks.data import Data

WIKITEXT_2_WORDS = 2_088_628
PLAIN_BATCH, OUR_BATCH = 0.67, 0.064
"""Seconds on an empty machine like that of results.md; processor seconds are twice as many."""
PLAIN_START, OUR_START, EVALUATION, CACHE = 4.0, 4.0, 8.0, 20.0
CALLS = {
    "single_words_per_second": 8.0,
    "batch_words_per_second": 5.0,
    "served": 40.0,
    "slowdowns": 20.0,
    "seconds_to_first_word": 4.0,
    "plain_megabytes_per_second": 4.0,
    "ours_megabytes_per_second": 3.0,
    "peak_memory_gib": 90.0,
}
FIGURES: dict[str, Any] = {
    "served": {"words_per_second": 9000.0, "burst_seconds": 2.25},
    "slowdowns": {"top_k 40": 1.1, "top_p 0.9": 2.2, "min_p 0.05": 1.3},
}


class Rehearsal:
    """A benchmark in which everything slow is counted instead, and puts a clock forward.

    Attributes:
        slowness: How many times as long everything takes.
        seconds: The clock.
        counts: What was done how often.
    """

    def __init__(self, slowness: float) -> None:
        self.slowness = slowness
        self.seconds = 0.0
        self.counts: Counter[str] = Counter()

    def spend(self, name: str, seconds: float, count: int = 1) -> None:
        self.counts[name] += count
        self.seconds += seconds * count * self.slowness

    def call(self, function: str, *_: object) -> Any:
        name = function.partition(":")[2]
        self.spend(name, CALLS[name])
        return FIGURES.get(name, 100.0)

    def until_step(self, training: Training, _hold: bool) -> re.Match[str] | None:
        """Log a training's next step line. Logs the figures at its end, and returns None."""
        plain = "benchmarks.plain_loop" in training.command
        text = training.command[3] if plain else training.environment["SM_CHANNEL_TRAINING"]
        batches = (bench.QUICK.slice_words if Path(text).name == "slice" else WIKITEXT_2_WORDS) // 700
        options = dict(zip(training.command, training.command[1:], strict=False))
        interval = min(batches, int(options["--log-interval" if plain else "--log_interval"]))
        name, batch, start = ("plain", PLAIN_BATCH, PLAIN_START) if plain else ("ours", OUR_BATCH, OUR_START)
        if not training.log:
            self.spend(f"{name} started", start)
            if plain:
                training.log.append(f"epoch=1/1 step=0/{batches}")
                return alternating.STEP.search(training.log[-1])
        elif training.turns[-1].step >= batches - interval:
            self.spend("valid evaluated", EVALUATION)
            training.log.append("epoch")
            if training.log.count("epoch") == int(options.get("--epochs", 1)):
                self.spend("test evaluated", EVALUATION + (0 if plain else CACHE))
                training.log.append("test_perplexity=100.5 test_cache_perplexity=80.5 without_cache=101.5")
                return None
        done = training.turns[-1].step % (batches // interval * interval) if training.turns else 0
        self.spend(f"{name} batches", batch, interval)
        training.log.append(f"step={done + interval}/{batches}")
        return alternating.STEP.search(training.log[-1])


def rehearse(
    extent: bench.Extent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slowness: float = 1.0
) -> tuple[Rehearsal, list[dict[str, Any]]]:
    """Rehearse a benchmark. Return what was counted, and the rows of results.json."""
    rehearsal = Rehearsal(slowness)
    clock = SimpleNamespace(monotonic=lambda: rehearsal.seconds, perf_counter=lambda: rehearsal.seconds)
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(alternating, "time", clock)
    monkeypatch.setattr(bench, "Progress", lambda: progress.Progress(started=0.0))
    monkeypatch.setattr(Training, "_until_step", lambda own, hold: rehearsal.until_step(own, hold))
    monkeypatch.setattr(bench.data, "prepare", lambda _, folder: Data(folder, "WikiText-2"))
    monkeypatch.setattr(bench.data, "cut", lambda _whole, folder, *_: Data(folder, "a slice"))
    models = bench.Models(Path("plain"), [Path("ours")], Path("corpus"))
    monkeypatch.setattr(bench, "stand_ins", lambda *_: models)
    monkeypatch.setattr(bench.artifact, "holds_corpus", lambda folder, _: "plain" in folder.name)
    monkeypatch.setattr(bench.artifact, "megabytes", lambda _: 8.0)
    monkeypatch.setattr(bench.artifact, "packed_megabytes", lambda _: 7.0)
    for name, folder in {
        "ROOT": tmp_path,
        "RESULTS": tmp_path / "results",
        "ASIDE": tmp_path / "aside",
    }.items():
        monkeypatch.setattr(bench, name, folder)
    monkeypatch.setattr(bench, "OVERNIGHT", tmp_path / "overnight.json")
    assert bench.run(replace(extent, call=rehearsal.call), None)
    written = tmp_path / ("aside" if extent.quick else "results") / "results.json"
    return rehearsal, json.loads(written.read_text())


@pytest.mark.parametrize("slowness", [0.5, 1.0, 1.3])
def test_the_whole_benchmark_fits_75_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slowness: float
) -> None:
    rehearsal, rows = rehearse(bench.WHOLE, tmp_path, monkeypatch, slowness)
    assert rehearsal.seconds <= 75 * 60
    assert rehearsal.counts["plain batches"] >= WIKITEXT_2_WORDS // 700 - 50
    assert {row["name"]: row["met"] for row in rows} == {
        "training, same hyperparameters": True,
        "test perplexity after one epoch, same hyperparameters": True,
        "test perplexity in the time of the plain loop's epoch": False,
        "the same with a continuous cache": None,
        "test perplexity of a larger model after 12 hours of training": None,
        "generation, one request": False,
        "generation, 32 requests at once on one endpoint, in all": True,
        "200 requests at once on one endpoint, until all are answered": True,
        "generation with top_k, 32 texts at once": True,
        "generation with top_p, 32 texts at once": False,
        "load, trained artifact to first word": False,
        "artifact, no corpus in it": True,
        "corpus to token ids": False,
        "memory beyond the page cache to encode 1 GiB of text": False,
    }


def test_a_quick_run_starts_few_processes_and_trains_few_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With these counts it takes 48 s of one processor; a busy machine may give it a third of one."""
    rehearsal, rows = rehearse(bench.QUICK, tmp_path, monkeypatch)
    assert rehearsal.counts["plain started"] + rehearsal.counts["ours started"] <= 5
    assert rehearsal.counts["plain batches"] <= 30
    assert rehearsal.counts["ours batches"] <= 60
    assert rehearsal.counts["served"] == 0  # Ray's processes take the longest to start
    assert bench.QUICK.call is bench.call_here  # so no function needs a process and its imports
    assert {row["met"] for row in rows} == {None}  # its figures are no results


def test_the_row_of_the_night_is_the_one_that_was_measured_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "overnight.json"
    monkeypatch.setattr(bench, "OVERNIGHT", kept)
    assert bench.overnight_row().met is None
    assert "not measured" in bench.overnight_row().note
    found = {"test_perplexity": 84.5, "seconds": 43_000, "parameters": 10**7, "epochs": 40}
    found |= {"hparams": {}, "machine": "a machine", "date": "1 January 2026"}
    kept.write_text(json.dumps(found))
    assert bench.overnight_row().met is True
    kept.write_text(json.dumps(found | {"test_perplexity": 85.5}))
    assert bench.overnight_row().met is False
    kept.write_text(json.dumps(found | {"seconds": 50_000}))
    assert bench.overnight_row().met is False
