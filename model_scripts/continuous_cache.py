"""The continuous cache: the words that a text has already become more probable in it.

    P(w)    the model's probability that the next word is w, given its activations h
    C(w)    proportional to the sum of exp(theta * h . h_i) over those of the last `size` words of the text
            that are w, where h_i are the activations from which the model predicted the i-th word
    p(w)  = (1 - share) * P(w) + share * C(w)

So a word is expected again if it came before in a similar place. The cache is empty at the beginning of a
text; p is then P. It holds every token, <eos> and <unk> included. When a word is drawn, P and C are those
given that the word is not <unk>.

    Grave, Joulin and Usunier, arXiv 1612.04426; `share` is the paper's lambda

Every sum is one of whole numbers that float64 holds exactly, so a figure depends on neither the block
of words that is read at once nor the number of threads.
"""

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vocabulary import UNKNOWN_ID

Numbers = npt.NDArray[np.float64]
Words = npt.NDArray[np.integer]

SUM_BITS = 52
"""One bit fewer than float64 has, because rounding to whole numbers may enlarge a sum."""

WEIGHT_BITS = 32
"""The largest weight is 2^WEIGHT_BITS, so the weights of up to 2^20 words have an exact sum."""


@dataclass(frozen=True)
class Settings:
    """The settings of a cache, as at the head of this module."""

    theta: float
    share: float
    size: int

    @classmethod
    def of_artifact(cls, directory: Path) -> "Settings | None":
        """Return the settings that training chose, or None if it chose none: an earlier version's did not."""
        path = directory / "metrics.json"
        found = json.loads(path.read_text(encoding="utf-8")).get("cache") if path.exists() else None
        return found and cls(found["theta"], found["share"], found["size"])


class CachedText:
    """A text that is read block by block, with the words before the block in a cache.

    Several values of theta are tried at once.
    """

    def __init__(self, size: int, thetas: Sequence[float]) -> None:
        self._size, self._thetas = size, thetas
        self._keys: Numbers | None = None
        self._words: Words = np.empty(0, np.int64)

    def probabilities(self, activations: npt.NDArray[np.floating], words: Words) -> Numbers:
        """Return C of each of the next words of the text, and add them to the cache.

        Args:
            activations: Those from which the model predicts the words (n, width), from -1 to 1.
            words: The words (n).

        Returns:
            A row for each theta (thetas, n). NaN for the first word of the text, for which there is no C.
        """
        keys = _keys(activations)
        before = 0 if self._keys is None else len(self._keys)
        held = keys if self._keys is None else np.concatenate([self._keys, keys])
        held_words = np.concatenate([self._words, words])
        scores = keys @ held.T
        ago = (before + np.arange(len(words)))[:, None] - np.arange(len(held))
        scores[(ago < 1) | (ago > self._size)] = -np.inf
        best = scores.max(1, keepdims=True)
        # The first word of the text has nothing before it.
        scores -= np.where(np.isfinite(best), best, 0)
        is_word = words[:, None] == held_words
        found = np.empty((len(self._thetas), len(words)))
        for row, theta in zip(found, self._thetas, strict=True):
            weights = _weights(scores, theta, keys.shape[1])
            with np.errstate(invalid="ignore"):
                np.divide(
                    (weights * is_word).sum(1, dtype=np.float64), weights.sum(1, dtype=np.float64), out=row
                )
        self._keys, self._words = held[-self._size :].copy(), held_words[-self._size :]
        return found


class History:
    """The words that a text has already, to draw its next word from. Words are added one by one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._activations: deque[npt.NDArray[np.float32]] = deque(maxlen=settings.size)
        self._words: deque[int] = deque(maxlen=settings.size)

    @property
    def share(self) -> float:
        """The cache's share of the probability."""
        return self._settings.share

    def add(self, activations: npt.NDArray[np.float32], word: int) -> None:
        """Add a word, given the activations (width) before it."""
        self._activations.append(activations)
        self._words.append(word)

    def copy(self) -> "History":
        """Return the history of another text that begins with the same words."""
        twin = History(self._settings)
        twin._activations, twin._words = self._activations.copy(), self._words.copy()
        return twin

    def entries(self, activations: npt.NDArray[np.float32]) -> tuple[Words, npt.NDArray[np.int64]]:
        """Return the words of the cache but <unk>, each as often as it was added, and their weights.

        The weights are whole numbers in proportion to C, given the activations (width) before the next word.
        """
        words = np.array(self._words, np.int64)
        known = np.flatnonzero(words != UNKNOWN_ID)
        if not len(known):
            return words[:0], words[:0]
        held = _keys(np.concatenate(self._activations).reshape(len(words), -1)[known])
        scores = held @ _keys(activations[None])[0]
        weights = _weights(scores - scores.max(), self._settings.theta, len(activations))
        return words[known], weights.astype(np.int64)

    def mixed(self, logs: Numbers, activations: npt.NDArray[np.float32]) -> Numbers:
        """Return log p of all words, given those of P and the activations (width).

        P includes <unk>. C is scaled by the probability of all other words, so that the mixture is right
        given that the word is not <unk>.
        """
        words, weights = self.entries(activations)
        if not len(words):
            return logs
        distinct, place = np.unique(words, return_inverse=True)
        cached = np.bincount(place, weights) / int(weights.sum()) * -math.expm1(logs[UNKNOWN_ID])
        mixture = logs + math.log1p(-self.share)
        mixture[distinct] = mixed(logs[distinct], cached, self.share)
        return mixture


def mixed(log_probabilities: Numbers, cached: Numbers, share: float) -> Numbers:
    """Return log p of words, given log P and C; where C is NaN, p is P."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mixture = np.logaddexp(log_probabilities + math.log1p(-share), np.log(share * cached))
    return np.where(np.isnan(cached), log_probabilities, mixture)


def _step(width: int) -> float:
    """Return the unit of keys: no sum of `width` products of them exceeds 2^SUM_BITS."""
    return 2.0 ** -((SUM_BITS - width.bit_length()) // 2)


def _keys(activations: npt.NDArray[np.floating]) -> Numbers:
    """Return activations (n, width) as multiples of `_step`."""
    keys: Numbers = np.rint(activations.astype(np.float64) / _step(activations.shape[1]))
    return keys


def _weights(scores: Numbers, theta: float, width: int) -> npt.NDArray[np.float32]:
    """Return exp(theta * score) as whole numbers, given products of keys less the largest of their row."""
    weights = np.exp((scores * (theta * _step(width) ** 2)).astype(np.float32))
    weights *= 2.0**WEIGHT_BITS
    return np.rint(weights, out=weights)
