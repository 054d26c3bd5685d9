"""The test perplexity with a cache is a figure of its own."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import cache_perplexity
from cache_perplexity import CachePerplexity, choose, losses, measure, needed
from continuous_cache import CachedText, Settings, mixed
from language_model import LanguageModel, Shape
from perplexity import FEWEST_ROWS, losses_and_activations, mean_loss
from tests.unit.model_scripts.conftest import Capture, Job, Patch, packed
from vocabulary import TokenIds


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(Shape(30, emsize=8, nhid=8, nlayers=2, tied=False, cutoffs=(8,), widths=(4,)))
    return model.eval()


def some_tokens(count: int) -> TokenIds:
    return np.random.default_rng(7).integers(0, 30, count).astype(np.int32)


def test_one_cache_serves_the_whole_text_in_its_order(model: LanguageModel, monkeypatch: Patch) -> None:
    """The model reads three columns; the cache reads on from one to the next."""
    monkeypatch.setattr(cache_perplexity, "TOKENS_AT_ONCE", 70)
    tokens = some_tokens(3 * FEWEST_ROWS + 5)
    settings = Settings(theta=0.7, share=0.2, size=300)
    own, activations = losses_and_activations(model, tokens)
    (cached,) = CachedText(settings.size, [settings.theta]).probabilities(activations, tokens)
    expected = -float(mixed(-own.astype(np.float64), cached, settings.share).mean())
    without, with_cache = losses(model, tokens, settings)
    assert with_cache == expected
    assert without == pytest.approx(mean_loss(model, tokens), rel=1e-5)


def test_the_settings_are_those_with_the_lowest_loss(model: LanguageModel, monkeypatch: Patch) -> None:
    monkeypatch.setattr(cache_perplexity, "SIZES", (5, 40))
    monkeypatch.setattr(cache_perplexity, "THETAS", (0.1, 1.0))
    monkeypatch.setattr(cache_perplexity, "SHARES", (0.05, 0.4))
    tokens = np.tile(some_tokens(20), 6)
    chosen = choose(model, tokens)
    all_settings = [Settings(t, share, size) for t in (0.1, 1.0) for share in (0.05, 0.4) for size in (5, 40)]
    assert chosen == min(all_settings, key=lambda settings: losses(model, tokens, settings)[1])
    # Words come again after 20 others.
    assert (chosen.size, chosen.share) == (40, 0.4)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_text_of_few_words_has_a_figure(model: LanguageModel, count: int) -> None:
    found = measure(model, some_tokens(count), some_tokens(count))
    assert found is not None
    assert found.tokens == count
    assert math.isfinite(found.perplexity)


def test_a_failure_is_logged_and_fails_no_job(model: LanguageModel, capfd: Capture) -> None:
    assert measure(model, some_tokens(0), some_tokens(9)) is None
    assert capfd.readouterr().out.startswith('test_cache_perplexity=none reason="')


@pytest.mark.parametrize(("own", "places"), [(range(0), range(50)), (range(20), range(50))])
def test_only_the_first_rank_needs_more_tokens(own: range, places: range, monkeypatch: Patch) -> None:
    assert needed(own, 50, 100) == places
    assert needed(range(100), 50, 100) == range(100)
    assert needed(own, 500, 50) == places
    monkeypatch.setenv("RANK", "1")
    assert needed(own, 50, 100) == own


def test_the_job_logs_the_figure_and_keeps_it_in_the_artifact(trained: Job) -> None:
    found = trained.metrics()["cache"]
    assert found["tokens"] == trained.metrics()["test_tokens"]
    assert found["perplexity_without"] == pytest.approx(trained.metrics()["test_perplexity"], rel=1e-4)
    assert json.loads((trained.model / "metrics.json").read_text())["cache"] == found
    assert found["theta"] in cache_perplexity.THETAS
    assert found["share"] in cache_perplexity.SHARES
    assert found["size"] in cache_perplexity.SIZES


def test_no_figure_of_the_gate_depends_on_the_cache(
    corpus_folder: Path, trained: Job, tmp_path: Path, capfd: Capture, monkeypatch: Patch
) -> None:
    """All else of a job's metrics and log is the same, whatever the figure with the cache is."""
    champion = packed(trained.model, tmp_path / "champion")
    outcomes, absurd = [], CachePerplexity(math.inf, 1.0, 3, 0.1, 0.1, 100)
    for name in ("measured", "absurd"):
        job = Job(tmp_path / name, corpus_folder, champion)
        assert job.run(epochs=1) == 0
        metrics = job.metrics()
        cache = metrics.pop("cache")
        for timed in ("seconds", "machine", "epochs"):
            metrics.pop(timed)
        log = [line for line in capfd.readouterr().out.splitlines() if line.startswith(("test_", "champion"))]
        outcomes.append((metrics, log[:2]))
        if name == "measured":
            assert log[2].startswith(f"test_cache_perplexity={cache['perplexity']:.2f} without_cache=")
            monkeypatch.setattr(cache_perplexity, "measure", lambda *_: absurd)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0]["comparison"]["comparable"]
    assert (cache["perplexity"], cache["perplexity_without"]) == (None, 1.0)
