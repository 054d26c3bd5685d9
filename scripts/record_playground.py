"""Take the picture of the playground for the README, on the running local cloud with a model that serves.

    python scripts/record_playground.py docs/playground.png

It needs Chromium and what `make test-browser` installs.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
_PROMPT, _SEED = "The people of the United States", "111"
_COLORS = 128


def main(picture: Path) -> None:
    """Start the playground, write two texts, point at a word, and save the picture."""
    command = [sys.executable, "-m", "lexline.cli", "playground", "--no-browser"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = next(filter(None, (re.search(r"http://127\S+/#\S+", line) for line in server.stdout)))[0]
        try:
            _take(address, picture)
        finally:
            server.send_signal(signal.SIGINT)
    # Few colors make the file a quarter as large.
    Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=_COLORS).save(
        picture, optimize=True
    )


def _take(address: str, picture: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1120, "height": 860}, color_scheme="light")
        page.goto(address)
        page.fill("#write-prompt", _PROMPT)
        page.fill("#write-seed", _SEED)
        page.click("text=Same seed again")
        page.wait_for_selector("#write .sample .word")
        # The port and the run's id differ from picture to picture.
        page.evaluate("document.getElementById('place').remove()")
        # Point at the most surprising word of the first text's second line, where the card has room.
        page.locator("#write .sample .word").nth(8).hover()
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
