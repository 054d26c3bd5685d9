"""Measure training on this machine's GPU: speed, memory, and whether its perplexities are a processor's.

    .venv/bin/python -m benchmarks.gpu [--data PATH] [--words 300000]

It needs an NVIDIA GPU and PyTorch for CUDA, and should take about five minutes, most of them on the
processor. Each row is a run of train.py. `on the processor` is the perplexity of the row's weights, computed
on the processor: it should be the test perplexity, up to rounding. The last row is the training of the row
before it without the GPU. The two differ by more, because a GPU trains in TF32.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks import data
from benchmarks.alternating import TrainingFailed
from benchmarks.bench import machine
from benchmarks.data import ROOT, Data
from benchmarks.measured_training import HyperparameterValues, our_training
from benchmarks.progress import Progress

sys.path.insert(0, str(ROOT / "model_scripts"))

import language_model
import perplexity
import tokenizer
from vocabulary import END_OF_LINE_ID, Vocabulary

EPOCHS = 2
AWD: HyperparameterValues = {"recipe": "awd", "emsize": 400, "nhid": 1150, "nlayers": 3, "bptt": 70}
NARROW: HyperparameterValues = {"recipe": "fast", "batch_size": 20}
"""Given a batch_size, recipe fast has the same hyperparameters on a GPU as on a processor."""


@dataclass(frozen=True)
class Case:
    """A training to measure: its name, its hyperparameters, and whether it may use the GPU."""

    name: str
    hparams: HyperparameterValues
    on_gpu: bool = True


CASES = (
    Case("awd, 33 million weights", AWD),
    Case("fast", {"recipe": "fast"}),
    Case("fast, 20 columns", NARROW),
    Case("fast, 20 columns", NARROW, on_gpu=False),
)


def measure(case: Case, text: Data, scratch: Path) -> list[str]:
    """Train to the end and return the row's cells. Raises TrainingFailed."""
    with our_training(text, scratch, case.hparams, EPOCHS) as training:
        if not case.on_gpu:
            training.environment["CUDA_VISIBLE_DEVICES"] = ""
        while training.take_turn(hold=False):
            pass
    metrics = json.loads((scratch / "output" / "metrics.json").read_text(encoding="utf-8"))
    used = metrics["machine"]
    memory = used["gpu_memory"]
    return [
        case.name,
        f"{used['device']}, {used['precision']}",
        f"{metrics['batch_size']}",
        f"{metrics['epochs'][-1]['words_per_second']:,.0f}",
        f"{metrics['test_perplexity']:.4f}",
        f"{perplexity_on_processor(scratch / 'model', text.folder / 'test'):.4f}",
        "-" if memory is None else f"{memory / 2**20:,.0f} MiB",
    ]


def perplexity_on_processor(artifact: Path, text: Path) -> float:
    """Return the perplexity of an artifact's model on a file of text."""
    model, config = language_model.load(artifact)
    known = Vocabulary.load(artifact / language_model.VOCABULARY)
    split = tokenizer.BY_NAME[config["tokenizer"]].split
    lines = text.read_text(encoding="utf-8").splitlines()
    numbers = [number for line in lines for number in (*known.encode(split(line)), END_OF_LINE_ID)]
    return perplexity.perplexity(perplexity.mean_loss(model, np.array(numbers, dtype=np.int32)))


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the table."""
    head = ("training", "device", "columns", "words/s", "test perplexity", "on the processor", "GPU memory")
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all cases and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder or tar archive of train, valid and test")
    parser.add_argument("--words", type=int, default=300_000, help="words of train to read")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(
            f"PyTorch {torch.__version__} finds no GPU here. Run this script on a machine with an NVIDIA GPU "
            "and PyTorch for CUDA (pip install torch, not from the index of wheels for processors).",
            file=sys.stderr,
        )
        return 1
    progress = Progress()
    (ROOT / "build").mkdir(exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gpu-", dir=ROOT / "build") as name:
        whole = data.prepare(options.data, Path(name) / "data")
        text = data.cut(whole, Path(name) / "slice", options.words, options.words // 10)
        progress.say(f"{options.words:,} words of {whole.name}, {EPOCHS} epochs; {machine()}")
        for number, case in enumerate(CASES):
            try:
                rows.append(measure(case, text, Path(name) / str(number)))
            except TrainingFailed as problem:
                print(problem, file=sys.stderr)
                return 1
            progress.say(" | ".join(rows[-1]))
    print("\n" + to_markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
