"""Cut a text into its words and what is between them, for the page.

JavaScript counts characters differently (UTF-16), so places in a text do not leave this process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Word = Mapping[str, Any]
"""A word in a response: `start` and `end` in the text, `log_probability`, `alternatives`, `unknown`."""


def pieces(text: str, words: Sequence[Word]) -> list[dict[str, Any]]:
    """Return the text in pieces. A piece that is a word has its surprise in bits, and what else was likely.

    Args:
        text: The text.
        words: Its words in order, those without a place left out.
    """
    cut: list[dict[str, Any]] = []
    end = 0
    for word in words:
        if word["start"] > end:
            cut.append({"text": text[end : word["start"]]})
        end = word["end"]
        cut.append({"text": text[word["start"] : end], **_figures(word)})
    if text[end:]:
        cut.append({"text": text[end:]})
    return cut


def _figures(word: Word) -> dict[str, Any]:
    figures: dict[str, Any] = {"unknown": bool(word.get("unknown"))}
    if word.get("log_probability") is not None:
        figures["bits"] = bits(word["log_probability"])
        figures["probability"] = math.exp(word["log_probability"])
    figures["alternatives"] = [
        {"word": other["word"], "probability": math.exp(other["log_probability"])}
        for other in word.get("alternatives") or []
    ]
    return figures


def bits(log_probability: float) -> float:
    """Return the surprise of an outcome in bits."""
    return -log_probability / math.log(2)
