"""What a person does with the page, by mouse and by keyboard."""

import re
import time
from collections.abc import Callable
from typing import Any

from tests.browser.conftest import Open
from tests.browser.test_views import fill
from tests.stack import DeployedStack
from tests.waiting import DEADLINE


def texts(page: Any, view: str = "write") -> list[str]:
    return [text.inner_text() for text in page.locator(f"#{view} .sample .text").all()]


def until(page: Any, check: Callable[[], bool]) -> None:
    """Wait until something is true. The page's policy forbids `wait_for_function`, which evaluates text."""
    deadline = time.monotonic() + DEADLINE
    while not check():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_the_same_seed_writes_the_same_texts_and_another_one_others(open_page: Open) -> None:
    page = open_page()
    fill(page, "write")
    first, seed = texts(page), page.input_value("#write-seed")
    assert len(first) == 2
    assert first[0] != first[1]
    page.click("#write button.main")
    until(page, lambda: page.input_value("#write-seed") != seed)
    assert texts(page) != first
    # A seed that the reader types is used once.
    page.fill("#write-seed", seed)
    page.click("#write button.main")
    page.wait_for_selector(f"#write .sample footer >> text=seed {seed}")
    assert texts(page) == first
    page.fill("#write-temperature", "0.1")
    page.click("#write >> text=Same seed again")
    until(page, lambda: texts(page) != first)
    assert page.input_value("#write-seed") == seed
    page.click("#write button.main")
    until(page, lambda: page.input_value("#write-seed") != seed)


def test_a_text_that_ends_at_a_string_says_so(open_page: Open) -> None:
    page = open_page()

    def stopped(route: Any) -> None:
        document = route.fetch().json()
        document["texts"][0]["stopped"] = True
        route.fulfill(json=document)

    page.route("**/api/generate", stopped)
    fill(page, "write")
    ended = page.locator("#write .sample footer", has_text="ended at a string")
    assert ended.count() == 1


def test_a_word_tells_what_the_model_expected(open_page: Open) -> None:
    page = open_page()
    fill(page, "write")
    word = page.locator("#write .word").nth(3)
    word.hover()
    card = page.locator("#write .card:visible")
    assert word.inner_text() in card.inner_text()
    assert re.search(r"Probability .* surprise .* bits", card.inner_text())
    assert card.locator("li").count() == 6
    page.mouse.move(0, 0)
    card.wait_for(state="hidden")


