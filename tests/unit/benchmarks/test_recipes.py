"""Variations of the recipes: what a child process changes, and that outcomes are kept."""

import importlib
import sys
from pathlib import Path

import pytest

import hyperparameters
import recipes
from benchmarks import recipes as tuning
from benchmarks import varied_training
from benchmarks.alternating import Training
from benchmarks.data import Data
from benchmarks.measured_training import arguments
from benchmarks.recipes import VARIATIONS, Comparison, Outcome, Variation

METRICS = {"parameters": 1234, "valid_perplexity": 90.5, "test_perplexity": 80.25}
SCRIPT = f"""
import json, pathlib
for epoch in "12":
    for step in range(1, 8):
        print(f"epoch={{epoch}}/2 step={{step}}/7", flush=True)
pathlib.Path("output/metrics.json").write_text(json.dumps({METRICS}))
"""


@pytest.fixture
def comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """A comparison with a script in place of train.py."""
    folder = tmp_path / "text"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / split).write_text("the cat sat on the mat\n" * 60)

    def training(_: Comparison, _variation: Variation, place: Path) -> Training:
        (place / "output").mkdir(parents=True, exist_ok=True)
        return Training([sys.executable, "-S", "-c", SCRIPT], {}, place)

    monkeypatch.setattr(tuning, "FOLDER", tmp_path / "recipes")
    monkeypatch.setattr(Comparison, "training", training)
    return Comparison(Data(folder, "a text"), 2, VARIATIONS["fast"])


def test_an_outcome_is_kept_and_not_trained_again(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Comparison, "cost", lambda *_: (5.0, 1.25, 7))
    found = comparison.outcome(VARIATIONS["fast-wide"])
    assert found == Outcome(1234, 14, 5.0, 1.25, 90.5, 80.25)
    monkeypatch.setattr(Comparison, "training", None)
    assert comparison.outcome(VARIATIONS["fast-wide"]) == found


def test_trainings_of_another_kind_have_another_folder(comparison: Comparison) -> None:
    wide, longer = VARIATIONS["fast-wide"], Comparison(comparison.text, 3, comparison.baseline)
    folders = [comparison.folder(VARIATIONS["fast"]), comparison.folder(wide), longer.folder(wide)]
    (comparison.text.folder / "train").write_text("another text\n")
    folders.append(comparison.folder(wide))
    assert len(set(folders)) == 4


def test_the_cost_of_a_step_is_measured_in_turn_with_the_baseline(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    monkeypatch.setattr(tuning, "processor_seconds", lambda training: clock(training, order))
    seconds, cost, steps = comparison.cost(VARIATIONS["fast-wide"], tuning.FOLDER / "own")
    assert (seconds, cost, steps) == (3000, 1.5, 7)
    assert order[:4] == ["timed", "timed_baseline"] * 2


def clock(training: Training, order: list[str]) -> float:
    """Return a processor time of 3 s a step, and of 2 s for the baseline. Append to the order of turns."""
    name = training.directory.name
    if not order or order[-1] != name:
        order.append(name)
    return {"timed": 3.0, "timed_baseline": 2.0}[name] * training.turns[-1].step


@pytest.mark.parametrize("variation", VARIATIONS.values(), ids=VARIATIONS)
def test_each_variation_changes_what_exists(variation: Variation, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = hyperparameters.parse(arguments(variation.hparams)).recipe
    # monkeypatch restores these afterwards.
    monkeypatch.setitem(recipes.BY_NAME, recipe, recipes.BY_NAME[recipe])
    for constant in variation.constants:
        monkeypatch.setattr(constant, attribute(constant))
    varied_training.change(recipe, variation.recipe, variation.constants)
    for name, value in variation.recipe.items():
        assert getattr(recipes.BY_NAME[recipe], name) == value
    for constant, value in variation.constants.items():
        assert attribute(constant) == value


def attribute(name: str) -> object:
    module, constant = name.split(".")
    return getattr(importlib.import_module(module), constant)


@pytest.mark.parametrize(
    ("fields", "constants", "sentence"),
    [
        ({"momentum": 0}, {}, "unexpected keyword argument 'momentum'"),
        ({}, {"optimisation.MOMENTUM": 0}, "optimisation.py has no constant MOMENTUM"),
    ],
)
def test_a_change_of_what_does_not_exist_is_refused(
    fields: dict[str, object], constants: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SystemExit, match=sentence):
        varied_training.change("fast", fields, constants)


def test_a_failed_training_is_a_row_of_the_table() -> None:
    table = tuning.to_markdown({"fast": Outcome(1_167_079, 568, 61.25, 1.0, 205.6, 188.9), "awd": None})
    lines = table.splitlines()
    assert lines[2] == "| fast | 1,167,079 | 568 | 61.2 | 1.00 | 205.6 | 188.9 |"
    assert lines[3].startswith("| awd | failed |")


def test_the_beginning_of_a_text_is_taken_unchanged(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for split in ("train", "valid", "test"):
        (source / split).write_text("One,  two.\nThree four\n\nfive\n")
    found = tuning.prepare(str(source), 5, tmp_path / "new")
    assert (found.folder / "train").read_text() == "One,  two.\nThree four\n"
    assert (found.folder / "test").read_text() == "One,  two.\n"


def test_the_demos_text_is_prose_in_three_splits(tmp_path: Path) -> None:
    found = tuning.prepare("demo", 10**9, tmp_path)
    sizes = {split: len((found.folder / split).read_text().split()) for split in ("train", "valid", "test")}
    assert 225_000 < sum(sizes.values()) < 300_000
    assert sizes["train"] > 8 * sizes["valid"]
