"""The first word vectors of a new model: words that have the same neighbours begin with similar vectors.

    n(v, w)   how often v and w are neighbours: at most 4 words apart, and the closer the more (CLOSENESS)
    p(v, w)   n(v, w) as a share of all pairs
    p(v)      share of v in all pairs
    q(v)      share of v in the sum of all p(v)^0.75, so that rare words count more
    M(v, w)   max(0, log(p(v, w) / (p(v) q(w)))): their positive pointwise mutual information
    vectors   U S, where U S V is the truncated singular value decomposition of M

    decomposition of pointwise mutual information   Levy, Goldberg and Dagan, TACL 2015
    randomised decomposition                        Halko, Martinsson and Tropp, arXiv 0909.4061

Counts are whole numbers, and no pair crosses the columns of a batch. So any number of ranks finds the same
vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import distributed
from language_model import LanguageModel, WordVectors
from vocabulary import TokenIds

MOST_TOKENS = 2**21
"""How many tokens are read, the first ones of each column. They bound the memory, at about 600 MB."""

MOST_WORDS = 2**15
"""How many words get a vector, the most frequent ones. The others begin with zeros."""

CLOSENESS = {1: 12, 2: 6, 3: 4, 4: 3}
"""What a pair of words counts, by the distance between them."""

SMOOTHING = 0.75
SPREAD = 0.1
"""The root mean square of all numbers in the vectors."""

TAIL_SPREAD = 0.058
"""The same for a tail's narrow vectors: that of uniform numbers from -0.1 to 0.1."""


@dataclass(frozen=True)
class Pairs:
    """Counts of pairs of neighbours.

    Attributes:
        numbers: first word * number of words + second word of each pair, rising.
        counts: What each pair counts.
    """

    numbers: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


def set_vectors(model: LanguageModel, columns: TokenIds, batch_size: int) -> None:
    """Set the word vectors of a new model on the CPU. Every rank calls this; only the first one's are set.

    The vectors stay random if there are no more words than dimensions, or no word has neighbours of its own.

    Args:
        model: The model. A tail's narrow vectors become the best approximation of the wide ones.
        columns: This rank's columns of the training text (rows, own columns).
        batch_size: The number of columns of all ranks.
    """
    size = model.shape.vocabulary_size
    words = min(size, MOST_WORDS)
    targets = [model.encoder] if model.shape.tied else [model.encoder, model.decoder.vectors]
    width = max(vectors.head.shape[1] for vectors in targets)
    if width >= size:
        return
    pairs = distributed.gather_objects(count(columns[: max(2, MOST_TOKENS // batch_size)], words))
    if not distributed.is_first():
        return
    information = mutual_information(add(pairs), words)
    if not len(information.values()):
        return
    found = decompose(information, width)
    for vectors in targets:
        _set(vectors, found[:, : vectors.head.shape[1]])


def count(columns: TokenIds, words: int) -> Pairs:
    """Count the neighbours within each column of a text, in the text's order, among the first words."""
    found = []
    for distance, closeness in CLOSENESS.items():
        before, after = columns[:-distance], columns[distance:]
        known = (before < words) & (after < words)
        pairs = before[known].astype(np.int64) * words + after[known]
        numbers, counts = np.unique(pairs, return_counts=True)
        found.append(Pairs(numbers, counts * closeness))
    return add(found)


def add(parts: Sequence[Pairs]) -> Pairs:
    """Add up counts."""
    numbers, places = np.unique(np.concatenate([part.numbers for part in parts]), return_inverse=True)
    # float64 holds the sums exactly: they are far below 2^53.
    counts = np.bincount(places, np.concatenate([part.counts for part in parts]))
    return Pairs(numbers, counts.astype(np.int64))


def decompose(information: Tensor, width: int) -> Tensor:
    """Return vectors (words, width). The first columns tell the most.

    Args:
        information: What `mutual_information` returns.
        width: Numbers in a vector.
    """
    left, values, _ = torch.svd_lowrank(information, q=min(width, len(information)), niter=2)
    vectors = torch.zeros(len(left), width)
    vectors[:, : len(values)] = left * values
    return vectors * (SPREAD / vectors.square().mean().sqrt())


def mutual_information(pairs: Pairs, words: int) -> Tensor:
    """Return the positive pointwise mutual information of words, a sparse matrix (words, words)."""
    places = np.stack(np.divmod(pairs.numbers, words))
    # A neighbour is one on either side.
    both = _sparse(np.hstack([places, places[::-1]]), np.tile(pairs.counts, 2), words)
    places, counts = both.indices().numpy(), both.values().numpy()
    own = np.bincount(places[0], counts, words)
    smoothed = own**SMOOTHING
    expected = own[places[0]] * (smoothed / smoothed.sum())[places[1]]
    information = np.log(counts / expected)
    positive = information > 0
    return _sparse(places[:, positive], information[positive].astype(np.float32), words)


def _sparse(places: npt.NDArray[np.int64], values: npt.NDArray[np.generic], size: int) -> Tensor:
    """Return a sparse matrix (size, size), in which values at the same place are added."""
    return torch.sparse_coo_tensor(
        torch.from_numpy(places), torch.from_numpy(values), (size, size), check_invariants=False
    ).coalesce()


@torch.no_grad()
def _set(vectors: WordVectors, found: Tensor) -> None:
    """Copy vectors (words, width), those of a tail in as few dimensions as it has. Other words get zeros."""
    words = len(found)
    vectors.head.zero_()[:words].copy_(found[: vectors.shape.head])
    for (start, end, narrow), tail, widen in zip(
        vectors.shape.tails, vectors.tails, vectors.widen, strict=True
    ):
        wide = found[start:end]
        # The directions in which the rows differ most, by Eckart and Young's theorem. eigh's rise.
        _, directions = torch.linalg.eigh(wide.T @ wide)
        directions = directions[:, -narrow:]
        rows = wide @ directions
        tail.zero_()
        spread = float(rows.square().mean().sqrt()) if len(rows) else 0.0
        if spread > 0:
            tail[: len(rows)].copy_(rows * (TAIL_SPREAD / spread))
            widen.copy_(directions.T * (spread / TAIL_SPREAD))