def test_everything_in_write_works_by_keyboard(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#write-prompt")
    page.keyboard.type("The people")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#write .sample .word")
    assert "below" in page.inner_text("#announcer")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "words":
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    chosen = page.locator("#write .word.chosen")
    assert chosen.count() == 1
    assert chosen.inner_text() in page.inner_text("#announcer")
    assert "Probability" in page.inner_text("#announcer")
    page.keyboard.press("Escape")
    assert page.locator("#write .card:visible").count() == 0
    page.keyboard.press("End")
    assert "chosen" in page.locator("#write .sample >> nth=0").locator(".word").last.get_attribute("class")


def test_the_curl_command_is_shown_on_request_and_can_be_copied(
    open_page: Open, stack: DeployedStack
) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    fill(page, "write")
    assert stack.api_key() not in page.content()
    page.click("#write .curl summary")
    command = page.locator("#write .curl pre").inner_text()
    assert command.startswith("curl ")
    assert "My fellow Americans" in command
    page.click("#write .curl button")
    page.wait_for_selector("text=Copied")
    assert page.evaluate("navigator.clipboard.readText()") == command
    page.click("#write .sample >> nth=0 >> text=Copy")
    prompt = "My fellow Americans"
    copied = texts(page)[0].removeprefix(prompt).strip()
    until(page, lambda: page.evaluate("navigator.clipboard.readText()") == copied)


def test_a_score_marks_the_words_that_the_model_does_not_know(open_page: Open) -> None:
    page = open_page("score")
    fill(page, "score")
    unknown = page.locator("#score .sample .word.unknown").all_inner_texts()
    assert {"hovercraft", "eels"} <= set(unknown)
    assert "hovercraft" in page.inner_text("#score .note >> nth=0")
    perplexity = page.locator("#score .figures strong >> nth=0").inner_text()
    assert float(perplexity.replace(",", "")) > 1
    assert page.inner_text("#score .sample .text") == page.input_value("#score-text")


def test_two_models_write_from_the_same_prompt_and_seed(open_page: Open, models: list[str]) -> None:
    page = open_page()
    page.fill("#write-prompt", "The Congress")
    page.click('nav a[href="#compare"]')
    page.wait_for_selector("#compare-model option", state="attached")
    assert page.input_value("#compare-prompt") == "The Congress"
    # The model that serves is not offered.
    options = page.locator("#compare-model option").all_inner_texts()
    assert len(options) == 2
    assert ["rejected" in option for option in options] == [True, False]
    assert "served before" in options[1]
    fill(page, "compare")
    assert page.locator("#compare .sample h2").all_inner_texts() == ["Serves now", options[1]]
    first = texts(page, "compare")
    assert len(first) == 2
    page.click("#compare >> text=Same seed again")
    page.wait_for_selector("#compare button:has-text('Writing')", state="detached")
    assert texts(page, "compare") == first


def test_a_run_shows_its_result_its_curve_and_its_steps(open_page: Open) -> None:
    page = open_page("runs")
    fill(page, "runs")
    page.locator("#runs button.link").last.click()
    dialog = page.locator("dialog[open]")
    dialog.locator("svg").wait_for()
    assert "is live on endpoint" in dialog.inner_text()
    assert "Train" in dialog.locator(".steps").inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


def test_a_report_opens_without_scripts_in_a_tab_of_its_own(open_page: Open) -> None:
    page = open_page("runs")
    fill(page, "runs")
    with page.context.expect_page() as opened:
        page.locator("#runs table a").first.click()
    report = opened.value
    report.wait_for_load_state()
    assert "speeches" in report.inner_text("body")
    assert report.evaluate("window.origin") == "null"


def test_a_rollback_and_a_deployment_are_confirmed_and_followed(
    open_page: Open, stack: DeployedStack, models: list[str]
) -> None:
    page = open_page("runs")
    fill(page, "runs")
    before = set(stack.executions())
    page.click("text=Roll back…")
    dialog = page.locator("dialog[open]")
    assert models[0] in dialog.inner_text()
    assert models[1] in dialog.inner_text()
    dialog.get_by_text("Cancel").click()
    assert set(stack.executions()) == before
    page.click("text=Roll back…")
    dialog.get_by_role("button", name="Roll back").click()
    (execution,) = stack.wait_for_new(before)
    assert stack.report(execution)["status"] == "Succeeded"
    page.wait_for_selector(f"#runs .serving >> text={models[0]}")
    # A rejected model can be deployed only with a second click.
    page.get_by_role("button", name="Deploy version 3").click()
    assert "rejected" in dialog.inner_text()
    assert dialog.get_by_role("button", name="Deploy").is_disabled()
    dialog.get_by_text("Deploy it anyway").click()
    assert dialog.get_by_role("button", name="Deploy").is_enabled()
    page.keyboard.press("Escape")
    # Deploy the second model again, for the other tests.
    page.get_by_role("button", name="Deploy version 2").click()
    dialog.get_by_role("button", name="Deploy").click()
    (execution,) = stack.wait_for_new({*before, execution})
    assert stack.report(execution)["status"] == "Succeeded"
    page.wait_for_selector(f"#runs .serving >> text={models[1]}")


def test_a_run_at_work_is_followed_live(open_page: Open, stack: DeployedStack) -> None:
    request = {"dataset": "speeches", "force": True, "hyperparameters": {"epochs": 10}, "max_perplexity": 2}
    execution = stack.start(request)
    page = open_page("runs")
    page.wait_for_selector("#runs .run >> text=At work: speeches")
    page.wait_for_selector("#runs .run progress")
    page.wait_for_selector("#runs .run .chart")
    assert stack.report(execution)["status"] == "Rejected"
    page.wait_for_selector("#runs .run", state="detached")
    page.wait_for_selector("#runs table >> text=rejected")
