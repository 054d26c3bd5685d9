"""Errors say what to do, and nothing that others wrote runs in the page."""

import json
from typing import Any

import pytest

from tests.browser.conftest import Open, Playground
from tests.stack import DeployedStack

ATTACKS = [
    "<script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    '"><svg onload="window.hacked = 1">',
    "</p></section><iframe srcdoc='<script>parent.hacked = 1</script>'></iframe>",
    "javascript:window.hacked=1",
    "`<b onmouseover=window.hacked=1>`{{7*7}}${7*7}",
]
ATTACK = " ".join(ATTACKS)


def assert_harmless(page: Any) -> None:
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main :is(script, iframe, img, b)").count() == 0


def piece(text: str) -> dict[str, Any]:
    others = [{"word": attack, "probability": 0.1} for attack in ATTACKS]
    return {"text": text, "unknown": True, "bits": 3.0, "probability": 0.125, "alternatives": others}


def test_a_models_text_runs_nothing(open_page: Open) -> None:
    page = open_page()
    text = {
        "text": ATTACK,
        "seed": 1,
        "pieces": [each for attack in ATTACKS for each in (piece(attack), {"text": " "})],
    }
    answer = {
        "model": ATTACK, "settings": {"seed": 1}, "unknown_words": ATTACKS, "texts": [text], "note": ATTACK,
    }  # fmt: skip
    page.route("**/api/generate", lambda route: route.fulfill(json=answer))
    page.route("**/api/curl", lambda route: route.fulfill(json={"command": ATTACK}))
    page.click("#write button.main")
    page.wait_for_selector("#write .word")
    page.locator("#write .word").first.hover()
    assert ATTACKS[1] in page.locator("#write .card").inner_text()
    page.click("#write .curl summary")
    assert page.locator("#write .curl pre").inner_text() == ATTACK
    assert page.locator("#write .text").inner_text().strip() == ATTACK
    assert_harmless(page)


def test_a_prompt_and_a_scored_text_run_nothing(open_page: Open) -> None:
    page = open_page("score")
    page.fill("#score-text", f"The people of the United States. {ATTACK}")
    page.click("#score button.main")
    page.wait_for_selector("#score .word")
    assert page.inner_text("#score .text") == page.input_value("#score-text")
    assert_harmless(page)
    page.click('nav a[href="#write"]')
    page.fill("#write-prompt", f"The people {ATTACK}")
    page.click("#write button.main")
    page.wait_for_selector("#write .sample")
    assert_harmless(page)


def test_the_name_of_a_dataset_runs_nothing(open_page: Open, stack: DeployedStack) -> None:
    """Anybody who may start an execution can give it any input."""
    stack.wait(stack.start({"dataset": ATTACK}))
    page = open_page("runs")
    page.wait_for_selector("#runs table")
    page.wait_for_selector("#runs td:has-text('window.hacked')")
    assert_harmless(page)
    row = page.locator("#runs tr:has-text('window.hacked')").last
    row.locator("button.link").click()
    page.wait_for_selector("dialog[open] .steps")
    assert_harmless(page)


def test_models_and_reports_of_others_run_nothing(
    open_page: Open, stack: DeployedStack, playground: Playground
) -> None:
    page = open_page("runs")
    page.wait_for_selector("#runs table")

    def attack(route: Any) -> None:
        models = route.fetch().json()
        for model in models:
            model |= {
                "dataset": ATTACK,
                "reason": ATTACK,
                "approval": ATTACK,
                "cost": ATTACK,
                "approved": False,
            }
        route.fulfill(json=models)

    page.route("**/api/history", attack)
    page.reload()
    page.wait_for_selector("#runs figure:has-text('window.hacked')")
    page.get_by_role("button", name="Deploy version 1").click()
    assert ATTACKS[0] in page.inner_text("dialog[open]")
    assert_harmless(page)


