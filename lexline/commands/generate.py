"""`lexline generate`: generate text over the HTTP API."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import typer

from lexline.aws.http_api import HttpApi
from lexline.commands import request
from lexline.commands.common import DEFAULT_STACK, AsJson, Profile, Region, StackName, connect
from lexline.display import terminal


def _parsed(text: str) -> float:
    """Return a number, as an int if it is whole: 100.0 is 100, as in JSON. The API checks its range."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    # JSON has no infinity.
    if not math.isfinite(number):
        raise typer.BadParameter(f"{text} is not a number.")
    return int(number) if number.is_integer() else number


def _number(kind: str, description: str) -> Any:
    return typer.Option(parser=_parsed, metavar=f"<{kind}>", help=description)


def generate(
    words: Annotated[
        float | None, _number("int", "Number of words, from 1 to 1,000.  [default: 100]")
    ] = None,
    seed: Annotated[
        float | None,
        _number(
            "int",
            "Random seed, from 0 to 4,294,967,295. The same seed gives the same text.  "
            "[default: a random one]",
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        _number("float", "Randomness, from 0.001 to 100. Lower values prefer likely words.  [default: 1]"),
    ] = None,
    top_k: Annotated[
        float | None,
        _number("int", "Draw only from this many of the most probable words.  [default: all words]"),
    ] = None,
    top_p: Annotated[
        float | None,
        _number(
            "float",
            "Draw only from the most probable words that together have this probability, above 0, at most "
            "1.  [default: all words]",
        ),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to continue.")] = None,
    curl: Annotated[
        bool, typer.Option("--curl", help="Also print the request as a curl command. It has the API key.")
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Generate text with the current model, over the HTTP API."""
    body = request.without_defaults(
        words=words, seed=seed, temperature=temperature, top_k=top_k, top_p=top_p, prompt=prompt
    )
    api = HttpApi(connect(profile, stack, region))
    if curl:
        typer.echo(f"$ {api.curl('/generate', body)}\n")
    response = api.post("/generate", body)
    text = json.dumps(response, ensure_ascii=False, indent=2) if as_json else response["text"]
    typer.echo(terminal.plain(text))
    if response.get("unknown_words") and not as_json:
        unknown = ", ".join(response["unknown_words"])
        typer.echo(terminal.plain(f"The model does not know these words of the prompt: {unknown}"), err=True)
