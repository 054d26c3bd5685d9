"""The step that asks the endpoint for text as a user would: with several prompts, seeds and temperatures.

The answers must come from the new model, in time, hold words, and be the same for the same request.
"""

from __future__ import annotations

import json
import time

from botocore.exceptions import ClientError
from pydantic import BaseModel, ValidationError

from contracts.request import HostingResources
from contracts.serving import GeneratedText, SmokeTested, SmokeTestInput
from core import aws
from core.errors import SmokeTestFailed, code_of, message_of
from core.text import cut, sentence
from entry_point import step

WORDS = 30
UNKNOWN = "<unk>"
# Without a prompt first: the later prompts are words that the model itself has just said, and so knows.
_SEEDS = ((111, 1.0), (222, 0.7), (333, 1.3))
_PROMPT_WORDS = 3
# A corpus may hold words of any length. Texts go on from here to the report, and prompts have a limit.
_LONGEST_PROMPT_WORD, _LONGEST_TEXT, _LONGEST_QUOTATION = 100, 2000, 500


class Generated(BaseModel):
    """What generate.py answers; fields that are not looked at may come along."""

    text: str
    words: int
    model: str


@step(SmokeTestInput)
def handler(given: SmokeTestInput) -> SmokeTested:
    name, hosting = given.deployed.endpoint, given.run.hosting
    # The first answer may be slow: a serverless endpoint starts its container for it.
    generate(name, seed=0, temperature=1.0, prompt="")
    texts: list[GeneratedText] = []
    times: list[float] = []
    prompt = ""
    for seed, temperature in _SEEDS:
        answers = []
        for _ in range(2):
            started = time.monotonic()
            answers.append(generate(name, seed, temperature, prompt))
            times.append(round(time.monotonic() - started, 3))
            # At once, and not in the end: seven slow answers take longer than this function may.
            _must_be_quick(name, times[-1], hosting)
        first, second = answers
        check(name, given.registered.model, first, second)
        texts.append(
            GeneratedText(
                prompt=prompt,
                seed=seed,
                temperature=temperature,
                text=cut(first.text, _LONGEST_TEXT),
                seconds=times[-2],
            )
        )
        prompt = " ".join(_known(first.text)[:_PROMPT_WORDS])
    return SmokeTested(texts=texts, slowest_seconds=max(times))


def check(endpoint: str, model: str, first: Generated, second: Generated) -> None:
    """Raise SmokeTestFailed unless both answers to one request are one text with words in it, by `model`."""
    for answer in (first, second):
        if answer.model != model:
            raise SmokeTestFailed(
                f"Endpoint {endpoint} answers with model {cut(answer.model, _LONGEST_QUOTATION)}, "
                f"not with {model}."
            )
    words = first.text.split()
    if not words:
        raise SmokeTestFailed(f"Endpoint {endpoint} answers with no text.")
    if all(word == UNKNOWN for word in words):
        raise SmokeTestFailed(f"Endpoint {endpoint} answers with nothing but {UNKNOWN}.")
    if first.text != second.text:
        raise SmokeTestFailed(
            f"Endpoint {endpoint} gives two texts for one seed: "
            f"{cut(repr(first.text), _LONGEST_QUOTATION)} and {cut(repr(second.text), _LONGEST_QUOTATION)}."
        )


def generate(name: str, seed: int, temperature: float, prompt: str) -> Generated:
    """One invocation of the endpoint. Raises SmokeTestFailed if the model fails or answers something else."""
    asked = {"seed": seed, "temperature": temperature, "words": WORDS, "prompt": prompt}
    try:
        answer = aws.sagemaker_runtime().invoke_endpoint(
            EndpointName=name,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(asked).encode(),
        )
    except ClientError as error:
        if code_of(error) != "ModelError":
            raise
        raise SmokeTestFailed(
            f"The model on endpoint {name} failed: {cut(message_of(error), _LONGEST_TEXT)}"
        ) from error
    body = answer["Body"].read()
    try:
        return Generated.model_validate_json(body)
    except ValidationError as error:
        raise SmokeTestFailed(
            f"Endpoint {name} answers {body[:200]!r}, which is not generated text: {sentence(error)}"
        ) from error


def _must_be_quick(name: str, seconds: float, hosting: HostingResources) -> None:
    limit = hosting.max_latency_seconds
    if seconds <= limit:
        return
    serverless = hosting.endpoint_type == "serverless"
    more = "more hosting.serverless_memory_mb" if serverless else "a faster hosting.instance_type"
    raise SmokeTestFailed(
        f"Endpoint {name} took {seconds:.1f} s to generate {WORDS} words; hosting.max_latency_seconds is "
        f"{limit:g}. Take {more}, or raise the limit."
    )


def _known(text: str) -> list[str]:
    return [word for word in text.split() if word != UNKNOWN and len(word) <= _LONGEST_PROMPT_WORD]
