"""The test perplexity with a continuous cache (continuous_cache.py): a figure of its own, judging no model.

The cache needs the text in its order. So this is the figure of the first MOST_TEST_TOKENS tokens of test,
with one cache over all of them. The activations are those that perplexity.py computes for these tokens, in
its columns. The settings of the cache are the best of a grid on the first MOST_VALID_TOKENS tokens of valid.
Only the first rank computes this.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import distributed
from continuous_cache import CachedText, Numbers, Settings, mixed
from job_log import log_values, quoted, summary
from language_model import LanguageModel
from perplexity import losses_and_activations, perplexity
from vocabulary import TokenIds

MOST_VALID_TOKENS, MOST_TEST_TOKENS = 20_000, 50_000
TOKENS_AT_ONCE = 256

SIZES = (100, 500, 2000)
THETAS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class CachePerplexity:
    """The figure, and how it was measured.

    Attributes:
        perplexity: The perplexity of the first `tokens` tokens of test with the cache.
        perplexity_without: The model's own perplexity of the same tokens.
        tokens: The number of tokens.
        theta: This and the next two are the settings that were chosen on valid (continuous_cache.py).
        share: The cache's share of the probability.
        size: The most words that the cache holds.
    """

    perplexity: float
    perplexity_without: float
    tokens: int
    theta: float
    share: float
    size: int


def needed(own: range, most: int, length: int) -> range:
    """Return the places of the tokens of a split that this rank needs, for this figure and for its own use.

    Args:
        own: The places that it needs anyway (perplexity.own_tokens).
        most: The most tokens that this figure reads.
        length: The number of tokens of the split.
    """
    return range(own.start, max(own.stop, min(most, length))) if distributed.is_first() else own


def measure(model: LanguageModel, valid: TokenIds, test: TokenIds) -> CachePerplexity | None:
    """Return the figure, and log it. If that fails, log it and return None: the model is trained and tested.

    Args:
        model: The model, which stays in evaluation mode.
        valid: The first MOST_VALID_TOKENS tokens of valid, or all if there are fewer.
        test: The first MOST_TEST_TOKENS tokens of test, likewise.
    """
    try:
        model.eval()
        chosen = choose(model, valid)
        own, with_cache = losses(model, test, chosen)
        found = CachePerplexity(
            perplexity(with_cache), perplexity(own), len(test), chosen.theta, chosen.share, chosen.size
        )
    except Exception as error:
        log_values(test_cache_perplexity="none", reason=quoted(summary(error)))
        return None
    log_values(
        test_cache_perplexity=f"{found.perplexity:.2f}",
        without_cache=f"{found.perplexity_without:.2f}",
        cache_tokens=found.tokens,
        cache_theta=found.theta,
        cache_share=found.share,
        cache_size=found.size,
    )
    return found


def choose(model: LanguageModel, tokens: TokenIds) -> Settings:
    """Return the settings with the lowest loss on a text."""
    logs, activations = _read(model, tokens)
    loss_of = {}
    for size in SIZES:
        for theta, cached in zip(THETAS, _cached(tokens, activations, size, THETAS), strict=True):
            for share in SHARES:
                loss_of[Settings(theta, share, size)] = -float(mixed(logs, cached, share).mean())
    return min(loss_of, key=loss_of.__getitem__)


def losses(model: LanguageModel, tokens: TokenIds, settings: Settings) -> tuple[float, float]:
    """Return the mean losses of a text without and with a cache, in nats per token."""
    logs, activations = _read(model, tokens)
    (cached,) = _cached(tokens, activations, settings.size, [settings.theta])
    return -float(logs.mean()), -float(mixed(logs, cached, settings.share).mean())


def _read(model: LanguageModel, tokens: TokenIds) -> tuple[Numbers, Numbers]:
    """Return the log probability of each token, and the activations that predict it."""
    losses, activations = losses_and_activations(model, tokens)
    return -losses.astype(np.float64), activations.astype(np.float64)


def _cached(tokens: TokenIds, activations: Numbers, size: int, thetas: Sequence[float]) -> Numbers:
    """Return the cache's probability of each token (thetas, tokens)."""
    text = CachedText(size, thetas)
    blocks = [slice(start, start + TOKENS_AT_ONCE) for start in range(0, len(tokens), TOKENS_AT_ONCE)]
    return np.concatenate([text.probabilities(activations[block], tokens[block]) for block in blocks], 1)
