"""Two ways to show a run as it goes: a display that redraws itself, and plain lines where there is no
terminal.
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lexline import wording
from lexline.follow import ACQUIRE, TRAIN, Snapshot
from lexline.history import Step
from lexline.progress import Training

LABELS = {
    "Plan": "Check the request",
    "Gather": "Gather the uploads",
    "Acquire": "Reserve the endpoint",
    "Prepare": "Prepare the text",
    "Source": "Get the scripts",
    "Champion": "Look at what serves",
    "Train": "Train",
    "Evaluate": "Judge the model",
    "Register": "Register the model",
    "FindModel": "Find the model",
    "CreateModel": "Create the model",
    "Deploy": "Deploy the endpoint",
    "SmokeTest": "Generate a first text",
    "Finish": "Settle scaling and tear-down",
    "TearDown": "Tear down",
    "Compensate": "Undo what was half-made",
    "Report": "Report",
}
PAUSES = {
    "QuietPeriod": "waiting until no more uploads come",
    "StillAtWork": "waiting until nothing of the aborted run is at work",
}


def label(step: Step) -> str:
    """What a step does, for people; a state this module does not know keeps its own name."""
    return LABELS.get(step.name, step.name)


def waiting_words(snapshot: Snapshot, step: Step) -> str:
    """What a step waits for that is not its own work; "" when it waits for nothing else."""
    return snapshot.in_line if step.name == ACQUIRE else PAUSES.get(step.pause, "")


def training_words(training: Training, phase: str) -> str:
    """How the training goes, in one line."""
    if not training.epochs:
        return phase
    parts = [f"epoch {training.epoch} of {training.epochs}"]
    if training.words_per_second is not None:
        parts.append(f"{training.words_per_second:,.0f} words/s")
    if training.train_perplexity is not None:
        parts.append(f"perplexity {wording.perplexity(training.train_perplexity)}")
    if training.valid_perplexity is not None:
        parts.append(f"on unseen text {wording.perplexity(training.valid_perplexity)}")
    return ", ".join(parts)


class LiveView:
    """Redraws the steps in place, with a bar for the training. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, snapshot: Snapshot) -> None:
        self._live.update(_drawing(snapshot), refresh=True)


def _drawing(snapshot: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=2)
    table.add_column(min_width=24)
    table.add_column(justify="right", min_width=9)
    table.add_column()
    for step in snapshot.steps:
        table.add_row(
            _sign(step),
            Text(label(step), style="bold" if step.state == "running" else ""),
            Text(wording.seconds(step.elapsed(snapshot.now)), style="dim"),
            Text(
                ", ".join(filter(None, (_remark(step), waiting_words(snapshot, step)))),
                style="red" if step.state == "failed" else "dim",
            ),
        )
    parts: list[RenderableType] = [table]
    if snapshot.trains:
        parts.append(_bar(snapshot))
    return Group(*parts)


def _sign(step: Step) -> RenderableType:
    if step.state == "running":
        return Spinner("dots", style="cyan")
    return Text("✓", style="green") if step.state == "done" else Text("✗", style="red")


def _remark(step: Step) -> str:
    remarks = []
    if step.error:
        remarks.append(step.error)
    if step.retries:
        remarks.append(f"{step.retries} {'retry' if step.retries == 1 else 'retries'}")
    return ", ".join(remarks)


def _bar(snapshot: Snapshot) -> RenderableType:
    training = snapshot.training
    left = _time_left(snapshot)
    row = Table.grid(padding=(0, 1))
    row.add_row(
        " ",
        ProgressBar(total=1.0, completed=training.fraction, width=20, pulse=not training.epochs),
        f"{training.fraction:4.0%}" if training.epochs else "",
        Text(training_words(training, snapshot.job_phase), style="cyan"),
        Text(f"about {wording.seconds(left)} left" if left is not None else "", style="dim"),
    )
    return row


def _time_left(snapshot: Snapshot) -> float | None:
    """Seconds until the last epoch ends, at the pace so far; None while too little is done to tell."""
    fraction = snapshot.training.fraction
    if snapshot.training_since is None or not 0.02 < fraction < 1.0:
        return None
    return (snapshot.now - snapshot.training_since).total_seconds() * (1 / fraction - 1)


class PlainView:
    """Prints a line when a step begins or ends, what it waits for, and every tenth of the training."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, tuple[str, int]] = {}
        self._tenths = 0
        self._phase = ""
        self._waits = ""

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, snapshot: Snapshot) -> None:
        for step in snapshot.steps:
            self._show_training(snapshot, step)
            if step.state != "running" and step is snapshot.steps[-1] and not snapshot.ended:
                # It may be entered again, to ask once more; the step after it says that it is over.
                continue
            now = (step.state, step.visits)
            before = self._shown.get(step.name)
            if before is None and step.state == "running":
                self._print(f"{label(step)} ...")
            self._show_waiting(waiting_words(snapshot, step))
            if before == now:
                continue
            self._shown[step.name] = now
            if step.state == "running":
                # A second visit only asks again how the same job or endpoint stands.
                continue
            took = wording.seconds(step.elapsed(snapshot.now))
            remark = _remark(step)
            outcome = "done" if step.state == "done" else "failed"
            self._print(f"{label(step)}: {outcome} after {took}" + (f" ({remark})" if remark else ""))

    def _show_waiting(self, words: str) -> None:
        if words and words != self._waits:
            self._waits = words
            self._print(f"  {words}")

    def _show_training(self, snapshot: Snapshot, step: Step) -> None:
        if step.name != TRAIN or self._shown.get(TRAIN, ("",))[0] not in ("running",):
            return
        tenths = int(snapshot.training.fraction * 10)
        if tenths > self._tenths:
            self._tenths = tenths
            self._print(f"  {snapshot.training.fraction:.0%}: {training_words(snapshot.training, '')}")
        elif snapshot.job_phase and snapshot.job_phase != self._phase:
            self._phase = snapshot.job_phase
            self._print(f"  {snapshot.job_phase}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False)


def view_for(console: Console) -> LiveView | PlainView:
    """The display that fits where the output goes."""
    return LiveView(console) if console.is_terminal else PlainView(console)
