"""The run's report as a page for people: one HTML file, with no script and nothing to fetch.

`page` takes the report as the JSON document it is. A failed run's report lacks most of it, and a later
version may say more: what is missing leaves its section out, what is unknown is passed over.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from reporting import curve_chart, lenient
from reporting.cost import HOURS_PER_MONTH, money

_TEMPLATE = "report_page.html.j2"
# A failure's whole message has a section of its own.
_LONGEST_FAILURE = 160
_LONGEST_HEADLINE = 400
# From here on, a headline's letters are smaller.
_LONG_HEADLINE = 120
# XML and HTML allow no such characters, UTF-8 no halves of a surrogate pair; a corpus or a log may hold both.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def page(report: Mapping[str, Any]) -> str:
    """The HTML, whose every part is UTF-8's to encode."""
    html = _template().render(
        page=_page(report), plot=curve_chart.PLOT, width=curve_chart.WIDTH, height=curve_chart.HEIGHT
    )
    return _UNPRINTABLE.sub("\ufffd", html)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(_TEMPLATE)


# --- what the template shows ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    name: str
    value: str
    strong: bool = False
    code: bool = False


@dataclass(frozen=True)
class _Failure:
    facts: list[_Row]
    message: str
    cleanup: list[str]


@dataclass(frozen=True)
class _Model:
    name: str
    perplexity: str
    vocabulary: str
    unknown: str


@dataclass(frozen=True)
class _Verdict:
    sentence: str
    rows: list[_Model]
    notes: list[str]


@dataclass(frozen=True)
class _Curve:
    chart: curve_chart.Chart
    description: str
    best: str
    test: str
    gaps: str


@dataclass(frozen=True)
class _Sample:
    text: str
    told: str


@dataclass(frozen=True)
class _Step:
    name: str
    value: str
    percent: float


@dataclass(frozen=True)
class _Cost:
    rows: list[_Row]
    notes: list[str]


@dataclass(frozen=True)
class _Page:
    title: str
    status: str
    headline: str
    headline_is_long: bool
    facts: list[_Row]
    failure: _Failure | None
    verdict: _Verdict | None
    curve: _Curve | None
    metrics: list[_Row]
    smoke_test: list[_Sample]
    samples: list[_Sample]
    durations: list[_Step]
    cost: _Cost | None
    removed: list[str]
    provenance: list[_Row]


def _page(report: Mapping[str, Any]) -> _Page:
    status = lenient.text(report.get("status")) or "Unknown"
    run = lenient.text(report.get("run"))
    training = lenient.mapping(report.get("training"))
    failure = _failure(lenient.mapping(report.get("error")))
    headline = lenient.text(report.get("reason")) or "no reason was given"
    headline = _cut(headline, _LONGEST_FAILURE if failure else _LONGEST_HEADLINE)
    return _Page(
        title=f"{run or 'Lexline run'}: {status}",
        status=status,
        headline=headline,
        headline_is_long=len(headline) >= _LONG_HEADLINE,
        facts=list(_facts(report)),
        failure=failure,
        verdict=_verdict(lenient.mapping(report.get("comparison"))),
        curve=_curve(training, lenient.mapping(report.get("metrics"))),
        metrics=list(_metrics(report)),
        smoke_test=_smoke_test(lenient.mapping(report.get("smoke_test"))),
        samples=_samples(training.get("samples")),
        durations=_durations(lenient.mapping(report.get("durations"))),
        cost=_cost(lenient.mapping(report.get("cost"))),
        removed=_texts(report.get("removed")),
        provenance=list(_provenance(report)),
    )


# --- the sections -----------------------------------------------------------------------------------


def _facts(report: Mapping[str, Any]) -> Iterator[_Row]:
    dataset = lenient.text(lenient.mapping(report.get("dataset")).get("dataset"))
    total = lenient.finite(lenient.mapping(report.get("durations")).get("total"))
    endpoint = lenient.text(lenient.mapping(report.get("endpoint")).get("endpoint"))
    yield from _told(
        _Row("Run", lenient.text(report.get("run"))),
        _Row("Dataset", dataset),
        _Row("Endpoint", endpoint),
        _Row("Started", _moment(lenient.text(report.get("started")))),
        _Row("Duration", "" if total is None else seconds(total)),
    )


