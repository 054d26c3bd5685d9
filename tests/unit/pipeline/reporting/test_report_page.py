"""report_page: one HTML file for people, from whatever of a report there is."""

import copy
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reporting import report_page
from reporting.cost import endpoint_cost, list_prices, run_cost, serverless_cost
from reporting.curve_chart import HEIGHT, PLOT, WIDTH, chart

HOSTILE = "</pre></section><script>alert('\"&')</script><img src=x onerror=alert(1)> {{ 7*7 }} {% raw %}"
SECTIONS = {
    "error": "What went wrong",
    "comparison": "Against the model that served before",
    "training": "Training",
    "metrics": "Figures",
    "smoke_test": "What it writes",
    "durations": "Where the time went",
    "cost": "What it costs",
    "removed": "What was removed",
    "provenance": "Where it comes from",
}


class Page(HTMLParser):
    """A page's elements and text; every element must be closed in order."""

    VOID = ("meta", "br", "hr", "img", "link", "input")
    # They load or run something.
    REFUSED = ("script", "link", "img", "iframe", "object", "embed", "form", "image", "use", "a", "base")

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.ids: set[str] = set()
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in self.REFUSED
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href", "srcset")]
        self.elements.append((tag, dict(attrs)))
        if identity := dict(attrs).get("id"):
            assert identity not in self.ids
            self.ids.add(identity)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def text(self, *tags: str) -> str:
        """What stands in elements of these tags, or in all that are shown, on one line."""
        shown = [text for tag, text in self.texts if (tag in tags if tags else tag != "style")]
        return re.sub(r"\s+", " ", " ".join(shown)).strip()

    @property
    def headings(self) -> list[str]:
        return [text for tag, text in self.texts if tag == "h2"]

    def row(self, name: str) -> str:
        """The cell beside a row's name."""
        texts = [text.strip() for _, text in self.texts if text.strip()]
        return texts[texts.index(name) + 1]


def shown(report: dict[str, Any]) -> Page:
    return Page(report_page.page(report))


def epochs(count: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": number,
            "lr": 0.001,
            "seconds": 20.0,
            "words_per_second": 1432.0,
            "train_perplexity": 100 + 900 / number,
            "valid_perplexity": 200 + 400 / number + number / 50,
        }
        for number in range(1, count + 1)
    ]


@pytest.fixture
def report(documents: Any) -> dict[str, Any]:
    """All that a report can tell; no run has it all."""
    prices = list_prices()
    run = run_cost(
        prices,
        region="eu-west-1",
        instance_type="ml.m5.xlarge",
        instance_count=2,
        training_seconds=610,
        billable_seconds=171,
        spot=True,
    )
    endpoint = endpoint_cost(prices, region="eu-west-1", instance_type="ml.m5.large", instance_count=1)
    return {
        "status": "Succeeded",
        "reason": "Test perplexity 208.30 over 33,278 words.",
        "run": documents.run["name"],
        "execution": documents.execution["id"],
        "started": "2026-03-01T13:30:00+01:00",
        "dataset": documents.prepared,
        "job": documents.trained,
        "metrics": documents.evaluated["metrics"],
        "comparison": {
            "comparable": True,
            "champion": {"perplexity": 250.0, "vocabulary_size": 30120, "unknown_share": 0.0123},
            "challenger": {"perplexity": 240.0, "vocabulary_size": 33278, "unknown_share": 0.0101},
            "words": 35012,
            "tokens": 91200,
            "tolerance": 0.02,
            "notes": ["The test split is small."],
        },
        "training": {
            "epochs": epochs(6),
            "best_epoch": 5,
            "samples": [{"prompt": "The state", "seed": 1, "temperature": 0.7, "text": "of the union"}],
        },
        "model": documents.model,
        "endpoint": documents.deployed,
        "smoke_test": {
            "texts": [
                {"prompt": "We", "seed": 111, "temperature": 1.0, "text": "are strong.", "seconds": 0.214}
            ]
        },
        "durations": {"plan": 0.4, "train": 731.0, "smoke_test": 365.5, "total": 1096.9},
        "cost": {
            "run": json.loads(run.model_dump_json()),
            "endpoint": json.loads(endpoint.model_dump_json()),
        },
        "provenance": {"code_hash": "9f" * 32, "hyperparameters": {"epochs": 6, "tied": True}},
        "removed": ["model/lexline-old"],
        "error": {"error": "TrainingFailed", "message": "Exit code 1.", "step": "Train", "cleanup": ["No."]},
    }


