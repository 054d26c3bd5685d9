"""`lexline score`: say how probable the model finds a text, over the HTTP API."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from lexline.aws.http_api import HttpApi
from lexline.commands.common import DEFAULT_STACK, AsJson, Profile, Region, StackName, connect
from lexline.core import api_document
from lexline.core.errors import UsageError
from lexline.display import terminal

_WORDS_SHOWN = 10


def score(
    file: Annotated[Path, typer.Argument(help="A text file in UTF-8.", dir_okay=False)],
    cache: Annotated[
        bool, typer.Option("--cache", help=str(api_document.field("Score", "cache")["description"]))
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Say how probable the current model finds a text, word by word."""
    text = _read(file)
    api = HttpApi(connect(profile, stack, region))
    asked = {"cache": True} if cache else {}
    scores = [
        api.post("/score", {"text": part, **asked}) for part in parts(text, api_document.longest_text())
    ]
    whole = combined(text, scores)
    if as_json:
        typer.echo(json.dumps(whole, ensure_ascii=False, indent=2))
        return
    lines = [
        f"Perplexity {whole['perplexity']:,.2f} over {whole['tokens']:,} words, marks and line ends.",
        *(
            [f"With a cache of the words before: perplexity {whole['cache_perplexity']:,.2f}."]
            if cache
            else []
        ),
        f"{whole['bits_per_character']:.3f} bits per character.",
        f"Model: {whole['model']}",
        f"Least expected: {', '.join(_least_expected(whole))}",
    ]
    if whole["unknown_words"]:
        shown = ", ".join(whole["unknown_words"][:_WORDS_SHOWN])
        more = " and others" if len(whole["unknown_words"]) > _WORDS_SHOWN else ""
        lines.append(f"The model does not know {len(whole['unknown_words']):,} words: {shown}{more}")
    typer.echo(terminal.plain("\n".join(lines)))


def _read(file: Path) -> str:
    """Return the text of a file, whose last line ends, as training reads it."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"The file {file} cannot be read: {error.strerror}.", "Give the path of a text file."
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is not UTF-8 text: the byte at offset {error.start} is invalid.", "Convert it to UTF-8."
        ) from None
    if not text.strip():
        raise UsageError(f"{file} has no text.", "Give a file with text.")
    return text if text.endswith("\n") else f"{text}\n"


def parts(text: str, longest: int) -> Iterator[str]:
    """Yield a text in parts of at most `longest` characters, which end at line ends where possible."""
    start = 0
    while start < len(text):
        end = min(start + longest, len(text))
        if end < len(text):
            # A line that is too long is cut at a space, and a word that is too long anywhere.
            for mark in ("\n", " "):
                if (place := text.rfind(mark, start, end)) >= 0:
                    end = place + 1
                    break
        yield text[start:end]
        start = end


def combined(text: str, scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the scores of a text from those of its parts."""
    models = {score["model"] for score in scores}
    if len(models) > 1:
        raise UsageError("The model changed while the text was scored.", "Run the command again.")
    entries: list[dict[str, Any]] = []
    begin, begins = 0, []
    for part, score in zip(parts(text, api_document.longest_text()), scores, strict=True):
        begins.append(begin)
        entries += [
            {**entry, "start": entry["start"] + begin, "end": entry["end"] + begin}
            for entry in score["log_probabilities"]
        ]
        begin += len(part)
    log_probability = math.fsum(score["log_probability"] for score in scores)
    with_cache = {}
    if "cache_log_probability" in scores[0]:
        total = math.fsum(score["cache_log_probability"] for score in scores)
        with_cache = {
            "cache_perplexity": math.exp(-total / len(entries)),
            "cache_log_probability": total,
        }
    return {
        "perplexity": math.exp(-log_probability / len(entries)),
        **with_cache,
        "bits_per_character": -log_probability / math.log(2) / len(text),
        "log_probability": log_probability,
        "tokens": len(entries),
        "log_probabilities": entries,
        "unknown_words": [*dict.fromkeys(word for score in scores for word in score["unknown_words"])],
        "model": models.pop(),
    }


def _least_expected(whole: dict[str, Any]) -> list[str]:
    """Return the words that surprised the model most, each once."""
    by_surprise = sorted(whole["log_probabilities"], key=lambda entry: float(entry["log_probability"]))
    words = dict.fromkeys(entry["word"] for entry in by_surprise if entry["word"].strip())
    return [*words][:_WORDS_SHOWN]
