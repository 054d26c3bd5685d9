"""report_page: one HTML file for people, from whatever of a report there is."""

import base64
import itertools
import json
import re
import shlex
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as having
from hypothesis import strategies as st

from contracts.report import ReportInput
from contracts.training import Comparison
from reporting import report_page
from reporting.prices import list_prices
from reporting.report_page import comparison_sentence
from steps.report import build
from tests.unit.pipeline.documents import FORMER, NAME
from training.job_output import JobMetrics, JobOutput

Json = dict[str, Any]
HOSTILE = "</pre></section><script>alert('\"&')</script><img src=x onerror=alert(1)> {{ 7*7 }} {% raw %}"
CURVE = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
DURATIONS = {"plan": 0.4, "train": 731.0, "smoke_test": 365.5, "total": 1096.9}
METRICS: Json = {
    "parameters": 1_234_567,
    "epochs": [{"train_perplexity": 1000.0, "valid_perplexity": 600.0}] * 5
    + [{"train_perplexity": 250.0, "valid_perplexity": 266.8}],
    "best_epoch": 5,
    "comparison": {
        "comparable": True,
        "champion": {"perplexity": 215.2, "vocabulary_size": 30120, "unknown_share": 0.0123},
        "challenger": {"perplexity": 208.3, "vocabulary_size": 33278, "unknown_share": 0.0101},
        "words": 35012,
        "tokens": 91200,
    },
    "samples": [{"prompt": "The state", "seed": 1, "temperature": 0.7, "text": "of the union"}],
    "hyperparameters": {"recipe": "fast", "epochs": 6, "lr": 0.003, "tied": True, "tokenizer": "prose"},
    "machine": {
        **{"device": "NVIDIA A10G", "precision": "TF32", "processes": 4},
        **{"memory": 812_345_678, "gpu_memory": 2_100_000_000},
    },
    "cache": {"perplexity": 171.25, "perplexity_without": 205.5, "tokens": 50_000, "theta": 0.4},
    "side_by_side": {
        **{"prompt": "It is", "seed": 1, "temperature": 0.7},
        **{"champion": "a matter of the", "challenger": ", we say, time."},
    },
    "word_differences": [
        {"word": "peace", "count": 12, "champion": 1 / 1234, "challenger": 0.125},
        {"word": "bureau", "count": 3, "champion": 0.05, "challenger": 0.004},
    ],
}


class Page(HTMLParser):
    """A page's elements and text. Elements must be closed in order, and none may load or run anything."""

    VOID = ("meta", "img")
    REFUSED = ("script", "link", "iframe", "object", "embed", "form", "image", "use", "a", "base", "svg")

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in self.REFUSED
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("href", "srcset")]
        assert (dict(attrs).get("src") or "data:image/svg+xml;base64,").startswith(
            "data:image/svg+xml;base64,"
        )
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def text(self, *tags: str) -> str:
        """The text in elements of these tags, or all text that is shown, on one line."""
        shown = [text for tag, text in self.texts if (tag in tags if tags else tag != "style")]
        return re.sub(r"\s+", " ", " ".join(shown)).strip()

    @property
    def headings(self) -> list[str]:
        return [text for tag, text in self.texts if tag == "h2"]

    def row(self, name: str) -> str:
        """The cell beside a row's name."""
        texts = [text.strip() for _, text in self.texts if text.strip()]
        return texts[texts.index(name) + 1]


UNDONE = {"training_job": None, "serving": None, "restored": False, "removed": ["model/lexline--old"]}
CAUGHT = [
    {"Error": "TrainingFailed", "Cause": "Exit code 1.", "Step": "Train"},
    {"Error": "Throttled", "Cause": "Rate exceeded", "Step": "Compensate"},
]


@pytest.fixture
def run(results: Json) -> Json:
    """The input of a report that has every section; no real run has them all."""
    return results | {"caught": CAUGHT, "compensated": UNDONE}


def shown(
    run: Json,
    metrics: Any = METRICS,
    curve: bytes | None = CURVE,
    durations: dict[str, float] | None = None,
) -> Page:
    given = ReportInput.model_validate(run)
    output = JobOutput(JobMetrics.model_validate(metrics), curve)
    report = build(given, output.metrics, durations or DURATIONS, list_prices(), ["A note."])
    return Page(report_page.render(report, given, output))