# --- the file ----------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_loads_and_runs_nothing(report: dict[str, Any]) -> None:
    html = report_page.page(report)
    Page(html)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_the_page_is_for_small_and_dark_screens_and_for_paper(report: dict[str, Any]) -> None:
    html = report_page.page(report)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media print" in html


@pytest.mark.parametrize("hostile", [HOSTILE, "\x00\x1b[31m\ud800", "‮evil", "\n" * 50 + "x" * 10_000])
def test_no_text_of_a_corpus_or_a_log_is_taken_for_html(report: dict[str, Any], hostile: str) -> None:
    poisoned = everywhere(report, hostile)
    html = report_page.page(poisoned)
    html.encode("utf-8")
    page = Page(html)
    assert "\x00" not in html
    assert [tag for tag, _ in page.elements].count("section") == len(page.headings)
    if hostile == HOSTILE:
        assert hostile in page.text("blockquote")
        assert hostile in page.text("pre")


def everywhere(value: Any, text: str) -> Any:
    """The document with each of its strings replaced; a field's name stays."""
    if isinstance(value, dict):
        kept = ("kind", "status")
        return {name: one if name in kept else everywhere(one, text) for name, one in value.items()}
    if isinstance(value, list):
        return [everywhere(one, text) for one in value]
    return text if isinstance(value, str) else value


def test_a_hostile_name_of_a_field_is_no_html(report: dict[str, Any]) -> None:
    report["provenance"] = {HOSTILE: "1", "hyperparameters": {HOSTILE: 2}}
    report["durations"] = {HOSTILE: 1.0}
    page = shown(report)
    assert "alert" in page.text("dt")


# --- sections ----------------------------------------------------------------------------------------


def test_a_report_that_has_everything_shows_everything(report: dict[str, Any]) -> None:
    assert shown(report).headings == list(SECTIONS.values())


@pytest.mark.parametrize(("field", "heading"), SECTIONS.items())
@pytest.mark.parametrize("nothing", [None, {}, [], "not what it should be", 7])
def test_a_section_without_its_data_is_left_out(
    report: dict[str, Any], field: str, heading: str, nothing: object
) -> None:
    report[field] = nothing
    if field == "metrics":
        # The dataset's sizes and the job's time are figures as well.
        report["dataset"] = report["job"] = nothing
    if field == "smoke_test":
        report["training"]["samples"] = nothing
    if field == "provenance":
        report["dataset"] = report["model"] = report["execution"] = None
        report["metrics"] = {"test_perplexity": 1.0}
    assert shown(report).headings == [one for one in SECTIONS.values() if one != heading]


def test_a_run_that_ended_before_it_began_has_a_page() -> None:
    page = shown({"status": "Skipped", "reason": "Announced twice.", "run": None})
    assert page.headings == []
    assert page.text("span", "bdi") == "Skipped: Announced twice."


def test_even_an_empty_report_has_a_page() -> None:
    assert "no reason was given" in shown({}).text("bdi")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_report_with_anything_anywhere_has_a_page(report: dict[str, Any], data: st.DataObject) -> None:
    whole = copy.deepcopy(report)
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=6,
    )
    for _ in range(3):
        place = whole
        while True:
            name = data.draw(st.sampled_from(sorted(place)))
            if not isinstance(place[name], dict) or not place[name] or data.draw(st.booleans()):
                place[name] = data.draw(anything)
                break
            place = place[name]
    shown(whole)


# --- the head ----------------------------------------------------------------------------------------


def test_the_first_line_says_what_became_of_the_run_and_why(report: dict[str, Any]) -> None:
    page = shown(report)
    first, second, *_ = [text for tag, text in page.texts if tag not in ("style", "title") and text.strip()]
    assert (first, second) == ("Succeeded:", "Test perplexity 208.30 over 33,278 words.")
    assert page.text("title").startswith("lexline--sotu-0123456789ab: Succeeded")


