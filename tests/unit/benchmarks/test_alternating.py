"""Trainings that run in turn, with a script in place of the training."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from benchmarks import alternating, measured_training
from benchmarks.alternating import Training, TrainingFailed, Turn, batches_per_second
from benchmarks.data import Data

STEPS = """
for step in range(1, 5):
    print(f"epoch=1/1 step={step * 10}/40 lr=20", flush=True)
print("epoch=1/1 valid_perplexity=90.5", flush=True)
print("test_perplexity=80.25", flush=True)
"""


HELD_STEPS = f"""
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])
def print(line, flush, show=print):
    show(line, flush=flush)
    if "step=" in line:
        signal.sigwait([signal.SIGCONT])
{STEPS}
"""
"""After each step line the script waits until it was held and went on."""


def script(tmp_path: Path, source: str) -> Training:
    path = tmp_path / "train.py"
    path.write_text(source)
    return Training([sys.executable, "-S", path], {}, tmp_path)


def test_a_training_stands_still_when_it_is_not_its_turn_and_its_clock_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = 0.0
    clock = time.perf_counter
    monkeypatch.setattr(alternating, "time", SimpleNamespace(perf_counter=lambda: clock() + pause))
    with script(tmp_path, HELD_STEPS) as training:
        training.take_turn()
        assert training.process is not None
        process = psutil.Process(training.process.pid)
        deadline = time.monotonic() + 240
        while process.status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pause = 1e6
        while training.take_turn():
            pass
        assert [turn.step for turn in training.turns] == [10, 20, 30, 40]
        assert sum(turn.seconds for turn in training.turns) <= training.seconds < pause


def test_figures_come_from_what_a_training_logged(tmp_path: Path) -> None:
    with script(tmp_path, STEPS) as training:
        while training.take_turn(hold=False):
            pass
        assert training.figure("test_perplexity") == 80.25
        with pytest.raises(TrainingFailed, match="logged no train_loss"):
            training.figure("train_loss")
        training.log.append('test_cache_perplexity=none reason="no disk" cache_loss=inf cache_share=1e-05')
        assert training.figure_if_logged("test_cache_perplexity") is None
        assert training.figure_if_logged("cache_loss") == float("inf")
        assert training.figure_if_logged("cache_share") == 1e-05


def test_a_training_is_gone_after_its_with_even_when_it_stood_still(tmp_path: Path) -> None:
    with script(tmp_path, HELD_STEPS) as training:
        training.take_turn()
        assert training.process is not None
        process = psutil.Process(training.process.pid)
    assert not process.is_running()


def test_a_training_that_fails_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        script(tmp_path, "raise SystemExit('batch_size 9 is too large')") as training,
        pytest.raises(TrainingFailed, match=r"(?s)ended with code 1:\nbatch_size 9 is too large"),
    ):
        training.take_turn()


def test_the_first_turn_and_turns_in_which_an_epoch_ended_have_no_speed() -> None:
    taken = [Turn(50, 120, 9.0), Turn(100, 120, 2.5), Turn(50, 120, 5.0), Turn(100, 120, 5.0)]
    assert batches_per_second(taken) == [20.0, 10.0]


def recorded(taken: list[Turn], evaluating: float = 0.0) -> Training:
    training = Training([], {}, Path())
    training.turns = taken
    training.seconds = sum(turn.seconds for turn in taken) + evaluating
    return training


def test_speeds_are_compared_in_pairs_of_turns_that_were_side_by_side() -> None:
    # Plain reads in a turn of its own, so its third turn and our second are a pair.
    plain = recorded([Turn(0, 100, 6.0), Turn(50, 100, 30.0), Turn(100, 100, 25.0)])
    ours = recorded([Turn(50, 100, 8.0), Turn(100, 100, 2.5), Turn(100, 100, 1.0)])
    speeds = measured_training.words_per_second(plain, ours)
    assert speeds.plain == [1400.0]
    assert speeds.ours == [14000.0]
    assert "medians of 1 turns each" in speeds.note


def test_the_long_training_gets_the_epochs_that_fit_with_reading_and_evaluating() -> None:
    # 100 s an epoch and 5 s to start; evaluating valid and test takes 20 s, as in proportion in `same`.
    probe = recorded([Turn(50, 1000, 5.0), Turn(100, 1000, 5.0), Turn(150, 1000, 5.0)])
    same = recorded([Turn(50, 1000, 4.0), Turn(100, 1000, 2.5)], evaluating=10.0)
    budget = (5 + 20 + 3 * (100 + 10)) / measured_training.SLACK
    assert measured_training.epochs_within(budget + 0.01, probe, same) == 3
    assert measured_training.epochs_within(budget - 0.01, probe, same) == 2
    assert measured_training.epochs_within(1.0, probe, same) == 1


def test_a_training_that_is_ended_leaves_its_files_in_its_own_folder(tmp_path: Path) -> None:
    text, folder = Data(tmp_path / "text", "a text"), tmp_path / "training"
    left = folder / "scratch" / "of a training that was killed"
    left.mkdir(parents=True)
    training = measured_training.our_training(text, folder, {}, 1)
    assert training.environment["TMPDIR"] == str(left.parent)
    assert left.parent.is_dir()
    assert not left.exists()
