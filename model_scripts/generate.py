"""Serve generated text: the four functions that SageMaker's PyTorch inference toolkit calls.

Request  {"seed": 111, "temperature": 0.8, "words": 100, "prompt": "My fellow citizens"}, every field optional
Answer   {"text": ..., "words": 100, "seed": 111, "temperature": 0.8, "model": the value of LEXLINE_MODEL}

`text` continues the prompt and does not repeat it. `words` counts its space-separated words, so punctuation
comes on top; it is the number asked for, unless the model produces almost nothing but line breaks
(MOST_TOKENS_PER_WORD).

Each word is drawn from the model's own distribution over its whole vocabulary at the temperature, with <unk>
left out: that is the distribution given that the next word is a known one. Words of the prompt the model
does not know are read as <unk>. Without a prompt the text begins as a new line does. A comma or an 're drawn
at the beginning of a line has no word to stand against: the model reads it as any other, the text leaves it
out. The same request gives the same text.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import language_model
import tokenizer
from language_model import LanguageModel
from tokenizer import Tokenizer
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN_ID, Vocabulary

JSON = "application/json"
MOST_TOKENS_PER_WORD = 5
MOST_PROMPT_CHARACTERS = 10_000


@dataclass(frozen=True)
class Request:
    """seed: an unsigned 32-bit integer. temperature: 0.001 to 100. words: 1 to 1,000."""

    seed: int = 1111
    temperature: float = 1.0
    words: int = 100
    prompt: str = ""


@dataclass(frozen=True)
class ServedModel:
    """A loaded artifact."""

    model: LanguageModel
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    name: str


class InvalidRequest(ValueError):
    """The request is not one this model answers. The message is a sentence that names the field."""


def model_fn(model_dir: str) -> ServedModel:
    """Load an artifact, on the CPU whatever it was trained on. Its name is $LEXLINE_MODEL."""
    directory = Path(model_dir)
    model, config = language_model.load(directory)
    return ServedModel(
        model=model,
        vocabulary=Vocabulary.load(directory / language_model.VOCABULARY),
        tokenizer=tokenizer.BY_NAME[config["tokenizer"]],
        name=os.environ.get("LEXLINE_MODEL", ""),
    )


def input_fn(body: str | bytes, content_type: str | None) -> Request:
    """Check a request. What is wrong with it is answered with status 400."""
    try:
        return parse(body, content_type)
    except InvalidRequest as error:
        raise _with_status_400(error) from error


def predict_fn(request: Request, served: ServedModel) -> dict[str, Any]:
    text, words = generate(request, served)
    return {
        "text": text,
        "words": words,
        "seed": request.seed,
        "temperature": request.temperature,
        "model": served.name,
    }


def output_fn(prediction: dict[str, Any], accept: str) -> tuple[str, str]:
    """The answer is JSON, whatever was asked for."""
    return json.dumps(prediction, ensure_ascii=False), JSON


def parse(body: str | bytes, content_type: str | None) -> Request:
    """A checked Request from JSON. Raises InvalidRequest."""
    if content_type and content_type.split(";")[0].strip().lower() != JSON:
        raise InvalidRequest(f"The content type must be {JSON}, not {content_type}.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object.")
    known = tuple(Request.__dataclass_fields__)
    for name in document:
        if name not in known:
            raise InvalidRequest(f"Unknown field {name[:50]!r}; the known ones are {', '.join(known)}.")
    request = Request(**document)
    _check_number("seed", request.seed, 0, 2**32 - 1, whole=True)
    _check_number("temperature", request.temperature, 0.001, 100, whole=False)
    _check_number("words", request.words, 1, 1000, whole=True)
    if not isinstance(request.prompt, str):
        raise InvalidRequest("prompt must be text.")
    if len(request.prompt) > MOST_PROMPT_CHARACTERS:
        raise InvalidRequest(f"prompt must be at most {MOST_PROMPT_CHARACTERS:,} characters long.")
    return request


def _check_number(name: str, value: Any, least: float, most: float, *, whole: bool) -> None:
    # In Python true is an int; in a request it is not.
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise InvalidRequest(f"{name} must be {'a whole number' if whole else 'a number'}.")
    if not least <= value <= most:
        raise InvalidRequest(f"{name} must be from {least:,} to {most:,}.")


def _with_status_400(error: InvalidRequest) -> Exception:
    """The error in the form in which the inference toolkit carries a status; as it is where that is not
    installed."""
    try:
        from sagemaker_inference.errors import GenericInferenceToolkitError
    except ImportError:
        return error
    toolkit_error: Exception = GenericInferenceToolkitError(400, str(error))
    return toolkit_error


def generate(request: Request, served: ServedModel) -> tuple[str, int]:
    """Text of request.words words, and how many it has."""
    model, join, clings = served.model, served.tokenizer.join, served.tokenizer.clings
    draws = torch.Generator().manual_seed(request.seed)
    finished: list[str] = []
    finished_words = 0
    line: list[str] = []
    with torch.inference_mode():
        context = prompt_ids(request.prompt, served)
        at_line_start = context[-1] == END_OF_LINE_ID
        hidden, state = model.read(torch.tensor(context).unsqueeze(1), model.start(1))
        for _ in range(MOST_TOKENS_PER_WORD * (request.words + 1)):
            drawn = draw(model.decoder(hidden[-1, 0]), request.temperature, draws)
            if drawn == END_OF_LINE_ID:
                finished.append(join(line))
                finished_words += len(finished[-1].split())
                line = []
                at_line_start = True
                if finished_words == request.words:
                    break
            elif not (at_line_start and clings(served.vocabulary.words[drawn])):
                at_line_start = False
                line.append(served.vocabulary.words[drawn])
                # A token adds at most one word, so joining to count can wait until there are enough tokens.
                # The text ends where one word too many begins: closing punctuation still belongs to the
                # last.
                most = finished_words + len(line)
                if most > request.words and finished_words + len(join(line).split()) > request.words:
                    line.pop()
                    break
            hidden, state = model.read(torch.tensor([[drawn]]), state)
    text = _tidy([*finished, join(line)])
    return text, len(text.split())


def prompt_ids(prompt: str, served: ServedModel) -> list[int]:
    """What the model reads first: a line's beginning, then the prompt, its line breaks as <eos>."""
    ids = [END_OF_LINE_ID]
    for number, line in enumerate(prompt.split("\n") if prompt.strip() else []):
        ids += served.vocabulary.encode(
            ([END_OF_LINE] if number else []) + served.tokenizer.split_prompt(line)
        )
    return ids


def draw(scores: Tensor, temperature: float, draws: torch.Generator) -> int:
    """A word's number, from softmax(scores / temperature) without <unk>.

    In float64 and with the largest score taken off, so that no temperature over- or underflows: at 0.001 the
    best word takes it all, at 100 the words are almost equal.
    """
    scaled = scores.double()
    scaled[UNKNOWN_ID] = -math.inf
    weights = ((scaled - scaled.max()) / temperature).exp()
    cumulative = weights.cumsum(0)
    point = torch.rand((), dtype=torch.float64, generator=draws) * cumulative[-1]
    # Rounding can put the point on the very end, one past the last word.
    return min(int(torch.searchsorted(cumulative, point, right=True)), len(scores) - 1)


def _tidy(lines: list[str]) -> str:
    """Lines as text: no blank ones at the ends, never two in a row."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).strip()