def test_the_head_names_the_run_its_dataset_when_it_started_and_how_long_it_took(
    report: dict[str, Any],
) -> None:
    page = shown(report)
    assert page.row("Run") == "lexline--sotu-0123456789ab"
    assert page.row("Dataset") == "sotu"
    assert page.row("Started") == "2026-03-01 12:30 UTC"
    assert page.row("Duration") == "18 min 17 s"


@pytest.mark.parametrize("started", ["yesterday", "0001-01-01T00:00:00+23:59"])
def test_a_start_that_is_no_time_is_shown_as_it_is(report: dict[str, Any], started: str) -> None:
    report["started"] = started
    assert shown(report).row("Started") == started


def test_a_failures_long_message_is_whole_once_and_short_in_the_first_line(report: dict[str, Any]) -> None:
    report["error"]["message"] = "Traceback. " * 300
    report.update(status="Failed", reason=f"Train failed with TrainingFailed: {'Traceback. ' * 300}")
    page = shown(report)
    assert page.text("pre").count("Traceback.") == 300
    assert page.text("bdi").count("Traceback.") < 20


def test_a_failure_tells_its_step_its_error_and_what_went_wrong_while_cleaning_up(
    report: dict[str, Any],
) -> None:
    report["error"]["cleanup"] = ["Compensate failed with Throttled: Rate exceeded"]
    page = shown(report)
    assert (page.row("Step"), page.row("Error")) == ("Train", "TrainingFailed")
    assert page.text("pre") == "Exit code 1. Compensate failed with Throttled: Rate exceeded"


# --- the verdict -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("challenger", "sentence"),
    [
        (240.0, "The new model is better: its perplexity is 4.0% lower."),
        (255.0, "The new model is worse: its perplexity is 2.0% higher."),
        (250.01, "The new model is as good as the one before: their perplexities differ by less than 0.1%."),
    ],
)
def test_the_verdict_says_which_model_is_better_and_by_how_much(
    report: dict[str, Any], challenger: float, sentence: str
) -> None:
    report["comparison"]["challenger"]["perplexity"] = challenger
    page = shown(report)
    assert sentence in page.text("bdi")
    assert "Up to 2.0% higher is tolerated." in page.text("bdi")
    assert (page.row("New model"), page.row("Model before")) == (report_page.perplexity(challenger), "250.0")


def test_the_verdict_tells_the_terms_and_what_qualifies_it(report: dict[str, Any]) -> None:
    text = shown(report).text("bdi")
    assert "the same 91,200 tokens of the test text, out of 35,012 words" in text
    assert "The test split is small." in text


def test_models_that_do_not_compare_have_the_reason_in_place_of_figures(report: dict[str, Any]) -> None:
    report["comparison"] = {"comparable": False, "reason": "The champion channel holds no model.tar.gz."}
    page = shown(report)
    assert "The two models do not compare. The champion channel holds no model.tar.gz." in page.text("bdi")
    assert "Model before" not in page.text()


# --- the curve ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 40, 41, 1000])
def test_all_of_the_curve_is_drawn_within_the_box(report: dict[str, Any], count: int) -> None:
    report["training"].update(epochs=epochs(count), best_epoch=count)
    page = shown(report)
    for x, y in drawn(page):
        assert PLOT.left <= x <= PLOT.right
        assert PLOT.top <= y <= PLOT.bottom
    labels = [attrs for tag, attrs in page.elements if tag == "text"]
    assert all(0 < float(attrs["x"] or "nan") < WIDTH for attrs in labels)
    assert all(0 < float(attrs["y"] or "nan") < HEIGHT for attrs in labels)
    assert f"{count:,} epoch" in page.text("desc")


def drawn(page: Page) -> list[tuple[float, float]]:
    """Every point of the two lines and their marks."""
    points = [
        tuple(map(float, point.split(",")))
        for tag, attrs in page.elements
        if tag == "polyline"
        for point in (attrs["points"] or "").split()
    ]
    circles = [
        (float(attrs["cx"] or "nan"), float(attrs["cy"] or "nan"))
        for tag, attrs in page.elements
        if tag == "circle" and attrs.get("r") in ("2.5", "5.5")
    ]
    assert points or circles
    return [(point[0], point[1]) for point in [*points, *circles]]