# --- the file ----------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_loads_and_runs_nothing(run: Json) -> None:
    html = shown(run).html
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html


@pytest.mark.parametrize("hostile", [HOSTILE, "\x00\x1b[31m", "‮evil", "\n" * 50 + "x" * 10_000])
def test_no_text_of_a_corpus_or_a_log_is_taken_for_html(run: Json, hostile: str) -> None:
    run["caught"] = [{"Error": hostile, "Cause": hostile, "Step": hostile}] * 2
    run["evaluated"] |= {"reason": hostile}
    run["evaluated"]["comparison"] |= {"champion": hostile, "reason": hostile, "notes": [hostile]}
    run["smoke_test"]["texts"][0] |= {"prompt": hostile, "text": hostile}
    run["source"] |= {"repo": hostile, "branch": hostile, "commit": hostile}
    run["model"] |= {"name": hostile, "image": hostile}
    left_out = {"name": hostile, "reason": hostile, "error": ""}
    run["prepared"] |= {"left_out": [left_out], "left_out_count": 1, "notes": [hostile]}
    run["trained"] |= {"instance_type": hostile}
    run["compensated"] = UNDONE | {"removed": [hostile]}
    pair = {"prompt": hostile, "champion": hostile, "challenger": hostile}
    word = {"word": hostile, "count": 3, "champion": 0.1, "challenger": 0.2}
    metrics = {
        **{"samples": [{"prompt": hostile, "text": hostile}], "side_by_side": pair},
        **{"word_differences": [word], "machine": {"device": hostile}},
    }
    run["run"]["source"] = {"repo": hostile[:500], "secret": hostile[:500]}
    run["evaluated"]["objection"] = hostile
    run["evaluated"]["metrics"]["notes"] = [hostile]
    page = shown(run, metrics)
    assert "\x00" not in page.html
    assert [tag for tag, _ in page.elements].count("section") == len(page.headings)
    if hostile == HOSTILE:
        assert page.text("blockquote", "b").count(HOSTILE) == 4
        assert page.text("pre").count(HOSTILE) == 4
    run["evaluated"]["comparison"]["reason"] = None
    page = shown(run, metrics)
    assert [tag for tag, _ in page.elements].count("section") == len(page.headings)
    if hostile == HOSTILE:
        assert page.text("blockquote", "b").count(HOSTILE) == 8


# --- sections ----------------------------------------------------------------------------------------

SECTIONS: dict[str, Json] = {
    "Error": {"caught": []},
    "Comparison with the previous model": {"evaluated": None},
    "Training curve": {},
    "Metrics": {"trained": None},
    "Generated text": {"smoke_test": None},
    "Duration of each step": {},
    "Cost": {"trained": None},
    "Deleted resources": {"compensated": UNDONE | {"removed": []}},
    "Provenance": {},
}


def test_a_report_that_has_everything_shows_everything(run: Json) -> None:
    assert shown(run).headings == list(SECTIONS)


@pytest.mark.parametrize("heading", [name for name, change in SECTIONS.items() if change])
def test_a_section_without_its_data_is_left_out(run: Json, heading: str) -> None:
    assert heading not in shown(run | SECTIONS[heading], metrics={}).headings


def test_the_output_of_an_earlier_versions_job_has_a_page(run: Json) -> None:
    new = ("hyperparameters", "machine", "side_by_side", "word_differences", "cache")
    page = shown(run, {name: value for name, value in METRICS.items() if name not in new})
    assert page.headings == list(SECTIONS)
    for text in ("What each writes", "differ most", "Device", "memory", "cache"):
        assert text not in page.text()


def test_a_run_that_ended_before_it_began_has_a_page(run: Json) -> None:
    skipped = {"Error": "NothingToDo", "Cause": "Announced twice.", "Step": "Plan"}
    nothing = dict.fromkeys(run) | {"execution": run["execution"], "caught": [], "skipped": skipped}
    page = shown(nothing, metrics={}, curve=None)
    assert page.headings == ["Duration of each step", "Provenance"]
    assert page.text("span", "bdi").startswith("Skipped: There was nothing to do. Announced twice.")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@having(data=st.data())
