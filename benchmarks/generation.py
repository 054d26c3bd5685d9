"""The speed of Lexline's generation. bench.py calls each function in a new process.

Words are counted as in the plain loop: every drawn token, punctuation and line ends included. A response's
`words` are fewer, because a comma is part of the word before it. The number of threads is torch's default.
"""

import sys
import tempfile
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
from inference import ServedModel
from language_model import WEIGHTS, save_weights
from request_body import Request

WORDS = 300


def tokens_drawn(artifact: Path, requests: int) -> int:
    """Return the number of tokens drawn for requests for WORDS words, with seeds from 0 on."""
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
    """Return the words per second of a single text, by a loaded and warm model."""
    return batch_words_per_second(artifact, 1, words)


def batch_words_per_second(artifact: Path, requests: int = 32, words: int = WORDS) -> float:
    """Return the words per second of all texts together, without a server, by a loaded and warm model."""
    served = inference.load(artifact)
    _words_per_second(served, requests, words // 10)
    return _words_per_second(served, requests, words)


def seconds_to_first_word(artifact: Path) -> float:
    """Return the seconds from an artifact on disk to its first word. Needs a process with cold caches."""
    started = time.perf_counter()
    inference.load(artifact).generate(Request(words=1))
    return time.perf_counter() - started


def write_untrained(text: Path, artifact: Path, arguments: list[str]) -> None:
    """Write the artifact of an untrained model that draws words as often as they occur in a text.

    It is about as fast as a trained one, because speed depends on how rare the drawn words are.

    Args:
        text: The folder of the corpus.
        artifact: The new folder.
        arguments: train.py's.
    """
    chosen = hyperparameters.parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        read = corpus.read(text, "auto", Path(scratch), chosen.max_vocabulary)
    model = recipes.model(chosen, read.counts)
    artifact.mkdir(parents=True)
    train.write_artifact_without_weights(artifact, read, model.shape, chosen)
    save_weights(model, artifact / WEIGHTS)
