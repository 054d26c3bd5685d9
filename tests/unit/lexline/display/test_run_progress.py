import io
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from lexline.aws import history
from lexline.aws.history import Step
from lexline.aws.outlook import Outlook
from lexline.aws.training_progress import Progress
from lexline.aws.watcher import Queue, Snapshot, Watcher
from lexline.display import run_progress
from tests.unit.lexline.pipeline import STATES, step_names
from tests.unit.lexline.samples import ONE, RUN, TWO, WHEN

HALF = Progress(epoch=1, epochs=1, step=5, steps=10, words_per_second=1432, train_perplexity=168.0)


def step(name: str, state: str, seconds: float = 2.0, **more: object) -> Step:
    return Step(name, state, WHEN - timedelta(seconds=60), seconds, **more)  # type: ignore[arg-type]


def snapshot(
    *steps: Step, training: Progress | None = None, status: str = "RUNNING", **more: Any
) -> Snapshot:
    since = WHEN - timedelta(seconds=30) if training else None
    shown = Snapshot(RUN, {}, status, list(steps), training or Progress(), since, now=WHEN)
    return replace(shown, **more)


def in_line(snapshot: Snapshot, owner: str, ahead: int) -> Snapshot:
    return replace(snapshot, queue=Queue(owner, ahead))


def shown(*snapshots: Snapshot, **options: Any) -> str:
    """The output for a series of snapshots in a file, or on a console with other options."""
    output = io.StringIO()
    with run_progress.view_for(Console(file=output, width=200, **options)) as view:
        for each in snapshots:
            view.show(each)
    return output.getvalue()


def test_a_file_gets_one_line_for_each_change() -> None:
    prepared, trains = step("ListUploads", "done"), step("Train", "running")
    lines = shown(
        snapshot(step("ListUploads", "running")),
        snapshot(step("ListUploads", "running")),
        snapshot(prepared, trains, job_status="Downloading"),
        snapshot(prepared, trains, job_status="Downloading"),
        snapshot(prepared, trains, training=HALF),
        snapshot(prepared, trains, training=HALF),
        snapshot(prepared, step("Train", "failed", 70.0, error="TrainingFailed"), status="FAILED"),
    )
    assert lines.splitlines() == [
        "List the uploads ...",
        "List the uploads: done after 2.0 s",
        "Train ...",
        "  Downloading",
        "  50%: epoch 1 of 1, 1,432 words/s, perplexity 168",
        "Train: failed after 1 min 10 s (TrainingFailed)",
    ]


def test_a_step_is_done_when_the_next_one_begins_and_a_further_visit_is_no_change() -> None:
    lines = shown(
        snapshot(step("Gather", "running")),
        snapshot(step("Gather", "done")),
        snapshot(step("Gather", "running", pause="QuietPeriod")),
        snapshot(step("Gather", "running", pause="QuietPeriod")),
        snapshot(step("Gather", "running", visits=2)),
        snapshot(step("Gather", "done", visits=2), step("Acquire", "running")),
    )
    assert lines.splitlines() == [
        "Gather the uploads ...",
        "  waiting for more uploads",
        "Gather the uploads: done after 2.0 s",
        "Reserve the endpoint ...",
    ]


def test_the_place_in_line_is_shown_whenever_it_changes() -> None:
    waits = snapshot(step("Acquire", "running"))
    lines = shown(
        waits,
        in_line(waits, ONE, 1),
        in_line(snapshot(step("Acquire", "running", visits=2)), ONE, 1),
        in_line(waits, TWO, 0),
        snapshot(step("Acquire", "done", visits=3), step("ListUploads", "running")),
    )
    assert lines.splitlines() == [
        "Reserve the endpoint ...",
        "  waiting for the endpoint, which run 111111111111 uses; 1 more in line before this run",
        "  waiting for the endpoint, which run 222222222222 uses",
        "Reserve the endpoint: done after 2.0 s",
        "List the uploads ...",
    ]


@pytest.mark.parametrize(
    ("current", "texts"),
    [
        (
            snapshot(step("ListUploads", "done"), step("Train", "running"), training=HALF),
            # Half of the training took 30 s.
            ["List the uploads", "50%", "1,432 words/s", "perplexity 168", "about 30 s left"],
        ),
        (snapshot(step("Train", "running"), job_status="Downloading"), ["Downloading"]),
        (snapshot(step("Gather", "running", pause="QuietPeriod")), ["waiting for more uploads"]),
        (in_line(snapshot(step("Acquire", "running")), ONE, 0), ["which run 111111111111 uses"]),
        (snapshot(step("ReadUploads", "running"), read=0.456), ["40% read"]),
        # A later version may have other states.
        (snapshot(step("Translate", "done", retries=2)), ["Translate", "2 retries"]),
    ],
)
def test_a_terminal_shows_progress_and_what_a_step_waits_for(current: Snapshot, texts: list[str]) -> None:
    drawn = shown(current, force_terminal=True, color_system=None)
    assert [text for text in texts if text not in drawn] == []