def test_metrics_with_anything_anywhere_have_a_page(run: Json, data: st.DataObject) -> None:
    whole = json.loads(json.dumps(METRICS))
    for _ in range(3):
        place = whole
        while True:
            name = data.draw(st.sampled_from(sorted(place)))
            if not isinstance(place[name], dict) or not place[name] or data.draw(st.booleans()):
                place[name] = data.draw(ANYTHING)
                break
            place = place[name]
    assert "Provenance" in shown(run, whole).headings


# --- the head ----------------------------------------------------------------------------------------


def test_the_head_says_the_outcome_and_names_the_run(run: Json) -> None:
    run |= {"caught": [], "compensated": None}
    run["execution"]["started"] = "2026-03-01T13:30:00+01:00"
    page = shown(run)
    texts = [text for tag, text in page.texts if tag not in ("style", "title") and text.strip()]
    headline = f"{NAME} is live on endpoint lexline. It replaces {FORMER}."
    assert texts[:3] == ["Succeeded:", headline, run["evaluated"]["reason"]]
    assert page.text("title") == f"{NAME}: Succeeded"
    assert (page.row("Run"), page.row("Dataset"), page.row("Endpoint")) == (NAME, "sotu", "lexline")
    assert (page.row("Started"), page.row("Duration")) == ("2026-03-01 12:30 UTC", "18 min 17 s")


def test_a_failure_shows_its_step_and_error_and_the_whole_message_once(run: Json) -> None:
    run["caught"] = [CAUGHT[0] | {"Cause": "Traceback. " * 300}, CAUGHT[1]]
    page = shown(run)
    assert "Failed: The step “Train” failed. Run" in page.text("span", "bdi", "dt")
    assert "Step Train Error TrainingFailed" in page.text("dt", "bdi")
    assert page.text("pre").count("Traceback.") == 300
    assert "Traceback." not in page.text("bdi")
    assert "“Undo incomplete changes” failed with Throttled: Rate exceeded" in page.text("pre")


def test_steps_have_the_commands_words(run: Json) -> None:
    run["caught"] = [{"Error": "LeaseLost", "Cause": "It is gone.", "Step": "Acquire"}]
    page = shown(run, durations={"acquire": 7.0, "champion": 8.0, "total": 15.0})
    assert page.row("Step") == "Reserve the endpoint"
    assert (page.row("Look up the current model"), "Acquire" in page.text()) == ("8.0 s", False)


def test_a_rollback_names_the_model_that_no_longer_serves(run: Json) -> None:
    run["run"] |= {"work": "deploy", "model": "previous", "dataset": None}
    trained = dict.fromkeys(("prepared", "source", "trained", "evaluated", "compensated"))
    page = shown(run | trained | {"caught": []}, metrics={}, curve=None)
    assert f"Succeeded: Endpoint lexline serves {NAME} again, instead of {FORMER}." in page.text(
        "span", "bdi"
    )


def test_a_rejection_says_how_to_deploy_the_model_nevertheless(run: Json) -> None:
    run["evaluated"] |= {"accepted": False, "objection": f"it is worse than {FORMER}, which serves"}
    page = shown(run | {"caught": [], "compensated": None, "finished": None})
    assert f"Rejected: The new model was not deployed: it is worse than {FORMER}" in page.text("span", "bdi")
    assert "lexline deploy 3 --force" in page.text("span")


# --- the comparison ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("challenger", "sentence"),
    [
        (240.0, "The new model is better: its perplexity is 4.0% lower."),
        (255.0, "The new model is worse: its perplexity is 2.0% higher."),
        (
            250.01,
            "The new model is as good as the previous one: their perplexities differ by less than 0.1%.",
        ),
    ],
)
def test_the_comparison_says_which_model_is_better_and_by_how_much(challenger: float, sentence: str) -> None:
    figures = {"champion_perplexity": 250.0, "challenger_perplexity": challenger, "tolerance": 0.02}
    assert comparison_sentence(Comparison.model_validate({"champion": FORMER, **figures})) == (
        f"{sentence} The gate accepts a model whose perplexity is up to 2.0% higher."
    )


