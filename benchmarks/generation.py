"""The speed of Lexline's generation. bench.py calls each function in a new process.

Words are counted as in the plain loop: every drawn token, punctuation and line ends included. A response's
`words` are fewer, because a comma is part of the word before it. The number of threads is torch's default.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
TEXTS = 15
RESTRICTIONS: dict[str, dict[str, Any]] = {
    "top_k 40": {"top_k": 40},
    "top_p 0.9": {"top_p": 0.9},
    "top_k 40 and top_p 0.9": {"top_k": 40, "top_p": 0.9},
    "min_p 0.05": {"min_p": 0.05},
    "repetition_penalty 1.2": {"repetition_penalty": 1.2},
}
"""Ways to restrict the words that are drawn, as fields of a request."""


def tokens_drawn(artifact: Path, requests: int, words: int = WORDS) -> int:
    """Return the number of tokens drawn for requests for so many words, with seeds from 0 on."""
    return _draw(inference.load(artifact), requests, words)


def _draw(served: ServedModel, requests: int, words: int, **how: Any) -> int:
    tokens = 0
    running = [served.begin(Request(**{"seed": seed, "words": words, **how})) for seed in range(requests)]
    while running:
        served.step(running)
        tokens += len(running)
        running = [run for run in running if not run.done]
    return tokens


def _words_per_second(served: ServedModel, requests: int, words: int, **how: Any) -> float:
    started = time.perf_counter()
    tokens = _draw(served, requests, words, **how)
    return tokens / (time.perf_counter() - started)


def single_words_per_second(artifact: Path, words: int = WORDS) -> float:
    """Return the words per second of a single text, by a loaded and warm model.

    A text of 300 words takes a twentieth of a second, which a busy moment can double. So it is the median of
    several texts, one after another.
    """
    served = inference.load(artifact)
    _words_per_second(served, 1, words)
    return statistics.median(_words_per_second(served, 1, words, seed=seed) for seed in range(TEXTS))


def batch_words_per_second(artifact: Path, requests: int = 32, words: int = WORDS) -> float:
    """Return the words per second of all texts together, without a server, by a loaded and warm model."""
    served = inference.load(artifact)
    _words_per_second(served, requests, words // 10)
    return _words_per_second(served, requests, words)


def slowdowns(artifact: Path, requests: int = 32, words: int = 60, turns: int = 5) -> dict[str, float]:
    """Return how many times as long a word takes with each restriction as without any.

    The two are drawn in turn. Each figure is the median of the turns.
    """
    served = inference.load(artifact)
    _words_per_second(served, requests, words // 10)
    ratios: dict[str, list[float]] = {name: [] for name in RESTRICTIONS}
    for _ in range(turns):
        for name, how in RESTRICTIONS.items():
            plain = _words_per_second(served, requests, words)
            ratios[name].append(plain / _words_per_second(served, requests, words, **how))
    return {name: statistics.median(found) for name, found in ratios.items()}


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
