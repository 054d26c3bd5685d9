"""The training curve: perplexity by epoch as an SVG, which a web page can embed as it is.

The same metrics give the same bytes. The SVG refers to nothing outside itself; its text is text, in the
reader's fonts.
"""

import html
import io
import math
import re
from pathlib import Path
from typing import Any

from job_log import log_values
from metrics import Metrics
from perplexity import perplexity

WIDTH, HEIGHT = 540, 320
"""Size in points. At this size, the text is about as large as that of a page whose column the curve fills."""

TRAIN, VALID, TEST = "train, with dropout", "valid", "test"
COLOURS = {TRAIN: "#0072b2", VALID: "#d55e00", TEST: "#333333"}

HIGHEST = 1e30
"""Perplexities from here on are left out."""

MOST_MARKERS = 40
"""Epochs up to which each one gets a marker."""


def save(metrics: Metrics, path: Path) -> None:
    """Draw the curve of a tested model. Without matplotlib, log that there is none."""
    try:
        import matplotlib
    except ImportError:
        log_values(training_curve="none", reason="matplotlib-is-not-installed")
        return
    options: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "lexline", "font.size": 12}
    with matplotlib.rc_context(options):
        path.write_text(_accessible(_draw(metrics), description(metrics)), encoding="utf-8")


def description(metrics: Metrics) -> str:
    """Return in words what the curve shows."""
    last, (best, valid, test) = metrics.epochs[-1], _best(metrics)
    return (
        f"After epoch {last.epoch} the perplexity is {perplexity(last.train_loss):.1f} on train, with "
        f"dropout, and {perplexity(last.valid_loss):.1f} on valid. Epoch {best} is the best, with "
        f"{valid:.1f} on valid and {test:.1f} on test."
    )


def _best(metrics: Metrics) -> tuple[int, float, float]:
    """Return the best epoch, and its perplexity on valid and on test."""
    assert metrics.best
    assert metrics.test_loss is not None
    return metrics.best.epoch, perplexity(metrics.best.valid_loss), perplexity(metrics.test_loss)


def _draw(metrics: Metrics) -> str:
    """Return matplotlib's SVG of the curve; of one epoch, which is no curve, its perplexities as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
    axes = figure.subplots()
    if len(metrics.epochs) == 1:
        _draw_bars(axes, metrics)
    else:
        _draw_lines(axes, metrics)
    axes.spines[["top", "right"]].set_visible(False)
    drawn = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(drawn, format="svg", metadata=metadata, transparent=True)
    return drawn.getvalue()


def _draw_bars(axes: Any, metrics: Metrics) -> None:
    """Draw the perplexities on train, valid and test of a single epoch."""
    (epoch,), (_, valid, test) = metrics.epochs, _best(metrics)
    values = {TRAIN: perplexity(epoch.train_loss), VALID: valid, TEST: test}
    shown = [value if value < HIGHEST else 0 for value in values.values()]
    bars = axes.barh([*values], shown, height=0.6, color=[COLOURS[name] for name in values])
    axes.bar_label(bars, [_figure(value) for value in values.values()], padding=5)
    axes.invert_yaxis()
    axes.set(xlabel="Perplexity after the only epoch")
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.tick_params(left=False)


def _draw_lines(axes: Any, metrics: Metrics) -> None:
    """Draw perplexity by epoch, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    epochs = [epoch.epoch for epoch in metrics.epochs]
    best, valid, test = _best(metrics)
    shown: list[float] = []
    for label, losses, marker in (
        (TRAIN, [epoch.train_loss for epoch in metrics.epochs], "s"),
        (VALID, [epoch.valid_loss for epoch in metrics.epochs], "o"),
    ):
        values = [value if (value := perplexity(loss)) < HIGHEST else math.nan for loss in losses]
        shown += [value for value in values if value < HIGHEST]
        markers = [*range(len(epochs))] if len(epochs) <= MOST_MARKERS else []
        label = f"{label}: {_figure(perplexity(losses[-1]))}"
        colour = COLOURS[label.partition(":")[0]]
        axes.plot(epochs, values, color=colour, marker=marker, markevery=markers, label=label, clip_on=False)
    ring: dict[str, Any] = {"color": COLOURS[VALID], "fillstyle": "none", "markersize": 14, "clip_on": False}
    axes.plot(best, valid, "o", label=f"best epoch: {best}", **ring)
    axes.plot(best, test, "D", label=f"{TEST}: {_figure(test)}", color=COLOURS[TEST], clip_on=False)
    axes.set(xlabel="Epoch", ylabel="Perplexity (logarithmic)", yscale="log")
    axes.set_xlim(1, epochs[-1])
    axes.margins(y=0.1)
    # A logarithmic axis would count in powers of ten, and have no label at all between two of them.
    decades = math.log10(max(shown, default=1) / min(shown, default=1))
    spaced = LogLocator(subs=(1, 2, 5) if decades < 3 else (1,))
    axes.yaxis.set_major_locator(spaced if decades > 1 else MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _figure(value: float) -> str:
    return f"{value:,.1f}" if value < 1e6 else f"{value:.2g}"


def _accessible(svg: str, text: str) -> str:
    """Return the `svg` element alone, with a title and a description.

    What precedes it names a DTD on another host. Its style sheet would apply to the whole page that embeds
    the SVG, so attributes of the element replace the sheet.
    """
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    start = '<svg role="img" aria-labelledby="curve-title curve-desc" stroke-linejoin="round"'
    names = (
        f'<title id="curve-title">Perplexity by epoch</title><desc id="curve-desc">{html.escape(text)}</desc>'
    )
    opening, end, rest = svg.replace("<svg", start, 1).partition(">")
    return f"{opening}{end}\n{names}{rest}"