def test_without_tolerance_the_comparison_names_no_share() -> None:
    figures = {"champion_perplexity": 250.0, "challenger_perplexity": 240.0, "tolerance": 0}
    sentence = comparison_sentence(Comparison.model_validate({"champion": FORMER, **figures}))
    assert sentence.endswith("The gate accepts a model whose perplexity is no higher.")


@pytest.mark.parametrize(
    ("own", "explained"), [(249.4, True), (384.0, False), (None, False), ("Infinity", False)]
)
def test_the_comparison_says_why_its_perplexity_is_not_the_test_perplexity(
    run: Json, own: float | str | None, explained: bool
) -> None:
    run["evaluated"]["comparison"]["challenger_perplexity"] = 384.8
    run["evaluated"]["metrics"]["test_perplexity"] = own
    text = shown(run).text("p")
    assert ("Why 384.8 here, and 249.4 as the test perplexity below?" in text) == explained
    assert ("must say which word it is among the 35,012 words that either" in text) == explained


def test_both_models_continue_the_same_prompt_side_by_side(run: Json) -> None:
    page = shown(run)
    assert "Previous model It is a matter of the… New model It is , we say, time." in page.text(
        "figcaption", "b", "blockquote"
    )
    assert "It is</b>, we say, time.</blockquote>" in page.html
    assert "Both continue the same prompt (in bold), with the same seed 1 and temperature 0.7." in page.text()


def test_the_words_on_which_the_models_differ_have_their_odds(run: Json) -> None:
    text = shown(run).text("h3", "th", "td", "bdi")
    assert (
        "Word Times Previous model New model "
        "The new model expects these more peace 12 1 in 1,234 1 in 8.0 "
        "The new model expects these less bureau 3 1 in 20 1 in 250"
    ) in text
    alone = shown(run, METRICS | {"word_differences": METRICS["word_differences"][:1]}).text()
    assert ("expects these more" in alone, "expects these less" in alone) == (True, False)


def test_the_comparison_shows_both_models_the_common_text_and_the_notes(run: Json) -> None:
    note = f"{FORMER} was trained on dataset tales, not on sotu."
    run["evaluated"]["comparison"]["notes"] = [note]
    page = shown(run)
    assert (page.row("New model"), page.row("Previous model")) == ("208.3", "215.2")
    text = page.text()
    assert "33,278 1.01%" in text
    assert "on the same 91,200 tokens of the test text, over the same 35,012 words." in text
    assert note in text


def test_models_that_cannot_be_compared_have_the_reason_and_no_scores(run: Json) -> None:
    run["evaluated"]["comparison"] = {"champion": FORMER, "tolerance": 0, "reason": "The artifact is gone."}
    page = shown(run)
    assert "The two models cannot be compared. The artifact is gone." in page.text("bdi")
    assert "Previous model" not in page.text()


# --- the dataset -------------------------------------------------------------------------------------


def test_the_files_that_were_left_out_are_named_with_their_reasons(run: Json) -> None:
    reason = "It is a PDF. Save it as plain text."
    entry = {"name": "novel.pdf", "reason": reason, "error": "DatasetNotText"}
    note = "old.gz: There are 12 bytes after the end."
    run["prepared"] |= {"left_out": [entry], "left_out_count": 21, "notes": [note]}
    text = shown(run).text()
    assert "21 of the uploaded files were left out; these are the first 1:" in text
    assert f"novel.pdf : {reason}" in text or f"novel.pdf: {reason}" in text
    assert note in text


def test_a_dataset_of_which_nothing_was_left_out_has_no_section(run: Json) -> None:
    assert "Dataset" not in shown(run).headings


# --- the training curve ------------------------------------------------------------------------------


def test_the_curve_is_an_image_that_runs_no_script_and_is_told_in_words(run: Json) -> None:
    (image,) = [attributes for tag, attributes in shown(run).elements if tag == "img"]
    kind, _, data = str(image["src"]).partition(",")
    assert (kind, base64.b64decode(data)) == ("data:image/svg+xml;base64", CURVE)
    assert image["alt"] == (
        "Training curve: perplexity by epoch, 6 epochs. Training perplexity went from 1,000 to 250.0. "
        "Validation perplexity went from 600.0 to 266.8. The best epoch is 5. Test perplexity is 208.3."
    )


