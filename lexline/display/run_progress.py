"""The progress of a run: a display that redraws itself on a terminal, and plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lexline.aws.history import ACQUIRE, READ, TRAIN, Step
from lexline.aws.outlook import Outlook
from lexline.aws.runs import id_in
from lexline.aws.training_progress import Progress
from lexline.aws.watcher import Queue, Snapshot, Watcher
from lexline.display import curve, estimates, formatting, step_names

_WIDE = 80
"""The least width of a terminal for remarks beside the steps."""
PAUSES = {
    "QuietPeriod": "waiting for more uploads",
    "StillAtWork": "waiting until all functions of the aborted run have ended",
}
"""Each Wait state in words."""


def label(step: Step) -> str:
    """Return the name of a step in words, or the state's own name if this version does not know it."""
    return step_names.in_words(step.name)


def position(queue: Queue | None) -> str:
    """Return in words what a run in line for the lease waits for, or ""."""
    if queue is None:
        return ""
    ahead = f"; {queue.ahead} more in line before this run" if queue.ahead else ""
    return f"waiting for the endpoint, which run {id_in(queue.owner)} uses{ahead}"


def training(progress: Progress, status: str = "") -> str:
    """Return the progress of the training in one line: the job's status until the log begins."""
    if not progress.epochs:
        return status
    parts = [f"epoch {progress.epoch} of {progress.epochs}"]
    if progress.words_per_second is not None:
        parts.append(f"{progress.words_per_second:,.0f} words/s")
    if progress.train_perplexity is not None:
        parts.append(f"perplexity {formatting.perplexity(progress.train_perplexity)}")
    if progress.valid_perplexity is not None:
        parts.append(f"on unseen text {formatting.perplexity(progress.valid_perplexity)}")
    return ", ".join(parts)


def remarks(snapshot: Snapshot, step: Step) -> str:
    """Return in words why a step failed, how often it was retried, and what it waits for, or ""."""
    return ", ".join(filter(None, (_problems(step), _waits_for(snapshot, step))))


def _waits_for(snapshot: Snapshot, step: Step) -> str:
    if step.name == READ:
        # In tenths, because without a terminal each remark is a line.
        return f"{math.floor(snapshot.read * 10) * 10}% read" if snapshot.read else ""
    return position(snapshot.queue) if step.name == ACQUIRE else PAUSES.get(step.pause, "")


def _problems(step: Step) -> str:
    retries = f"{step.retries} {'retry' if step.retries == 1 else 'retries'}" if step.retries else ""
    return ", ".join(filter(None, (step.error, retries)))


class LiveView:
    """A display of the steps that redraws itself, with a bar for the training."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot in place of the last one."""
        self._live.update(drawing(snapshot, self._live.console), refresh=True)


def drawing(snapshot: Snapshot, console: Console) -> RenderableType:
    """Return a table of the steps, with a bar and the curve of the training, for a console of this size.

    A narrow console gets remarks below their step instead of beside it, and no bar. A low one gets no curve.
    """
    narrow = console.width < _WIDE
    table = Table.grid(padding=(0, 2))
    table.add_column(width=1 if narrow else 2)
    table.add_column(min_width=None if narrow else 24)
    table.add_column(justify="right", min_width=9, no_wrap=True)
    table.add_column()
    for step in snapshot.steps:
        remark = Text(remarks(snapshot, step), style="red" if step.state == "failed" else "dim")
        name = Text(label(step), style="bold" if step.state == "running" else "")
        table.add_row(
            _sign(step),
            Group(name, remark) if narrow and remark else name,
            Text(formatting.duration(step.elapsed(snapshot.now)), style="dim"),
            *([] if narrow else [remark]),
        )
    parts: list[RenderableType] = [table]
    if snapshot.in_progress(TRAIN):
        parts.append(_sentence(snapshot) if narrow else _bar(snapshot))
    if left := estimates.in_words(snapshot):
        parts.append(Text(left, style="dim"))
    lines = _curve(snapshot, console)
    # The bar's text may take two lines.
    if lines and len(snapshot.steps) + len(parts) + 1 + len(lines) < console.height:
        parts += lines
    return Group(*parts)


def _curve(snapshot: Snapshot, console: Console) -> list[Text]:
    progress = snapshot.training
    return curve.draw(
        progress.train_curve,
        progress.valid_curve,
        progress.epochs,
        console.width,
        plain=not console.encoding.startswith("utf"),
    )


