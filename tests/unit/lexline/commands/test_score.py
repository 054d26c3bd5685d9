import json
import math
from pathlib import Path
from typing import Any

import pytest

from lexline.aws.http_api import HttpApi
from lexline.commands.score import parts
from lexline.core import api_document
from tests.unit.lexline.conftest import run_lexline

pytestmark = pytest.mark.usefixtures("deployed")


def scored(_: HttpApi, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return scores of a model that gives each word the probability 1/e^2, and does not know `eels`.

    With a cache it is 1/e.
    """
    assert path == "/score"
    text, entries, at = body["text"], [], 0
    for word in text.split():
        start = text.index(word, at)
        at = start + len(word)
        entries.append({"word": word, "start": start, "end": at, "log_probability": -2.0, "known": True})
    return {
        "log_probability": -2.0 * len(entries),
        "tokens": len(entries),
        "log_probabilities": entries,
        "unknown_words": ["eels"] if "eels" in text else [],
        "model": "RUN",
        **({"cache_log_probability": -1.0 * len(entries)} if body.get("cache") else {}),
    }


@pytest.fixture(autouse=True)
def _api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpApi, "post", scored)


def test_a_file_is_scored_and_summarised(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("Anna wants\neels and\x1b tea")
    result = run_lexline("score", str(file))
    assert result.exit_code == 0
    assert f"Perplexity {math.e**2:.2f} over 5 words, marks and line ends." in result.output
    assert "Model: RUN" in result.output
    assert "The model does not know 1 words: eels" in result.output
    assert "\x1b" not in result.output


def test_a_long_file_is_scored_in_parts_and_places_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_document, "longest_text", lambda: 25)
    file = tmp_path / "text"
    text = "Anna wants tea.\n\nThe baker is out of bread and of gold, and eels.\n"
    file.write_text(text)
    whole = json.loads(run_lexline("score", str(file), "--json").output)
    assert [text[each["start"] : each["end"]] for each in whole["log_probabilities"]] == text.split()
    assert whole["tokens"] == len(text.split())
    assert whole["perplexity"] == pytest.approx(math.e**2)
    assert whole["bits_per_character"] == pytest.approx(2 * len(text.split()) / math.log(2) / len(text))
    assert whole["unknown_words"] == ["eels"]


def test_a_cache_has_a_figure_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_document, "longest_text", lambda: 25)
    file = tmp_path / "text"
    file.write_text("Anna wants tea.\nThe baker is out of bread and of gold.\n")
    said = run_lexline("score", str(file), "--cache").output
    assert f"Perplexity {math.e**2:.2f} over" in said
    assert f"With a cache of the words before: perplexity {math.e:.2f}." in said
    whole = json.loads(run_lexline("score", str(file), "--cache", "--json").output)
    assert whole["cache_perplexity"] == pytest.approx(math.e)
    assert whole["cache_log_probability"] == pytest.approx(-whole["tokens"])
    assert "cache" not in run_lexline("score", str(file)).output


def test_parts_end_at_line_ends_then_at_spaces() -> None:
    text = "a b\nc d\n" + "e" * 5 + " " + "f" * 12 + "\n"
    found = [*parts(text, 8)]
    assert "".join(found) == text
    assert found == ["a b\nc d\n", "eeeee ", "ffffffff", "ffff\n"]


def test_a_file_that_does_not_exist_is_an_invalid_argument(tmp_path: Path) -> None:
    result = run_lexline("score", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "none cannot be read: No such file" in " ".join(result.output.split())


@pytest.mark.parametrize(("content", "problem"), [(b"caf\xe9", "is not UTF-8 text"), (b" \n", "has no text")])
def test_a_file_without_readable_text_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "text"
    file.write_bytes(content)
    result = run_lexline("score", str(file))
    assert result.exit_code == 2
    assert f"text {problem}" in " ".join(result.output.split())
