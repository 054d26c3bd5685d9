"""Cut a text into its words and what is between them, for the page.

JavaScript counts characters differently (UTF-16), so places in a text do not leave this process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Token = Mapping[str, Any]
"""One of the `log_probabilities` in a response of the API."""


def pieces(text: str, tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """Return the text in pieces. A piece that is a word has its surprise in bits, and what else was likely.

    Args:
        text: The text.
        tokens: Its tokens in order. Those without visible characters, such as line ends, become no word.
    """
    cut: list[dict[str, Any]] = []
    end = 0
    for token in tokens:
        if not text[token["start"] : token["end"]].strip():
            continue
        if token["start"] > end:
            cut.append({"text": text[end : token["start"]]})
        end = token["end"]
        cut.append({"text": text[token["start"] : end], **_figures(token)})
    if text[end:]:
        cut.append({"text": text[end:]})
    return cut


def _figures(token: Token) -> dict[str, Any]:
    return {
        "unknown": not token["known"],
        "bits": bits(token["log_probability"]),
        "probability": math.exp(token["log_probability"]),
        "alternatives": [
            {"word": other["word"], "probability": math.exp(other["log_probability"])}
            for other in token.get("alternatives", [])
        ],
    }


def bits(log_probability: float) -> float:
    """Return the surprise of an outcome in bits."""
    return -log_probability / math.log(2)
