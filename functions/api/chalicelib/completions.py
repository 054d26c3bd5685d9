"""OpenAI's completions: a request in OpenAI's form becomes requests to the model, and back.

    POST /v1/completions   {"model", "prompt", "max_tokens", "temperature", ...}; FIELDS has all fields
    GET  /v1/models        the model that serves

Tokens are the model's own: a word, a punctuation mark or a line end. Each prompt of a list is a request of
its own, and the endpoint generates their texts together. The API accepts a field of OpenAI's that the model
does not support if its value changes nothing, because clients send it. It refuses other values.

https://platform.openai.com/docs/api-reference/completions
"""

import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib import errors, request_body
from chalicelib.endpoint import ServedModel
from chalicelib.errors import refusing
from chalicelib.request_body import (
    GENERATE,
    MOST_PROMPT_CHARACTERS,
    Field,
    Flag,
    Number,
    Request,
    Text,
    Texts,
)

MOST_TEXTS = 128
"""How many texts a request may ask for: prompts times n."""
_AT_ONCE = 8  # requests to the endpoint

_MODEL, _DEFAULT_TOKENS = "model", 16
_GREEDY = 0.001  # below it, only the most probable word is drawn

_AS_IN_GENERATE = ("top_p", "n", "stop", "seed", "top_k", "min_p", "repetition_penalty", "cache")
"""The fields that are passed on to the endpoint as they are."""
FIELDS: dict[str, Field] = {
    "model": Field(
        Text(200),
        "The name of the model that serves, or of its endpoint. Without it, whatever model serves.",
    ),
    "prompt": Field(
        Texts(32, Text(MOST_PROMPT_CHARACTERS)),
        "The text to continue, or several. Lists of token numbers are not supported.",
    ),
    "max_tokens": Field(
        GENERATE["tokens"].kind, "The number of tokens to generate. A token is a word, a mark or a line end."
    ),
    "temperature": Field(Number(0, 100), "Randomness. 0 draws the most probable word each time."),
    **{name: GENERATE[name] for name in _AS_IN_GENERATE},
    "logprobs": Field(
        Number(0, 5, whole=True),
        "Return the log probability of each token, and this many of the most probable tokens in its place.",
    ),
    "echo": Field(Flag(), "Begin each text with its prompt. With logprobs, this scores the prompt."),
    "user": Field(Text(MOST_PROMPT_CHARACTERS), "Ignored."),
}
"""The fields of a completion."""

UNSUPPORTED: dict[str, Any] = {
    "best_of": 1,
    "frequency_penalty": 0,
    "logit_bias": {},
    "presence_penalty": 0,
    "stream": False,
    "stream_options": {},
    "suffix": "",
}
"""OpenAI's other fields, with the value that changes nothing."""


@dataclass(frozen=True)
class Completion:
    """A valid request for completions: one request to the model for each prompt."""

    model: str
    requests: list[Request]


def parse(body: bytes) -> Completion:
    """Return the request in a body.

    Raises:
        BodyTooLarge: The body is longer than the API reads.
        InvalidRequest: The body is not a JSON object, or fields of it are unknown, not supported or out of
            range.
    """
    with refusing(body):
        given = request_body.document(body)
        unsupported = {
            name: "is not supported"
            for name, neutral in UNSUPPORTED.items()
            if given.get(name) not in (None, neutral)
        }
        if unsupported:
            raise request_body.InvalidRequest.of_fields(unsupported)
        known = {name: value for name, value in given.items() if name not in UNSUPPORTED}
        fields = request_body.checked(known, FIELDS)
        prompts = fields.get("prompt", ("",))
        texts = len(prompts) * fields.get("n", 1)
        if not prompts:
            raise request_body.InvalidRequest.of_fields({"prompt": "must not be an empty list"})
        if texts > MOST_TEXTS:
            problem = f"and n ask for {texts:,} texts; at most {MOST_TEXTS} are generated at once"
            raise request_body.InvalidRequest.of_fields({"prompt": problem})
    is_greedy = fields.get("temperature", 1.0) < _GREEDY
    shared: dict[str, Any] = {
        "seed": secrets.randbelow(2**32),
        "temperature": 1.0 if is_greedy else fields.get("temperature", 1.0),
        "tokens": fields.get("max_tokens", _DEFAULT_TOKENS),
        "n": 1,
        "return_log_probabilities": "logprobs" in fields,
        "alternatives": fields.get("logprobs", 0),
        "echo": fields.get("echo", False),
        **{name: fields[name] for name in _AS_IN_GENERATE if name in fields},
    }
    if is_greedy:
        shared["top_k"] = 1
    requests = [Request(prompt=prompt, **shared) for prompt in prompts]
    return Completion(fields.get(_MODEL, ""), requests)


def complete(
    completion: Completion, endpoint: str, invoke: Callable[[Request], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the response to a request.

    Args:
        completion: The request.
        endpoint: The endpoint's name.
        invoke: Returns the endpoint's response to a request.

    Raises:
        ApiError: ModelNotFound, Deploying, or an error of `invoke`.
    """
    if len(completion.requests) == 1:
        responses = [invoke(completion.requests[0])]
    else:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            responses = [*threads.map(invoke, completion.requests)]
    models = {str(response["model"]) for response in responses}
    if len(models) > 1:
        raise errors.Deploying("The model changed during the request. Try again.", retry=1)
    (model,) = models
    if completion.model not in ("", endpoint, model):
        raise errors.ModelNotFound(
            f"The model {completion.model} does not serve here. GET /v1/models has the model that does."
        )
    texts = [text for response in responses for text in response["texts"]]
    prompt_tokens = sum(int(response["prompt_tokens"]) for response in responses)
    completion_tokens = sum(int(text["tokens"]) for text in texts)
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [_choice(index, text) for index, text in enumerate(texts)],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def models(served: ServedModel) -> dict[str, Any]:
    """Return the list of models: the one that serves, by its own name and by the endpoint's, which stays."""
    created = int(datetime.fromisoformat(served.since).timestamp())
    names = dict.fromkeys([served.model, served.endpoint])
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": created, "owned_by": "lexline"} for name in names
        ],
    }


def _choice(index: int, text: Mapping[str, Any]) -> dict[str, Any]:
    entries = text.get("log_probabilities")
    return {
        "index": index,
        "text": text["text"],
        "finish_reason": text["finish_reason"],
        "logprobs": None if entries is None else _logprobs(text["text"], entries),
    }


def _logprobs(text: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return log probabilities in OpenAI's form. Its tokens include spaces and together make up the text."""
    ends = [int(entry["end"]) for entry in entries]
    if ends:
        ends[-1] = len(text)  # the last token has the spaces after it, too
    offsets = [0, *ends][: len(ends)]
    tokens = [text[start:end] for start, end in zip(offsets, ends, strict=True)]
    return {
        "tokens": tokens,
        "token_logprobs": [entry["log_probability"] for entry in entries],
        "top_logprobs": [_top(token, entry) for token, entry in zip(tokens, entries, strict=True)],
        "text_offset": offsets,
    }


def _top(token: str, entry: Mapping[str, Any]) -> dict[str, float]:
    """Return the most probable tokens in a token's place, and the token itself."""
    found = {token: float(entry["log_probability"])}
    for each in entry.get("alternatives", ()):
        word, log = str(each["word"]), float(each["log_probability"])
        if word != entry["word"] and word not in found:
            found[word] = log
    return found
