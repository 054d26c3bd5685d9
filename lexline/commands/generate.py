"""`lexline generate`: generate text over the HTTP API."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import typer

from lexline.aws.http_api import HttpApi
from lexline.commands import request
from lexline.commands.common import DEFAULT_STACK, AsJson, Profile, Region, StackName, connect
from lexline.core import api_document
from lexline.core.errors import UsageError
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


def _number(name: str) -> Any:
    """Return the option of a numeric field, described as in the API's document."""
    schema = api_document.field("Generate", name)
    kind = "int" if "integer" in schema["type"] else "float"
    return typer.Option(parser=_parsed, metavar=f"<{kind}>", help=_described(name))


def _described(name: str) -> str:
    """Return what the API's document says about a field, with its range and default."""
    schema = api_document.field("Generate", name)
    text: str = schema["description"]
    if "minimum" in schema:
        text += f" From {schema['minimum']:,} to {schema['maximum']:,}."
    elif "exclusiveMinimum" in schema:
        text += f" Above {schema['exclusiveMinimum']:,} and at most {schema['maximum']:,}."
    return f"{text}  [default: {schema['default']:g}]" if "default" in schema else text


def generate(
    words: Annotated[float | None, _number("words")] = None,
    seed: Annotated[float | None, _number("seed")] = None,
    temperature: Annotated[float | None, _number("temperature")] = None,
    top_k: Annotated[float | None, _number("top_k")] = None,
    top_p: Annotated[float | None, _number("top_p")] = None,
    min_p: Annotated[float | None, _number("min_p")] = None,
    repetition_penalty: Annotated[float | None, _number("repetition_penalty")] = None,
    cache: Annotated[bool, typer.Option("--cache", help=_described("cache"))] = False,
    stop: Annotated[
        list[str] | None, typer.Option(help=f"{_described('stop')} Give the option once for each.")
    ] = None,
    n: Annotated[float | None, _number("n")] = None,
    tokens: Annotated[float | None, _number("tokens")] = None,
    echo: Annotated[bool, typer.Option("--echo", help=_described("echo"))] = False,
    return_log_probabilities: Annotated[
        bool,
        typer.Option(
            "--return-log-probabilities", help=f"{_described('return_log_probabilities')} Needs --json."
        ),
    ] = False,
    alternatives: Annotated[float | None, _number("alternatives")] = None,
    prompt: Annotated[str | None, typer.Option(help=_described("prompt"))] = None,
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
        words=words,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        cache=cache,
        stop=stop or None,
        n=n,
        tokens=tokens,
        echo=echo,
        return_log_probabilities=return_log_probabilities,
        alternatives=alternatives,
        prompt=prompt,
    )
    if return_log_probabilities and not as_json:
        raise UsageError("--return-log-probabilities needs --json, which shows them.", "Add --json.")
    api = HttpApi(connect(profile, stack, region))
    if curl:
        typer.echo(f"$ {api.curl('/generate', body)}\n")
    response = api.post("/generate", body)
    texts = [each["text"] for each in response.get("texts", [response])]
    text = json.dumps(response, ensure_ascii=False, indent=2) if as_json else "\n\n".join(texts)
    typer.echo(terminal.plain(text))
    if response.get("unknown_words") and not as_json:
        unknown = ", ".join(response["unknown_words"])
        typer.echo(terminal.plain(f"The model does not know these words of the prompt: {unknown}"), err=True)
