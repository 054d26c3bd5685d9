import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from lexline import history, view
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


def snapshot(
    *steps: Step,
    training: Training | None = None,
    phase: str = "",
    in_line: str = "",
    ended: bool = False,
) -> Snapshot:
    return Snapshot(
        RUN,
        "sotu",
        "FAILED" if ended else "RUNNING",
        list(steps),
        training or Training(),
        training_since=NOW - timedelta(seconds=30) if training else None,
        job_phase=phase,
        in_line=in_line,
        now=NOW,
    )


def plain(*snapshots: Snapshot) -> list[str]:
    output = io.StringIO()
    with PlainView(Console(file=output, width=200)) as shown:
        for each in snapshots:
            shown.show(each)
    return output.getvalue().splitlines()


def live(each: Snapshot) -> str:
    output = io.StringIO()
    with LiveView(Console(file=output, width=120, force_terminal=True, color_system=None)) as shown:
        shown.show(each)
    return output.getvalue()


def test_without_a_terminal_every_change_is_one_line_and_nothing_is_said_twice() -> None:
    lines = plain(
        snapshot(step("Prepare", "running")),
        snapshot(step("Prepare", "running")),
        snapshot(step("Prepare", "done"), step("Train", "running"), phase="Downloading"),
        snapshot(step("Prepare", "done"), step("Train", "running"), phase="Downloading"),
        snapshot(step("Prepare", "done"), step("Train", "running"), training=HALF),
        snapshot(step("Prepare", "done"), step("Train", "running"), training=HALF),
        snapshot(step("Prepare", "done"), step("Train", "failed", 70.0, error="TrainingFailed"), ended=True),
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
        snapshot(step("Train", "done", visits=2), step("Evaluate", "running")),
    )
    assert lines == ["Train ...", "Train: done after 2.0 s", "Judge the model ..."]


def test_a_step_that_may_be_entered_again_is_not_called_done() -> None:
    lines = plain(
        snapshot(step("Gather", "running")),
        snapshot(step("Gather", "done")),
        snapshot(step("Gather", "running", pause="QuietPeriod")),
        snapshot(step("Gather", "running", pause="QuietPeriod")),
        snapshot(step("Gather", "running", visits=2)),
        snapshot(step("Gather", "done", visits=2), step("Acquire", "running")),
    )
    assert lines == [
        "Gather the uploads ...",
        "  waiting until no more uploads come",
        "Gather the uploads: done after 2.0 s",
        "Reserve the endpoint ...",
    ]


def test_waiting_in_line_is_told_whenever_it_changes() -> None:
    first, then = "in line for the endpoint, which run a has, 1 more before it", "in line, which run b has"
    lines = plain(
        snapshot(step("Acquire", "running")),
        snapshot(step("Acquire", "running"), in_line=first),
        snapshot(step("Acquire", "running", visits=2), in_line=first),
        snapshot(step("Acquire", "running", visits=2), in_line=then),
        snapshot(step("Acquire", "done", visits=3), step("Prepare", "running")),
    )
    assert lines == [
        "Reserve the endpoint ...",
        f"  {first}",
        f"  {then}",
        "Reserve the endpoint: done after 2.0 s",
        "Prepare the text ...",
    ]


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


def test_the_terminal_shows_what_a_step_waits_for() -> None:
    assert "no more uploads" in live(snapshot(step("Gather", "running", pause="QuietPeriod")))
    assert "run a has" in live(snapshot(step("Acquire", "running"), in_line="in line, which run a has"))


def test_every_state_that_takes_time_is_told_in_words() -> None:
    machine = Path(__file__).parents[3] / "statemachine" / "pipeline.asl.json"
    states = json.loads(machine.read_text())["States"]
    kinds = {name: state["Type"] for name, state in states.items()}
    assert set(view.LABELS) == {name for name, kind in kinds.items() if kind == "Task"}
    pauses = {name for name, kind in kinds.items() if kind == "Wait"}
    assert set(view.PAUSES) == set(history.PAUSES) == pauses


def test_a_state_this_version_does_not_know_keeps_its_name() -> None:
    assert "Translate" in live(snapshot(step("Translate", "done", retries=2)))
    assert "2 retries" in live(snapshot(step("Translate", "done", retries=2)))


def test_the_display_fits_where_the_output_goes() -> None:
    assert isinstance(view_for(Console(file=io.StringIO())), PlainView)
    assert isinstance(view_for(Console(file=io.StringIO(), force_terminal=True)), LiveView)