def test_the_axis_is_logarithmic() -> None:
    figure = chart([{"valid_perplexity": value} for value in (1000, 100, 10)], None, None)
    assert figure
    high, middle, low = figure.valid.marks
    assert middle.y - high.y == pytest.approx(low.y - middle.y, abs=0.02)
    assert [tick.label for tick in figure.y_ticks] == ["10", "100", "1,000"]


def test_the_best_epoch_is_marked_on_the_validation_line_and_the_test_at_that_epoch() -> None:
    figure = chart(epochs(6), 5, 208.3)
    assert figure
    assert figure.best == figure.valid.marks[4]
    assert figure.test
    assert figure.test.x == figure.valid.marks[4].x
    assert (figure.best_epoch, figure.test.value) == (5, 208.3)


def test_many_epochs_are_a_line_without_marks_and_few_have_them() -> None:
    many, few = chart(epochs(1000), 1, None), chart(epochs(6), 1, None)
    assert many
    assert few
    assert (len(many.valid.marks), len(few.valid.marks)) == (0, 6)
    assert len(many.valid.pieces[0].split()) == 1000


@pytest.mark.parametrize("count", [1, 2, 3, 6, 12, 40, 100, 365, 1000])
def test_the_epochs_on_the_axis_are_few_whole_numbers_from_the_first(count: int) -> None:
    figure = chart(epochs(count), None, None)
    assert figure
    labels = [int(tick.label.replace(",", "")) for tick in figure.x_ticks]
    assert labels[0] == 1
    assert len(labels) <= 7
    assert labels == sorted(set(labels))


@pytest.mark.parametrize("ratio", [1.0, 1.01, 1.4, 3.0, 40.0, 1e4, 1e9, 1e300])
def test_the_perplexities_on_the_axis_are_two_to_six_whatever_the_span(ratio: float) -> None:
    figure = chart([{"valid_perplexity": 87.3 * ratio}, {"valid_perplexity": 87.3}], None, None)
    assert figure
    assert 2 <= len(figure.y_ticks) <= 6
    assert all(PLOT.top <= tick.at <= PLOT.bottom for tick in figure.y_ticks)


@pytest.mark.parametrize("undrawn", [None, "Infinity", "NaN", math.inf, math.nan, 0, -3, "high", True])
def test_what_is_no_finite_perplexity_leaves_a_gap(report: dict[str, Any], undrawn: object) -> None:
    report["training"]["epochs"][2].update(train_perplexity=undrawn, valid_perplexity=undrawn)
    page = shown(report)
    assert len([tag for tag, _ in page.elements if tag == "polyline"]) == 4
    assert all(math.isfinite(x) and math.isfinite(y) for x, y in drawn(page))
    assert "1 of the 6 epochs had no finite perplexity and are left out." in page.text("p")


def test_an_epoch_alone_between_gaps_is_a_mark() -> None:
    figure = chart([{"valid_perplexity": value} for value in (None, 200.0, None, *[150.0] * 60)], None, None)
    assert figure
    assert [mark.value for mark in figure.valid.marks] == [200.0]


def test_training_that_never_had_a_finite_perplexity_has_no_curve(report: dict[str, Any]) -> None:
    report["training"] = {"epochs": [{"epoch": 1, "train_perplexity": None, "valid_perplexity": "NaN"}]}
    report["metrics"]["test_perplexity"] = "Infinity"
    page = shown(report)
    assert "Training" not in page.headings
    assert page.row("Test perplexity") == "infinite"


def test_the_drawing_has_a_name_and_a_description_for_those_who_do_not_see_it(report: dict[str, Any]) -> None:
    page = shown(report)
    image = next(attrs for tag, attrs in page.elements if tag == "svg" and attrs.get("role") == "img")
    assert set((image["aria-labelledby"] or "").split()) <= page.ids
    assert page.text("desc") == (
        "6 epochs on a logarithmic axis. Training perplexity went from 1,000 to 250.0. Validation perplexity "
        "went from 600.0 to 266.8. Best epoch 5: 280.1. Test perplexity 208.3."
    )


