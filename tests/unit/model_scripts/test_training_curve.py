"""The training curve: an SVG that a page can embed, for any number of epochs."""

import math
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import training_curve
from metrics import Epoch, Metrics
from tests.unit.model_scripts.conftest import Capture, Patch


def measured(losses: list[tuple[float, float]], test_loss: float = 4.0) -> Metrics:
    """The metrics of epochs with these losses on train and valid."""
    sizes = {"world_size": 1, "batch_size": 1, "bptt": 1, "vocabulary_size": 9, "parameters": 9}
    metrics = Metrics(
        artifact=Path(),
        output=Path(),
        recipe="fast",
        tokenizer="prose",
        notes=[],
        tokens={},
        unknown_share={"test": 0.1},
        test_words=9,
        started=0.0,
        test_loss=test_loss,
        **sizes,
    )
    metrics.epochs = [Epoch(number, 1.0, 1.0, 1.0, *both) for number, both in enumerate(losses, start=1)]
    metrics.best_epoch = min(metrics.epochs, key=lambda epoch: epoch.valid_loss).epoch
    return metrics


@pytest.mark.parametrize(
    "losses",
    [
        [(5.5, 5.2)],
        [(6.0, 5.5), (5.0, 4.5), (4.5, 4.7)],
        [(1e6, 600.0), (6.0, 5.5)],
        [(math.nan, 5.0), (600.0, 500.0)],
        [(800.0, 600.0)],
        [(3 + 3 / epoch, 4 + 2 / epoch) for epoch in range(1, 751)],
    ],
    ids=["one epoch", "some epochs", "infinite perplexity", "no number", "all too high", "many epochs"],
)
def test_the_curve_is_one_self_contained_element(tmp_path: Path, losses: list[tuple[float, float]]) -> None:
    path = tmp_path / "curve.svg"
    training_curve.save(measured(losses), path)
    text = path.read_text()
    assert len(text) < 100_000
    svg = ET.fromstring(text)
    assert text.startswith("<svg ")
    assert (svg.get("width"), svg.get("viewBox")) == ("540pt", "0 0 540 320")
    assert not re.search(r"<script|<style|<image|<!|\?xml|url\((?!#)", text)
    references = [value for element in svg.iter() for name, value in element.items() if "href" in name]
    assert all(reference.startswith("#") for reference in references)
    words = {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}
    labels = {(word or "").partition(":")[0] for word in words}
    assert {"train, with dropout", "valid", "test"} <= labels
    one = len(losses) == 1
    assert {"Perplexity after the only epoch"} if one else {"Epoch", "Perplexity (logarithmic)"} <= words


def test_one_epoch_is_drawn_as_a_bar_for_each_text(tmp_path: Path) -> None:
    training_curve.save(measured([(6.0, 5.0)], test_loss=4.9), tmp_path / "curve.svg")
    svg = ET.fromstring((tmp_path / "curve.svg").read_text())
    words = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"403.4", "148.4", "134.3"} <= {*words}
    assert "Epoch" not in words


def test_the_drawing_has_no_background_and_uses_its_width(tmp_path: Path) -> None:
    """A page chooses the background. The axes begin and end near the edges."""
    training_curve.save(measured([(6.0, 5.5), (5.0, 4.5), (4.5, 4.7)]), tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    (background,) = re.findall(r'<g id="patch_1">\s*<path [^>]*style="([^"]*)"', text)
    assert "fill: none" in background or "opacity: 0" in background
    (axes,) = re.findall(r'<g id="patch_2">\s*<path d="([^"]*)"', text)
    across = [float(place) for place, _ in re.findall(r"[ML] ([0-9.]+) ([0-9.]+)", axes)]
    assert min(across) < 0.13 * training_curve.WIDTH
    assert max(across) > 0.95 * training_curve.WIDTH


def test_the_same_metrics_give_the_same_bytes(tmp_path: Path) -> None:
    metrics = measured([(6.0, 5.5), (5.0, 4.5)])
    for name in ("first", "second"):
        training_curve.save(metrics, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_the_curve_has_a_title_and_says_in_words_what_it_shows(tmp_path: Path) -> None:
    training_curve.save(measured([(6.0, 4.0), (5.0, 4.5)], test_loss=4.1), tmp_path / "curve.svg")
    svg = ET.fromstring((tmp_path / "curve.svg").read_text())
    assert (svg.get("role"), svg.get("aria-labelledby")) == ("img", "curve-title curve-desc")
    assert [element.text for element in svg[:2]] == [
        "Perplexity by epoch",
        "After epoch 2 the perplexity is 148.4 on train, with dropout, and 90.0 on valid. "
        "Epoch 1 is the best, with 54.6 on valid and 60.3 on test.",
    ]


def test_without_matplotlib_there_is_no_curve(tmp_path: Path, monkeypatch: Patch, capfd: Capture) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    training_curve.save(measured([(6.0, 4.0)]), tmp_path / "curve.svg")
    assert capfd.readouterr().out == "training_curve=none reason=matplotlib-is-not-installed\n"
    assert not list(tmp_path.iterdir())
