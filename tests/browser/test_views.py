"""Each view in the light, in the dark and on a phone: what it shows, and whether everybody can use it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import LOOKS, VIEWS, Open

Shoot = Callable[[Any, str], None]
SERIOUS = ("serious", "critical")


def fill(page: Any, view: str) -> None:
    """Use a view, so that it has everything to show."""
    if view == "write":
        page.fill("#write-prompt", "My fellow Americans")
        page.click("#write button.main")
        page.wait_for_selector("#write .sample .word")
    elif view == "score":
        page.fill("#score-text", "My fellow Americans, the hovercraft of the United States is full of eels.")
        page.click("#score button.main")
        page.wait_for_selector("#score .sample .word")
    elif view == "compare":
        page.wait_for_selector("#compare-model option", state="attached")
        page.fill("#compare-prompt", "The people")
        page.click("#compare button.main")
        page.wait_for_selector("#compare .sample:nth-child(2) .word")
    else:
        page.wait_for_selector("#runs table")
        page.wait_for_selector("#runs svg")


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_can_be_used_by_everybody(open_page: Open, shoot: Shoot, view: str, look: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(view, look)
    page.wait_for_timeout(200)
    shoot(page, f"{view}-empty-{look}")
    fill(page, view)
    for summary in page.locator(f"#{view} details:not(.curl) > summary").all():
        summary.click()
    if page.locator(f"#{view} .word").count():
        page.locator(f"#{view} .word").nth(2).hover()
    shoot(page, f"{view}-{look}")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in SERIOUS] == []
    # Nothing is wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_address_names_the_view_and_a_reload_keeps_it(open_page: Open) -> None:
    page = open_page("score")
    assert page.url.endswith("/#score")
    page.reload()
    page.wait_for_selector("#score h1")
    assert page.locator("nav a[aria-current]").inner_text() == "Score"
    page.go_back()
    page.wait_for_selector("#write h1")
