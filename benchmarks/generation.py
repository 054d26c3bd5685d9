"""Lexline's generation from a trained artifact, called by bench.py, each function in a process of its own.

Words are counted as the plain loop counts its own: every token that is drawn, punctuation and line ends too.
An answer's `words` are fewer, since there a comma is part of the word before it. Threads are torch's default
number.
"""

import sys
import time
from pathlib import Path

import torch  # noqa: F401 - loading is timed with torch imported, as in a server that starts

from benchmarks.data import ROOT

sys.path.insert(0, str(ROOT / "model_scripts"))

import corpus
import hyperparameters
import inference
import recipes
import train
from inference import Request, ServedModel
from language_model import WEIGHTS, save_weights

WORDS = 300


def tokens_drawn(artifact: Path, requests: int) -> int:
    """How many tokens answer so many requests for WORDS words, with seeds from 0 on."""
    return _draw(inference.load(artifact), requests, WORDS)


def _draw(served: ServedModel, requests: int, words: int) -> int:
    tokens = 0
    running = [served.begin(Request(seed=seed, words=words)) for seed in range(requests)]
    while running:
        served.step(running)
        tokens += len(running)
        running = [run for run in running if not run.done]
    return tokens


def _words_per_second(served: ServedModel, requests: int, words: int) -> float:
    started = time.perf_counter()
    tokens = _draw(served, requests, words)
    return tokens / (time.perf_counter() - started)


def single_words_per_second(artifact: Path, words: int = WORDS) -> float:
    """Words a second of one text on its own, by a model that is loaded and warm."""
    return batch_words_per_second(artifact, 1, words)


def batch_words_per_second(artifact: Path, requests: int = 32, words: int = WORDS) -> float:
    """Words a second, in all, of as many texts at once, without a server, by a loaded and warm model."""
    served = inference.load(artifact)
    _words_per_second(served, requests, words // 10)
    return _words_per_second(served, requests, words)


def seconds_to_first_word(artifact: Path) -> float:
    """From an artifact on disk to its first word. For a fresh process: only modules may be loaded before."""
    started = time.perf_counter()
    inference.load(artifact).generate(Request(words=1))
    return time.perf_counter() - started


def write_untrained(text: Path, artifact: Path, arguments: list[str]) -> None:
    """The artifact of an untrained model for a text, which draws words as often as the text holds them.

    So it is about as fast as a trained one: speed depends on how rare the drawn words are. arguments:
    train.py's.
    """
    chosen, read = hyperparameters.parse(arguments), corpus.read(text, "auto")
    counts = train.count(read.splits["train"], len(read.vocabulary))
    model = recipes.model(chosen, counts)
    artifact.mkdir(parents=True)
    train.write_artifact_without_weights(artifact, read, model.shape, chosen)
    save_weights(model, artifact / WEIGHTS)
