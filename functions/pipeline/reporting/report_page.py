"""The report as a web page for people: one HTML file that runs no script and loads nothing.

The template gets the documents themselves. A section whose documents are missing is left out.
"""

import base64
import functools
import math
import re
import shlex
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path

import jinja2

from contracts.report import Report, ReportInput
from contracts.training import Comparison
from reporting import step_names
from reporting.cost import HOURS_PER_MONTH
from reporting.formatting import duration, money, perplexity, size
from training.job_output import JobMetrics, JobOutput, ScoredModels

# HTML forbids these characters, and UTF-8 has no halves of surrogate pairs. A corpus or a log may hold them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


_SHORT_SECONDS = 5
_TEXT_ENDS = tuple(".!?…。！？।؟")
_CLOSING = "\"'”’»)]}」』）》"
_JOINED = (*_CLOSING, *_TEXT_ENDS, *",;:، \n")


def render(report: Report, given: ReportInput, output: JobOutput) -> str:
    """Return the page.

    Args:
        report: The document to show.
        given: The results of the run's steps, for the start time and the request.
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
        "joint": joint,
        "long_steps": long_steps,
        "money": lambda dollars: "not known" if dollars is None else money(dollars),
        "odds": odds,
        "open_ended": open_ended,
        "percent": lambda share: "-" if share is None else f"{share:.2%}",
        "perplexity": lambda value: "-" if value is None else perplexity(value),
        "repeating": repeating,
        "size": lambda count: "-" if count is None else size(count),
        "step": step_names.in_words,
        "two_figures": two_figures,
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
    limit = f"up to {comparison.tolerance:.1%}" if comparison.tolerance else "no"
    return f"{sentence} The gate accepts a model whose perplexity is {limit} higher."


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


def two_figures(report: Report, scores: ScoredModels) -> str:
    """Return why the new model has one perplexity in the comparison and another in the metrics, if it has."""
    own = report.metrics.test_perplexity if report.metrics else None
    compared = report.comparison.challenger_perplexity if report.comparison else None
    if not own or not compared or not math.isfinite(own) or abs(compared / own - 1) < 0.005:
        return ""
    among = (
        f" among the {scores.words:,} words that either model knows or the test text has"
        if scores.words
        else ""
    )
    return (
        f"Why {perplexity(compared)} here, and {perplexity(own)} as the test perplexity below? Both are the "
        "new model's, on the same text. For the test perplexity, all words that the model does not know "
        "count as one word, which is easy to guess. But the two models know different words. So here, each "
        f"must say which word it is{among}. Only the figures here can be compared."
    )


def long_steps(durations: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the steps in words with their seconds; short ones are summed up, unless all are short."""
    steps = {step_names.in_words(name): seconds for name, seconds in durations.items() if name != "total"}
    short = {name: seconds for name, seconds in steps.items() if seconds < _SHORT_SECONDS}
    if len(short) == len(steps):
        return []
    if len(short) < 2:
        return [*steps.items()]
    rest = f"{len(short)} other steps, each under {_SHORT_SECONDS}\N{NO-BREAK SPACE}s"
    return [
        *((name, seconds) for name, seconds in steps.items() if name not in short),
        (rest, sum(short.values())),
    ]


def open_ended(text: str) -> str:
    """Return a generated text, with an ellipsis if it stops in the middle of a sentence."""
    ended = text.rstrip()
    return ended if ended.rstrip(_CLOSING).endswith(_TEXT_ENDS) else f"{ended}…"


def joint(text: str) -> str:
    """Return what stands between a prompt and the text that continues it: a space, or nothing."""
    return "" if text.startswith(_JOINED) else " "


def odds(probability: float | None) -> str:
    """Return a probability as people say it: 1 in 8.5, 1 in 1,234."""
    if probability is None:
        return "-"
    one_in = 1 / probability
    return f"1 in {one_in:,.0f}" if one_in >= 10 else f"1 in {one_in:.1f}"


def repeating(report: Report, given: ReportInput) -> str:
    """Return the command that trains this model again; nothing if the run trained none."""
    run, source = given.run, report.source
    if run is None or run.dataset is None or report.job is None:
        return ""
    options = ["--dataset", run.dataset, "--force"]
    for name, value in report.hyperparameters.items():
        options += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    if source and source.repo:
        options += [
            "--source-repo",
            source.repo,
            *(["--source-commit", source.commit] if source.commit else []),
        ]
        options += ["--source-secret", run.source.secret] if run.source and run.source.secret else []
    return f"lexline run {shlex.join(options)}"