def _failure(error: Mapping[str, Any]) -> _Failure | None:
    facts = list(
        _told(
            _Row("Step", lenient.text(error.get("step"))),
            _Row("Error", lenient.text(error.get("error")), code=True),
        )
    )
    message = lenient.text(error.get("message"))
    return _Failure(facts, message, _texts(error.get("cleanup"))) if facts or message else None


def _verdict(comparison: Mapping[str, Any]) -> _Verdict | None:
    if comparison.get("comparable") is False:
        reason = lenient.text(comparison.get("reason")) or "No reason was given."
        return _Verdict(f"The two models do not compare. {reason}", [], _texts(comparison.get("notes")))
    champion, challenger = (lenient.mapping(comparison.get(name)) for name in ("champion", "challenger"))
    before, after = (lenient.finite(model.get("perplexity")) for model in (champion, challenger))
    if before is None or after is None or before <= 0:
        return None
    notes = _texts(comparison.get("notes"))
    words, tokens = (lenient.finite(comparison.get(name)) for name in ("words", "tokens"))
    if words is not None and tokens is not None:
        notes.insert(
            0,
            f"Both were asked for the same {tokens:,.0f} tokens of the test text, out of {words:,.0f} words.",
        )
    return _Verdict(
        _difference(before, after, lenient.finite(comparison.get("tolerance"))),
        [_model("New model", challenger), _model("Model before", champion)],
        notes,
    )


def _difference(before: float, after: float, tolerance: float | None) -> str:
    change = after / before - 1
    if abs(change) < 0.0005:
        sentence = "The new model is as good as the one before: their perplexities differ by less than 0.1%."
    else:
        better = "better" if change < 0 else "worse"
        direction = "lower" if change < 0 else "higher"
        sentence = f"The new model is {better}: its perplexity is {abs(change):.1%} {direction}."
    if tolerance is None:
        return sentence
    return f"{sentence} Up to {tolerance:.1%} higher is tolerated."


def _model(name: str, model: Mapping[str, Any]) -> _Model:
    unknown = lenient.finite(model.get("unknown_share"))
    return _Model(
        name,
        perplexity(lenient.number(model.get("perplexity"))),
        _count(model.get("vocabulary_size")),
        "-" if unknown is None else f"{unknown:.2%}",
    )


