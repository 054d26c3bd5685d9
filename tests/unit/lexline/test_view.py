import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from lexline.follow import Snapshot
from lexline.history import Step
from lexline.progress import Training
from lexline.runs import Run
from lexline.view import LiveView, PlainView, view_for

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = Run("arn:execution", "RUNNING", NOW, None)
HALF = Training(epoch=1, epochs=1, step=5, steps=10, words_per_second=1432, train_perplexity=168.0)


def step(name: str, state: str, seconds: float = 2.0, **rest: object) -> Step:
    return Step(name, state, NOW - timedelta(seconds=60), seconds, **rest)  # type: ignore[arg-type]


def snapshot(*steps: Step, training: Training | None = None, phase: str = "") -> Snapshot:
    return Snapshot(
        RUN,
        "sotu",
        "RUNNING",
        list(steps),
        training or Training(),
        training_since=NOW - timedelta(seconds=30) if training else None,
        job_phase=phase,
        now=NOW,
    )


def plain(*snapshots: Snapshot) -> list[str]:
    output = io.StringIO()
    with PlainView(Console(file=output, width=200)) as view:
        for each in snapshots:
            view.show(each)
    return output.getvalue().splitlines()


def live(each: Snapshot) -> str:
    output = io.StringIO()
    with LiveView(Console(file=output, width=120, force_terminal=True, color_system=None)) as view:
        view.show(each)
    return output.getvalue()


def test_without_a_terminal_every_change_is_one_line_and_nothing_is_said_twice() -> None:
    lines = plain(
        snapshot(step("Prepare", "running")),
        snapshot(step("Prepare", "running")),
        snapshot(step("Prepare", "done"), step("Train", "running"), phase="Downloading"),
        snapshot(step("Prepare", "done"), step("Train", "running"), phase="Downloading"),
        snapshot(step("Prepare", "done"), step("Train", "running"), training=HALF),
        snapshot(step("Prepare", "done"), step("Train", "running"), training=HALF),
        snapshot(step("Prepare", "done"), step("Train", "failed", 70.0, error="TrainingFailed")),
    )
    assert lines == [
        "Prepare the text ...",
        "Prepare the text: done after 2.0 s",
        "Train ...",
        "  Downloading",
        "  50%: epoch 1 of 1, 1,432 words/s, perplexity 168",
        "Train: failed after 1 min 10 s (TrainingFailed)",
    ]


def test_waiting_again_for_the_same_job_is_not_news() -> None:
    lines = plain(
        snapshot(step("Train", "running")),
        snapshot(step("Train", "running", visits=2)),
        snapshot(step("Train", "done", visits=2)),
    )
    assert lines == ["Train ...", "Train: done after 2.0 s"]


def test_the_terminal_shows_speed_perplexity_and_time_left() -> None:
    drawn = live(snapshot(step("Prepare", "done"), step("Train", "running"), training=HALF))
    assert "Prepare the text" in drawn
    assert "50%" in drawn
    assert "1,432 words/s" in drawn
    assert "perplexity 168" in drawn
    # Half of it took 30 s.
    assert "about 30 s left" in drawn


def test_before_the_first_line_of_the_log_the_jobs_own_phase_is_shown() -> None:
    assert "Downloading" in live(snapshot(step("Train", "running"), phase="Downloading"))


def test_a_state_this_version_does_not_know_keeps_its_name() -> None:
    assert "RegisterModel" in live(snapshot(step("RegisterModel", "done", retries=2)))
    assert "2 retries" in live(snapshot(step("RegisterModel", "done", retries=2)))


def test_the_display_fits_where_the_output_goes() -> None:
    assert isinstance(view_for(Console(file=io.StringIO())), PlainView)
    assert isinstance(view_for(Console(file=io.StringIO(), force_terminal=True)), LiveView)