# --- metrics, texts, durations, money ----------------------------------------------------------------


def test_the_metrics_are_the_models_the_texts_and_the_jobs(run: Json) -> None:
    run["evaluated"]["metrics"]["valid_perplexity"] = None
    page = shown(run)
    assert page.row("Test perplexity") == "208.3"
    assert page.row("Vocabulary in words") == "33,278"
    assert page.row("Parameters") == "1,234,567"
    # As the curve ends.
    assert page.row("Training perplexity, with dropout") == "250.0"
    assert shown(run, metrics={}).row("Training perplexity, with dropout") == "168.0"
    assert page.row("Training text in words") == "9,000"
    assert page.row("Training speed in words per second") == "1,432"
    assert page.row("Training job on ml.m5.xlarge") == "10 min 10 s"
    assert page.row("Device of each of 4 processes") == "NVIDIA A10G, TF32"
    assert page.row("Most memory used by training") == "812 MB"
    assert page.row("Most memory used on the GPU") == "2.1 GB"
    assert "Validation perplexity" not in page.text("bdi")


def test_the_perplexity_with_a_cache_has_a_row_and_a_sentence_of_its_own(run: Json) -> None:
    page = shown(run)
    assert page.row("Test perplexity with a cache of recent words") == "171.2, without it 205.5"
    assert "Both of these figures are for the first 50,000 words, marks and line ends" in page.text("p")
    for lacking in METRICS["cache"]:
        rest = {name: value for name, value in METRICS["cache"].items() if name != lacking}
        assert ("cache" in shown(run, METRICS | {"cache": rest}).text()) == (lacking == "theta")


def test_the_page_says_with_which_sizes_a_short_text_was_trained(run: Json) -> None:
    note = "The training text has only 240 tokens, so it was trained with batch_size 6, not 20."
    run["evaluated"]["metrics"]["notes"] = [note]
    assert note in shown(run).text("bdi")


def test_generated_texts_are_shown_with_their_prompt_and_seed(run: Json) -> None:
    page = shown(run)
    texts = page.text("blockquote", "b")
    assert texts.endswith("The state of the union is strong. The state of the union…")
    assert "no prompt, seed 111, temperature 1.0, took 0.2 s" in page.text("bdi")
    assert "prompt in bold, seed 1, temperature 0.7" in page.text("bdi")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It ends.", "It ends."),
        ('He said, "It ends."', 'He said, "It ends."'),
        ("(Does it?)\n", "(Does it?)"),
        ("終わり。」", "終わり。」"),
        ("It goes on", "It goes on…"),
        ("It goes on, ", "It goes on,…"),
        ("It already does…", "It already does…"),
        ("the so-called 'peace'", "the so-called 'peace'…"),
    ],
)
def test_a_text_that_stops_in_the_middle_of_a_sentence_says_so(text: str, expected: str) -> None:
    assert report_page.open_ended(text) == expected


@pytest.mark.parametrize(
    ("text", "between"), [("of", " "), (", of", ""), ("\nOf", ""), ("'s", ""), ("", " ")]
)
def test_a_text_joins_its_prompt_as_it_was_generated(text: str, between: str) -> None:
    assert report_page.joint(text) == between


def test_each_steps_bar_is_as_long_as_its_share_of_the_longest(run: Json) -> None:
    page = shown(run)
    bars = [attributes["style"] for _, attributes in page.elements if attributes.get("class") == "bar"]
    assert bars == ["width: 0.1%", "width: 100.0%", "width: 50.0%"]
    assert page.row("Generate a test text") == "6 min 06 s"
    assert "Total" not in page.text("th")


