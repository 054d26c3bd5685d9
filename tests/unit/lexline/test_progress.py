import math

import pytest

from lexline.progress import Training, read

LOG = """\
2026-11-23 12:00:00,000 sagemaker-training-toolkit INFO     Invoking user script
vocabulary_size=33278 parameters=7345678 train_tokens=2088628
epoch=1/2 step=200/1000 lr=20 words_per_second=1432 train_loss=5.12 train_perplexity=168.02
epoch=1/2 seconds=123.4 valid_loss=5.42 valid_perplexity=226.6
epoch=2/2 step=500/1000 lr=5 words_per_second=1500 train_loss=5.02 train_perplexity=150.0
"""


def after(log: str) -> Training:
    training = Training()
    for line in log.splitlines():
        training = read(training, line)
    return training


def test_a_log_tells_epoch_step_speed_and_perplexities() -> None:
    training = after(LOG)
    assert (training.epoch, training.epochs, training.step, training.steps) == (2, 2, 500, 1000)
    assert training.words_per_second == 1500
    assert training.train_perplexity == 150.0
    assert training.valid_perplexity == 226.6
    assert training.vocabulary_size == 33278
    assert training.fraction == pytest.approx(0.75)


def test_an_epoch_is_done_when_its_validation_is_reported_whatever_its_last_step_said() -> None:
    first_epoch = "\n".join(LOG.splitlines()[:4])
    assert after(first_epoch).fraction == pytest.approx(0.5)


def test_the_test_score_ends_the_training_even_when_it_stopped_early() -> None:
    training = after(LOG + "test_loss=5.33 test_perplexity=208.3")
    assert training.fraction == 1.0
    assert training.test_perplexity == 208.3


def test_diverged_training_is_read_as_inf_and_nan() -> None:
    training = after(
        "epoch=1/1 step=1/2 lr=20 words_per_second=10 train_loss=inf train_perplexity=inf\n"
        "epoch=1/1 seconds=1 valid_loss=nan valid_perplexity=nan"
    )
    assert training.train_perplexity == math.inf
    assert training.valid_perplexity is not None
    assert math.isnan(training.valid_perplexity)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "epoch=1/2 step=20",
        "epoch=one step=2/3 lr=1 words_per_second=1 train_loss=1 train_perplexity=1",
        "epoch=1/2 step=2/3 train_perplexity=5",
        "SM_HPS={'epochs': 2}",
        "vocabulary_size=many",
    ],
)
def test_lines_that_are_not_reports_change_nothing(line: str) -> None:
    training = after(LOG)
    assert read(training, line) == training