def _curve(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> _Curve | None:
    epochs = [lenient.mapping(epoch) for epoch in lenient.items(training.get("epochs"))]
    test = lenient.number(metrics.get("test_perplexity"))
    chart = curve_chart.chart(epochs, training.get("best_epoch"), test)
    if chart is None:
        return None
    best = f"{chart.best_epoch}: {perplexity(chart.best.value)}" if chart.best else ""
    parts = [f"{chart.epochs:,} {'epoch' if chart.epochs == 1 else 'epochs'} on a logarithmic axis."]
    for name in ("train", "valid"):
        ends = [lenient.number(epoch.get(f"{name}_perplexity")) for epoch in (epochs[0], epochs[-1])]
        label = "Training" if name == "train" else "Validation"
        parts.append(f"{label} perplexity went from {perplexity(ends[0])} to {perplexity(ends[1])}.")
    if best:
        parts.append(f"Best epoch {best}.")
    if chart.test:
        parts.append(f"Test perplexity {perplexity(test)}.")
    gaps = ""
    if chart.undrawn:
        gaps = f"{chart.undrawn:,} of the {chart.epochs:,} epochs had no finite perplexity and are left out."
    return _Curve(chart, " ".join(parts), best, perplexity(test), gaps)


def _metrics(report: Mapping[str, Any]) -> Iterator[_Row]:
    metrics, job = lenient.mapping(report.get("metrics")), lenient.mapping(report.get("job"))
    for name, label in (
        ("test_perplexity", "Test perplexity"),
        ("valid_perplexity", "Validation perplexity"),
        ("train_perplexity", "Training perplexity, with dropout"),
    ):
        value = lenient.number(metrics.get(name))
        if value is not None:
            yield _Row(label, perplexity(value), strong=name == "test_perplexity")
    if lenient.finite(metrics.get("vocabulary_size")) is not None:
        yield _Row("Vocabulary", f"{_count(metrics.get('vocabulary_size'))} words")
    parameters = lenient.mapping(report.get("training")).get("parameters")
    if lenient.finite(parameters) is not None:
        yield _Row("Parameters", _count(parameters))
    splits = lenient.mapping(lenient.mapping(report.get("dataset")).get("splits"))
    for name, label in (("train", "Training"), ("valid", "Validation"), ("test", "Test")):
        words = lenient.mapping(splits.get(name)).get("words")
        if lenient.finite(words) is not None:
            yield _Row(f"{label} text", f"{_count(words)} words")
    speed = lenient.finite(metrics.get("words_per_second"))
    if speed is not None:
        yield _Row("Training speed", f"{speed:,.0f} words/s")
    took = lenient.finite(job.get("training_seconds"))
    if took is not None:
        machine = lenient.text(job.get("instance_type"))
        yield _Row(f"Training job{f' on {machine}' if machine else ''}", seconds(took))


def _smoke_test(smoke_test: Mapping[str, Any]) -> list[_Sample]:
    texts = lenient.items(smoke_test.get("texts"))
    return _samples(texts or [smoke_test])


def _samples(samples: object) -> list[_Sample]:
    found = [lenient.mapping(sample) for sample in lenient.items(samples)]
    return [_sample(sample) for sample in found if lenient.text(sample.get("text")).strip()]


def _sample(sample: Mapping[str, Any]) -> _Sample:
    prompt = lenient.text(sample.get("prompt"))
    took = lenient.finite(sample.get("seconds"))
    told = [f"after “{prompt}”" if prompt else "without a prompt"]
    told += [
        f"{name} {lenient.text(sample.get(name))}"
        for name in ("seed", "temperature")
        if lenient.text(sample.get(name))
    ]
    if took is not None:
        told.append(f"in {took:.2g} s" if took < 1 else f"in {seconds(took)}")
    return _Sample(lenient.text(sample.get("text")), ", ".join(told))


def _durations(durations: Mapping[str, Any]) -> list[_Step]:
    steps = {name: lenient.finite(value) for name, value in durations.items() if name != "total"}
    known = {name: max(0.0, value) for name, value in steps.items() if value is not None}
    longest = max(known.values(), default=0.0)
    return [
        _Step(_words(name), seconds(value), round(100 * value / longest, 1) if longest else 0.0)
        for name, value in known.items()
    ]


def _cost(cost: Mapping[str, Any]) -> _Cost | None:
    run, endpoint = lenient.mapping(cost.get("run")), lenient.mapping(cost.get("endpoint"))
    rows = [*_run_cost(run), *_endpoint_cost(endpoint)]
    if not rows:
        return None
    notes = list(dict.fromkeys(_texts(run.get("notes")) + _texts(endpoint.get("notes"))))
    # The two come from one table, which only one of them may be there to name.
    date, region = (lenient.text(run.get(name) or endpoint.get(name)) for name in _PRICES)
    if date:
        notes.insert(
            0, f"Estimated from list prices of {date}{f' in {region}' if region else ''}, before tax."
        )
    return _Cost(rows, notes)


_PRICES = ("prices_date", "prices_region")


def _run_cost(run: Mapping[str, Any]) -> Iterator[_Row]:
    if not run:
        return
    count, kind = lenient.finite(run.get("instance_count")) or 1, lenient.text(run.get("instance_type"))
    billed = lenient.finite(run.get("billable_seconds"))
    machines = f"{count:.0f} × {kind}" if count > 1 else kind
    label = f"Training on {machines}" if kind else "Training"
    yield _Row(label if billed is None else f"{label}, {seconds(billed)} billed", _money(run.get("training")))
    saving = lenient.finite(run.get("spot_saving"))
    if saving is not None:
        yield _Row(
            f"Saved by spot instances, {saving:.0%} of {_money_before(run)}", _money(run.get("spot_saved"))
        )
    if lenient.finite(run.get("orchestration")) is not None:
        yield _Row("State machine and functions", _money(run.get("orchestration")))
    yield _Row("This run", _money(run.get("total")), strong=True)


def _money_before(run: Mapping[str, Any]) -> str:
    paid, saved = (lenient.finite(run.get(name)) for name in ("training", "spot_saved"))
    return "the price" if paid is None or saved is None else money(paid + saved)


def _endpoint_cost(endpoint: Mapping[str, Any]) -> Iterator[_Row]:
    if endpoint.get("kind") == "serverless":
        took = lenient.finite(endpoint.get("seconds_per_request"))
        memory = lenient.finite(endpoint.get("memory_mb"))
        label = f"The serverless endpoint{f' with {memory:,.0f} MB' if memory else ''}"
        yield _Row(f"{label}, while idle", "nothing", strong=True)
        each = f" of {seconds(took)}" if took else ""
        yield _Row(f"For 1,000 requests{each}", _money(endpoint.get("per_1000_requests")))
        return
    if not endpoint:
        return
    count, kind = (
        lenient.finite(endpoint.get("instance_count")) or 1,
        lenient.text(endpoint.get("instance_type")),
    )
    machines = f"{count:.0f} × {kind}" if count > 1 else kind
    yield _Row(f"The endpoint{f' on {machines}' if kind else ''}, an hour", _money(endpoint.get("per_hour")))
    yield _Row("A day", _money(endpoint.get("per_day")))
    yield _Row(f"A month of {HOURS_PER_MONTH} hours", _money(endpoint.get("per_month")), strong=True)


def _provenance(report: Mapping[str, Any]) -> Iterator[_Row]:
    for name, value in lenient.mapping(report.get("provenance")).items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {_plain(one)}" for key, one in value.items() if _plain(one))
        yield from _told(_Row(_words(name), _plain(value), code=True))
    dataset = lenient.mapping(report.get("dataset"))
    for source in lenient.items(dataset.get("source")):
        yield from _told(_Row("Uploaded as", lenient.text(lenient.mapping(source).get("uri")), code=True))
    model = lenient.mapping(report.get("model"))
    yield from _told(
        _Row("Prepared text", lenient.text(dataset.get("prepared_uri")), code=True),
        _Row("Fingerprint of the text", lenient.text(dataset.get("fingerprint")), code=True),
        _Row("Model", lenient.text(model.get("name")), code=True),
        _Row("Model artifact", lenient.text(model.get("model_artifacts")), code=True),
        _Row("Serving image", lenient.text(model.get("image")), code=True),
        _Row("Execution", lenient.text(report.get("execution")), code=True),
    )


# --- words and numbers ------------------------------------------------------------------------------


def _told(*rows: _Row) -> Iterator[_Row]:
    return (row for row in rows if row.value)


def _texts(values: object) -> list[str]:
    return [text for text in map(lenient.text, lenient.items(values)) if text]


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else lenient.text(value)


def _words(name: str) -> str:
    """A field's name as a label: smoke_test becomes Smoke test."""
    spaced = name.replace("_", " ").strip()
    return spaced[:1].upper() + spaced[1:]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _count(value: object) -> str:
    found = lenient.finite(value)
    return "-" if found is None else f"{found:,.0f}"


def _money(value: object) -> str:
    dollars = lenient.finite(value)
    return "not known" if dollars is None else money(dollars)


def _moment(text: str) -> str:
    """An ISO 8601 time to the minute, in UTC; what is none stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return f"{moment:%Y-%m-%d %H:%M}"
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return text


def seconds(value: float) -> str:
    """A duration: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def perplexity(value: float | None) -> str:
    """A perplexity to four digits or so: 86.72, 208.3, 33,278."""
    if value is None or math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if value >= 1e9:
        return f"{value:.2e}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"
