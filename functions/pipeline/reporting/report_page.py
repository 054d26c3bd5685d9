"""The report as a web page for people: one HTML file that runs no script and loads nothing.

The template gets the documents themselves. A section whose documents are missing is left out.
"""

import base64
import functools
import re
from datetime import UTC
from pathlib import Path

import jinja2

from contracts.report import Report, ReportInput
from contracts.training import Comparison
from reporting.cost import HOURS_PER_MONTH
from reporting.formatting import duration, money, perplexity
from training.job_output import JobMetrics, JobOutput, ScoredModels

# HTML forbids these characters, and UTF-8 has no halves of surrogate pairs. A corpus or a log may hold them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render(report: Report, given: ReportInput, output: JobOutput) -> str:
    """Return the page.

    Args:
        report: The document to show.
        given: The results of the run's steps, for the start time and the hyperparameters.
        output: The training job's own output.
    """
    html = _template().render(
        report=report,
        given=given,
        training=output.metrics,
        scores=output.metrics.comparison or ScoredModels(),
        curve=base64.b64encode(output.training_curve).decode() if output.training_curve else None,
        hours_per_month=HOURS_PER_MONTH,
    )
    return _UNPRINTABLE.sub("\ufffd", html)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "comparison_sentence": comparison_sentence,
        "count": lambda number: "-" if number is None else f"{number:,}",
        "curve_in_words": curve_in_words,
        "duration": duration,
        "money": lambda dollars: "not known" if dollars is None else money(dollars),
        "percent": lambda share: "-" if share is None else f"{share:.2%}",
        "perplexity": lambda value: "-" if value is None else perplexity(value),
        "utc": lambda moment: f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    }
    return environment.get_template("report_page.html.j2")


def comparison_sentence(comparison: Comparison) -> str:
    """Return which of two models is better and by how much, or why they cannot be compared."""
    champion, challenger = comparison.champion_perplexity, comparison.challenger_perplexity
    if comparison.reason is not None or not champion or challenger is None:
        return f"The two models cannot be compared. {comparison.reason or 'There are no scores.'}"
    change = challenger / champion - 1
    if abs(change) < 0.0005:
        sentence = (
            "The new model is as good as the previous one: their perplexities differ by less than 0.1%."
        )
    elif change < 0:
        sentence = f"The new model is better: its perplexity is {-change:.1%} lower."
    else:
        sentence = f"The new model is worse: its perplexity is {change:.1%} higher."
    return f"{sentence} The gate tolerates a perplexity that is up to {comparison.tolerance:.1%} higher."


def curve_in_words(training: JobMetrics, test_perplexity: float | None) -> str:
    """Return the training curve's content as sentences, for readers who do not see the picture."""
    epochs, best = training.epochs, training.best_epoch
    sentences = [f"Training curve: perplexity by epoch, {len(epochs)} epoch{'s' * (len(epochs) != 1)}."]
    if epochs:
        for name, field in (("Training", "train_perplexity"), ("Validation", "valid_perplexity")):
            first, last = (getattr(epoch, field) for epoch in (epochs[0], epochs[-1]))
            if first and last:
                sentences.append(f"{name} perplexity went from {perplexity(first)} to {perplexity(last)}.")
    if best and best <= len(epochs):
        sentences.append(f"The best epoch is {best}.")
    if test_perplexity is not None:
        sentences.append(f"Test perplexity is {perplexity(test_perplexity)}.")
    return " ".join(sentences)