def test_a_report_with_a_script_does_not_run_it(open_page: Open, stack: DeployedStack) -> None:
    page = open_page("runs", expected="Blocked script execution|Content Security Policy")
    page.wait_for_selector("#runs table a")
    address = page.locator("#runs table a").first.get_attribute("href")
    run = address.split("/")[2]
    s3 = stack.cloud.client("s3")
    (key,) = [
        item["Key"]
        for item in s3.list_objects_v2(Bucket=stack.bucket, Prefix="reports/")["Contents"]
        if item["Key"].endswith(f"{run}.html")
    ]
    before = s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=stack.bucket, Key=key, Body=f"<p>text</p>{ATTACK}".encode())
    page.goto(page.url.partition("#")[0].rstrip("/") + address)
    page.wait_for_selector("text=text")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
    s3.put_object(Bucket=stack.bucket, Key=key, Body=before)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("#write-words", "0", "words must be a whole number from 1 to 1,000"),
        ("#write-prompt", "Zyxqw", "no word that is in the model's vocabulary"),
    ],
)
def test_a_request_that_the_api_refuses_is_explained(
    open_page: Open, field: str, value: str, message: str
) -> None:
    page = open_page(expected="400")
    page.fill(field, value)
    page.click("#write button.main")
    problem = page.locator("#write [role=alert]")
    problem.wait_for()
    assert message in problem.inner_text()
    assert page.locator("#write button.main").inner_text() == "Write"
    marked = page.locator('#write [aria-invalid="true"]')
    assert marked.count() == (field == "#write-words")
    page.fill("#write-words", "5")
    page.fill("#write-prompt", "")
    page.click("#write button.main")
    page.wait_for_selector("#write .sample")
    assert marked.count() == 0


def test_without_the_token_the_page_says_where_to_get_it(open_page: Open) -> None:
    page = open_page(expected="401")
    page.evaluate("localStorage.clear()")
    page.reload()
    problem = page.locator("#banner [role=alert]")
    problem.wait_for()
    assert "Open the address that lexline playground printed." in problem.inner_text()


def test_a_server_that_has_stopped_is_named(open_page: Open) -> None:
    page = open_page(expected="ERR_FAILED")
    page.route("**/api/**", lambda route: route.abort())
    page.click("#write button.main")
    page.wait_for_selector("#write [role=alert]")
    assert "The playground has stopped." in page.inner_text("#write [role=alert]")
    page.click('nav a[href="#runs"]')
    page.wait_for_selector("#runs [role=alert]")
    page.unroute("**/api/**")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_selector("#runs table")
    assert page.locator("#runs [role=alert]").count() == 0


def test_empty_states_say_what_to_do(open_page: Open) -> None:
    page = open_page()
    names = ("status", "model", "previous", "teardown", "cost", "lease", "bucket")
    nothing = {**dict.fromkeys(names, ""), "endpoint": "lexline", "serves": False, "local": True, "runs": []}

    def without_model(route: Any) -> None:
        problem = {"message": "No model has been deployed yet.", "hint": "`lexline run FILE` trains one."}
        route.fulfill(json={**route.fetch().json(), "model": None, "problem": problem})

    page.route("**/api/stack", without_model)
    page.route("**/api/overview", lambda route: route.fulfill(json=nothing))
    for name in ("models", "history"):
        page.route(f"**/api/{name}", lambda route: route.fulfill(body=json.dumps([])))
    page.reload()
    for view in ("write", "score", "compare", "runs"):
        page.click(f'nav a[href="#{view}"]')
        page.wait_for_selector(f"#{view} code:has-text('lexline run FILE')")


def test_the_runs_say_that_they_are_being_read(open_page: Open) -> None:
    """On AWS, the first look takes seconds."""
    page = open_page()
    waiting: list[Any] = []
    released: list[bool] = []
    page.route("**/api/overview", lambda route: route.continue_() if released else waiting.append(route))
    page.click('nav a[href="#runs"]')
    page.wait_for_selector("#runs >> text=Reading what serves")
    while not waiting:
        page.wait_for_timeout(50)
    released.append(True)
    for route in waiting:
        route.continue_()
    page.wait_for_selector("#runs table")
    page.wait_for_selector("#runs >> text=Reading what serves", state="detached")