def test_every_state_that_takes_time_has_a_label() -> None:
    for name, kind in STATES.items():
        if kind in ("Task", "Map"):
            in_words = run_progress.label(step(name, "done"))
            assert in_words == step_names.in_words(name)
            assert name == "Train" or in_words != name
    pauses = {name for name, kind in STATES.items() if kind == "Wait"}
    assert set(run_progress.PAUSES) == set(history.PAUSES) == pauses


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminal_of_any_width_shows_every_word_and_figure(width: int) -> None:
    progress = replace(HALF, epoch=3, epochs=10, words_per_second=123456.0, valid_perplexity=33278.0)
    gather = step("Gather", "done", 12345.0, retries=3)
    waits = in_line(snapshot(gather, step("Acquire", "running"), step("Train", "running")), ONE, 12)
    output = io.StringIO()
    console = Console(file=output, width=width)
    console.print(run_progress.drawing(replace(waits, training=progress, training_since=WHEN), console))
    words = output.getvalue().split()
    for text in (
        "Gather the uploads",
        "3 h 25 min",
        "3 retries",
        f"which run {'1' * 12} uses; 12 more in line",
        "25%" if width > 40 else "25%,",
        "epoch 3 of 10, 123,456 words/s, perplexity 168, on unseen text",
    ):
        assert set(text.split()) <= set(words), text
    assert "33,278" in output.getvalue()


CURVE = replace(
    HALF,
    epochs=2,
    train_curve=((0.2, 900.0), (0.5, 400.0), (1.0, 200.0)),
    valid_curve=((1, 300.0),),
)


def drawn(*, height: int = 40, width: int = 100, **more: Any) -> str:
    output = io.StringIO()
    console = Console(file=output, width=width, height=height)
    shown = snapshot(step("Source", "done"), step("Train", "running"), training=CURVE, **more)
    console.print(run_progress.drawing(shown, console))
    return output.getvalue()


def test_a_terminal_gets_the_curve_while_the_model_trains_and_afterwards() -> None:
    assert "unseen text" in drawn()
    output = io.StringIO()
    console = Console(file=output, width=100, height=40)
    done = snapshot(step("Train", "done"), step("Evaluate", "running"), training=CURVE)
    console.print(run_progress.drawing(done, console))
    assert " 900 " in output.getvalue()
    assert "unseen text" in output.getvalue()


@pytest.mark.parametrize(("height", "width"), [(12, 100), (40, 39)])
def test_a_terminal_without_room_gets_no_curve(height: int, width: int) -> None:
    assert "⠒" not in drawn(height=height, width=width)


def test_a_file_gets_no_curve_but_the_time_and_the_cost_that_are_left() -> None:
    outlook = Outlook(None, 1.2)
    train = step("Train", "running")
    lines = shown(
        snapshot(train, outlook=outlook), snapshot(train, training=CURVE, outlook=outlook)
    ).splitlines()
    assert lines[1] == (
        "  25%: epoch 1 of 2, 1,432 words/s, perplexity 168. About 1 min 30 s left in the training; the rest "
        "of the training costs about $0.03 on AWS."
    )
    assert not [line for line in lines if "⠒" in line]


def test_the_outlook_is_looked_up_once_when_the_run_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [step("Plan", "running")]
    looks = [
        snapshot(*steps),
        snapshot(*steps, plan={"name": "one"}),
        snapshot(*steps, plan={"name": "one"}),
        snapshot(*steps, plan={"name": "one"}, status="SUCCEEDED"),
    ]
    looked_up: list[Snapshot] = []

    def outlook_of(current: Snapshot) -> Outlook:
        looked_up.append(current)
        return Outlook(None, 1.2)

    left = iter(looks)
    watcher = SimpleNamespace(look=lambda: next(left))
    last = run_progress.follow(
        cast("Watcher", watcher),
        Console(file=io.StringIO()),
        local=True,
        outlook_of=outlook_of,
        sleep=lambda seconds: None,
    )
    assert (last.status, last.outlook) == ("SUCCEEDED", Outlook(None, 1.2))
    assert looked_up == [looks[1]]
