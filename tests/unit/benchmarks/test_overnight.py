"""The training of a night: planned by its speed, resumed as planned."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import overnight
from benchmarks.alternating import Training, TrainingFailed, Turn
from benchmarks.data import Data
from benchmarks.progress import Progress

STEPS = "[print(f'step={10 * step}/60', flush=True) for step in range(1, 7)]\n"
FAILS = STEPS + "raise SystemExit('interrupted')"
ENDS = STEPS + "print('test_perplexity=84.5 test_cache_perplexity=70.5')"
METRICS = {"parameters": 9, "seconds": 3600.5, "resumed": 1}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / split).write_text("the cat sat\n")
    return folder


def script(monkeypatch: pytest.MonkeyPatch, source: str) -> list[int]:
    """Put a script in the place of train.py. Return the list of the epochs that trainings got."""
    epochs = []

    def training(_text: Data, folder: Path, _hparams: Mapping[str, object], count: int, *_: int) -> Training:
        epochs.append(count)
        (folder / "output").mkdir(parents=True, exist_ok=True)
        (folder / "output" / "metrics.json").write_text(json.dumps(METRICS))
        return Training([sys.executable, "-S", "-c", source], {}, folder)

    monkeypatch.setattr(overnight, "our_training", training)
    return epochs


def test_an_interrupted_training_resumes_with_the_epochs_that_were_planned(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "overnight"
    before = script(monkeypatch, FAILS)
    monkeypatch.setattr(overnight, "epochs_within", lambda *_: 40)
    with pytest.raises(TrainingFailed):
        overnight.run(1, text, folder)
    assert before == [1, 40]  # the probe, then the training
    after = script(monkeypatch, ENDS)
    result = json.loads(overnight.run(1, text, folder).read_text())
    assert after == [40]
    assert (result["test_perplexity"], result["test_cache_perplexity"]) == (84.5, 70.5)
    assert (result["seconds"], result["epochs"], result["hparams"]) == (3600.5, 40, dict(overnight.LARGE))


def test_a_result_of_other_hours_or_another_text_stays_in_its_folder(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, ENDS)
    assert overnight.run(12, text, tmp_path / "overnight") == tmp_path / "overnight" / "overnight.json"


def test_another_plan_is_refused_with_what_to_do(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, ENDS)
    overnight.plan(Data(text, "a text"), 12, tmp_path, Progress())
    with pytest.raises(overnight.OtherPlan, match=r"for 12 hours.*delete the folder"):
        overnight.plan(Data(text, "a text"), 6, tmp_path, Progress())


def test_as_many_epochs_are_planned_as_fit_with_their_evaluation() -> None:
    probe = Training([], {}, Path())
    probe.turns = [Turn(10, 1000, 9.0), Turn(20, 1000, 4.0), Turn(30, 1000, 4.0)]
    epoch = 400 * (1 + overnight.EVALUATION)
    assert overnight.epochs_within(10 * epoch / overnight.SLACK, probe) == 9
    assert overnight.epochs_within(1, probe) == 1
