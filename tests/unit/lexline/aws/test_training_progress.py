import math

import pytest

from lexline.aws.training_progress import Progress, update

LOG = """\
2026-11-23 12:00:00,000 sagemaker-training-toolkit INFO     Invoking user script
vocabulary_size=33278 parameters=7345678 train_tokens=2088628
epoch=1/2 step=200/1000 lr=20 words_per_second=1432 train_loss=5.12 train_perplexity=168.02
epoch=1/2 seconds=123.4 valid_loss=5.42 valid_perplexity=226.6
epoch=2/2 step=500/1000 lr=5 words_per_second=1500 train_loss=5.02 train_perplexity=150.0
"""


def after(log: str) -> Progress:
    progress = Progress()
    for line in log.splitlines():
        progress = update(progress, line)
    return progress


def test_the_log_has_epoch_step_speed_and_perplexities() -> None:
    assert after(LOG) == Progress(
        *(2, 2, 500, 1000, 1500, 150.0, 226.6),
        train_curve=((0.2, 168.02), (1.5, 150.0)),
        valid_curve=((1, 226.6),),
    )


def test_a_long_curve_keeps_its_course_with_fewer_points() -> None:
    line = "epoch={}/3000 step=1/2 lr=1 words_per_second=1 train_loss=1 train_perplexity={}"
    curve = after("\n".join(line.format(epoch, 5000 - epoch) for epoch in range(1, 3001))).train_curve
    assert len(curve) <= 1001
    assert curve[-1] == (2999.5, 2000)
    assert [value for _, value in curve] == sorted((value for _, value in curve), reverse=True)


@pytest.mark.parametrize(
    ("log", "fraction"),
    [
        # The validation ends an epoch, and the test perplexity a training that stopped early.
        ("\n".join(LOG.splitlines()[:4]), 0.5),
        (LOG, 0.75),
        (LOG + "test_loss=5.33 test_perplexity=208.3", 1.0),
    ],
)
def test_the_fraction_counts_epochs_and_steps(log: str, fraction: float) -> None:
    assert after(log).fraction == pytest.approx(fraction)


def test_a_training_that_diverged_has_perplexities_inf_and_nan() -> None:
    progress = after(
        "epoch=1/1 step=1/2 lr=20 words_per_second=10 train_loss=inf train_perplexity=inf\n"
        "epoch=1/1 seconds=1 valid_loss=nan valid_perplexity=nan"
    )
    assert progress.train_perplexity == math.inf
    assert progress.valid_perplexity is not None
    assert math.isnan(progress.valid_perplexity)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "epoch=1/2 step=20",
        "epoch=one step=2/3 lr=1 words_per_second=1 train_loss=1 train_perplexity=1",
        "epoch=1/2 step=2/3 train_perplexity=5",
        "epoch=1/2 step=2/0 lr=1 words_per_second=1 train_loss=1 train_perplexity=1",
        "SM_HPS={'epochs': 2}",
        "vocabulary_size=many",
    ],
)
def test_other_lines_change_nothing(line: str) -> None:
    assert update(after(LOG), line) == after(LOG)