# --- figures, texts, times, money --------------------------------------------------------------------


def test_the_figures_are_the_models_the_texts_and_the_jobs(report: dict[str, Any]) -> None:
    page = shown(report)
    assert page.row("Test perplexity") == "208.3"
    assert page.row("Vocabulary") == "33,278 words"
    assert page.row("Training text") == "9,000 words"
    assert page.row("Training job on ml.m5.xlarge") == "10 min 10 s"


def test_samples_are_shown_with_what_they_came_of(report: dict[str, Any]) -> None:
    page = shown(report)
    assert page.text("blockquote") == "are strong. of the union"
    text = page.text("bdi")
    assert "after “We”, seed 111, temperature 1.0, in 0.21 s" in text
    assert "after “The state”, seed 1, temperature 0.7" in text


def test_the_smoke_tests_one_text_is_shown_too(report: dict[str, Any], documents: Any) -> None:
    report["smoke_test"] = documents.smoke_test
    page = shown(report)
    assert "The state of the union is strong." in page.text("blockquote")
    assert "without a prompt, seed 111, temperature 1.0" in page.text("bdi")


def test_each_steps_bar_is_as_long_as_its_share_of_the_longest(report: dict[str, Any]) -> None:
    page = shown(report)
    bars = [attrs["style"] for tag, attrs in page.elements if attrs.get("class") == "bar"]
    assert bars == ["width: 0.1%", "width: 100.0%", "width: 50.0%"]
    assert page.row("Smoke test") == "6 min 06 s"
    assert "Total" not in page.text("th")


def test_the_cost_is_the_runs_what_spot_saved_and_the_endpoints(report: dict[str, Any]) -> None:
    page = shown(report)
    assert page.row("Training on 2 × ml.m5.xlarge, 2 min 51 s billed") == "$0.0218"
    assert page.row("Saved by spot instances, 72% of $0.0779") == "$0.0561"
    assert page.row("This run") == "$0.0218"
    assert page.row("The endpoint on ml.m5.large, an hour") == "$0.115"
    assert page.row("A day") == "$2.76"
    assert page.row("A month of 730 hours") == "$84"


def test_the_cost_tells_once_of_what_day_and_region_its_prices_are(report: dict[str, Any]) -> None:
    text = shown(report).text("bdi")
    assert "Estimated from list prices of 2026-09-22 in us-east-1, before tax." in text
    assert text.count("those of eu-west-1, where the run was, may differ") == 1


def test_a_price_nobody_knows_is_not_shown_as_nothing(report: dict[str, Any]) -> None:
    for name in ("training", "spot_saved", "total"):
        report["cost"]["run"][name] = None
    for name in ("per_hour", "per_day", "per_month"):
        report["cost"]["endpoint"][name] = None
    page = shown(report)
    assert page.row("This run") == page.row("A day") == "not known"
    assert "$0" not in page.text("td")


def test_a_serverless_endpoint_costs_nothing_while_idle(report: dict[str, Any]) -> None:
    endpoint = serverless_cost(list_prices(), region="us-east-1", memory_mb=2048, seconds_per_request=0.5)
    report["cost"]["endpoint"] = json.loads(endpoint.model_dump_json())
    page = shown(report)
    assert page.row("The serverless endpoint with 2,048 MB, while idle") == "nothing"
    assert page.row("For 1,000 requests of 0.5 s") == "$0.02"


def test_the_run_alone_has_a_cost_when_there_is_no_endpoint(report: dict[str, Any]) -> None:
    report["cost"]["endpoint"] = None
    page = shown(report)
    assert "A day" not in page.text("th", "bdi")
    assert "2026-09-22" in page.text("bdi")


def test_provenance_tells_everything_a_model_came_of(report: dict[str, Any]) -> None:
    page = shown(report)
    assert page.row("Code hash") == "9f" * 32
    assert page.row("Hyperparameters") == "epochs 6, tied true"
    assert page.row("Uploaded as") == "s3://texts/uploads/sotu/sotu.txt"
    assert page.row("Fingerprint of the text") == "ab" * 32
    assert page.row("Execution").startswith("arn:aws:states:")