def _sign(step: Step) -> RenderableType:
    if step.state == "running":
        return Spinner("dots", style="cyan")
    return Text("✓", style="green") if step.state == "done" else Text("✗", style="red")


def _bar(snapshot: Snapshot) -> RenderableType:
    progress = snapshot.training
    row = Table.grid(padding=(0, 1))
    row.add_row(
        " ",
        ProgressBar(total=1.0, completed=progress.fraction, width=20, pulse=not progress.epochs),
        f"{progress.fraction:4.0%}" if progress.epochs else "",
        Text(training(progress, snapshot.job_status), style="cyan"),
        Text(time_left(snapshot), style="dim"),
    )
    return row


def _sentence(snapshot: Snapshot) -> RenderableType:
    progress = snapshot.training
    share = f"{progress.fraction:.0%}" if progress.epochs else ""
    parts = (share, training(progress, snapshot.job_status), time_left(snapshot))
    return Text(", ".join(filter(None, parts)), style="cyan")


def time_left(snapshot: Snapshot) -> str:
    """Return in words how long the training will take, or "" if that cannot be estimated."""
    left = estimates.training_left(snapshot)
    return "" if left is None else f"about {formatting.duration(left)} left"


class PlainView:
    """A view that prints a line when a step begins, waits or ends, and at every tenth of the training."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, tuple[str, int]] = {}
        self._tenths = 0
        self._remark = ""

    def show(self, snapshot: Snapshot) -> None:
        """Print what has changed since the last snapshot."""
        for step in snapshot.steps:
            shown = self._shown.get(step.name)
            if step.name == TRAIN and shown and shown[0] == "running":
                self._show_training(snapshot)
            if step.state != "running" and step is snapshot.steps[-1] and not snapshot.ended:
                # A step may be entered again, so its exit does not prove that it is over. The start of the
                # next step does.
                continue
            if shown is None and step.state == "running":
                self._print(f"{label(step)} ...")
            self._show_remark(_waits_for(snapshot, step))
            current = (step.state, step.visits)
            self._shown[step.name] = current
            # A further visit to a step that is still in progress is no news.
            if shown != current and step.state != "running":
                outcome = "done" if step.state == "done" else "failed"
                problems = f" ({_problems(step)})" if _problems(step) else ""
                took = formatting.duration(step.elapsed(snapshot.now))
                self._print(f"{label(step)}: {outcome} after {took}{problems}")

    def _show_training(self, snapshot: Snapshot) -> None:
        tenths = int(snapshot.training.fraction * 10)
        if tenths > self._tenths:
            self._tenths = tenths
            left = estimates.in_words(snapshot)
            after = f". {left}" if left else ""
            self._print(f"  {snapshot.training.fraction:.0%}: {training(snapshot.training)}{after}")
        else:
            self._show_remark(snapshot.job_status)

    def _show_remark(self, remark: str) -> None:
        if remark and remark != self._remark:
            self._remark = remark
            self._print(f"  {remark}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False)


@contextmanager
def view_for(console: Console) -> Iterator[LiveView | PlainView]:
    """Open a view that suits the console: a terminal or a file."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8) as live:
            yield LiveView(live)
    else:
        yield PlainView(console)


def follow(
    watcher: Watcher,
    console: Console,
    *,
    local: bool,
    outlook_of: Callable[[Snapshot], Outlook],
    sleep: Callable[[float], None] = time.sleep,
) -> Snapshot:
    """Show a run until it ends, and return its last snapshot.

    Args:
        watcher: The watcher of the run.
        console: Where to show the run.
        local: Whether the run is on the local cloud.
        outlook_of: Looks up what is known of the run beforehand. It is called once, when the run is planned.
        sleep: Waits between two looks.
    """
    outlook = None
    with view_for(console) as view:
        while True:
            snapshot = watcher.look()
            if outlook is None and snapshot.plan and not snapshot.ended:
                outlook = outlook_of(snapshot)
            snapshot = replace(snapshot, outlook=outlook)
            view.show(snapshot)
            if snapshot.ended:
                return snapshot
            # Step Functions limits how often an account may read histories. Every 3 seconds is far below.
            sleep(0.5 if local else 3)