def test_short_steps_are_summed_up(run: Json) -> None:
    short = {"plan": 0.4, "acquire": 0.3, "champion": 4.9}
    page = shown(run, durations={**short, "train": 60.0, "total": 66.0})
    assert page.row("3 other steps, each under 5\N{NO-BREAK SPACE}s") == "5.6 s"
    assert "Train 1 min 00 s" in page.text("th", "td", "bdi")
    assert "Check the request" not in page.text("th", "bdi")
    assert "Duration of each step" not in shown(run, durations={**short, "total": 5.6}).headings


def test_the_cost_is_the_runs_what_spot_saved_and_the_endpoints(run: Json) -> None:
    run["compensated"] = None
    run["trained"]["instance_count"], run["deployed"]["instance_count"] = 2, 3
    page = shown(run)
    assert page.row("Training on 2 × ml.m5.xlarge, 3 min 03 s billed") == "$0.0234"
    assert page.row("Saved by spot instances (70%)") == "$0.0546"
    assert page.row("Endpoint on 3 × ml.m5.large, per hour") == "$0.345"
    assert page.row("Endpoint per month of 730 hours") == "$252"
    text = page.text()
    assert "Estimated from list prices of 2026-09-22 in us-east-1, before tax." in text
    assert text.count("prices in eu-west-1, the run's region, may differ") == text.count("A note.") == 1


@pytest.mark.parametrize(("billable", "has_saving"), [(610, False), (609, False), (600, True)])
def test_savings_of_nothing_are_not_listed(run: Json, billable: int, has_saving: bool) -> None:
    run["trained"]["billable_seconds"] = billable
    assert ("Saved by spot" in shown(run).text()) == has_saving


def test_an_unknown_price_is_not_shown_as_nothing(run: Json) -> None:
    run["compensated"] = None
    run["run"]["hosting"]["instance_type"] = run["trained"]["instance_type"] = "ml.z9.large"
    page = shown(run)
    assert page.row("Endpoint per day") == "not known"
    assert "$0" not in page.text("td")


def test_a_serverless_endpoint_costs_nothing_while_idle(run: Json) -> None:
    run["compensated"] = None
    run["run"]["hosting"] = {"endpoint_type": "serverless", "serverless_memory_mb": 2048}
    page = shown(run)
    assert page.row("Serverless endpoint with 2,048 MB, while idle") == "nothing"
    assert page.row("1,000 requests of 1.0 s") == "$0.04"


def test_provenance_names_everything_a_model_was_made_of(run: Json) -> None:
    repository = {"repo": "https://example.com/our/scripts.git", "branch": "main", "commit": "c0ffee1"}
    run["source"] |= repository
    page = shown(run)
    assert page.row("Files") == "3"
    assert page.row("List of the files").endswith("/corpus/manifest.json")
    assert page.row("Fingerprint of the text") == "ab" * 32
    assert (page.row("Repository"), page.row("Branch"), page.row("Commit")) == tuple(repository.values())
    assert page.row("SHA-256 of the scripts") == "cd" * 32
    assert "recipe=fast, emsize=200" in page.row("Hyperparameters")
    assert "lr=0.003" in page.row("Hyperparameters")
    assert "auto" not in page.row("Hyperparameters")
    assert page.row("Execution").startswith("arn:aws:states:")


def test_the_page_has_the_command_that_trains_the_model_again(run: Json) -> None:
    run["source"] |= {"repo": "https://example.com/our scripts.git", "branch": "main", "commit": "c0ffee1"}
    run["run"]["source"] = {"repo": "https://example.com/our scripts.git", "secret": "lexline/token"}
    command, *options = shlex.split(shown(run).text("pre").partition("lexline run ")[2])
    assert [command, *options[:2]] == ["--dataset", "sotu", "--force"]
    settings = [value for option, value in itertools.pairwise(options) if option == "--set"]
    assert {"epochs=6", "lr=0.003", "tied=true", "tokenizer=prose", "emsize=200"} <= {*settings}
    assert options[-6:] == [
        *("--source-repo", "https://example.com/our scripts.git"),
        *("--source-commit", "c0ffee1", "--source-secret", "lexline/token"),
    ]


@pytest.mark.parametrize("changes", [{"trained": None}, {"run": None}])
def test_without_a_training_there_is_no_command_to_repeat(run: Json, changes: Json) -> None:
    assert "lexline run" not in shown(run | changes).text("pre")
