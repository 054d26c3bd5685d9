"""The step that asks the endpoint for text as a user would: with several prompts, seeds and temperatures.

The answers must come from the new model, in time, hold words, and be the same for the same request.
"""

from __future__ import annotations

import json
import time

import aws
from botocore.exceptions import ClientError
from contracts import GeneratedText, SmokeTested, SmokeTestInput
from errors import SmokeTestFailed, code_of, message_of
from pydantic import BaseModel, ValidationError
from step import sentence, step

WORDS = 30
UNKNOWN = "<unk>"
# Without a prompt first: the later prompts are words that the model itself has just said, and so knows.
_SEEDS = ((111, 1.0), (222, 0.7), (333, 1.3))
_PROMPT_WORDS = 3


class Generated(BaseModel):
    """What generate.py answers; fields that are not looked at may come along."""

    text: str
    words: int
    model: str


@step(SmokeTestInput)
def handler(given: SmokeTestInput) -> SmokeTested:
    name, limit = given.deployed.endpoint, given.run.hosting.max_latency_seconds
    # The first answer may be slow: a serverless endpoint starts its container for it.
    generate(name, seed=0, temperature=1.0, prompt="")
    texts: list[GeneratedText] = []
    prompt = ""
    for seed, temperature in _SEEDS:
        started = time.monotonic()
        first = generate(name, seed, temperature, prompt)
        seconds = time.monotonic() - started
        check(name, given.registered.model, first, generate(name, seed, temperature, prompt))
        texts.append(
            GeneratedText(
                prompt=prompt, seed=seed, temperature=temperature, text=first.text, seconds=round(seconds, 3)
            )
        )
        prompt = " ".join([word for word in first.text.split() if word != UNKNOWN][:_PROMPT_WORDS])
    slowest = max(text.seconds for text in texts)
    if slowest > limit:
        raise SmokeTestFailed(
            f"Endpoint {name} took {slowest:.1f} s to generate {WORDS} words; hosting.max_latency_seconds is "
            f"{limit:g}. Take a faster hosting.instance_type, or raise the limit."
        )
    return SmokeTested(texts=texts, slowest_seconds=slowest)


def check(endpoint: str, model: str, first: Generated, second: Generated) -> None:
    """Raise SmokeTestFailed unless both answers to one request are one text with words in it, by `model`."""
    if first.model != model:
        raise SmokeTestFailed(f"Endpoint {endpoint} answers with model {first.model}, not with {model}.")
    words = first.text.split()
    if not words:
        raise SmokeTestFailed(f"Endpoint {endpoint} answers with no text.")
    if all(word == UNKNOWN for word in words):
        raise SmokeTestFailed(f"Endpoint {endpoint} answers with nothing but {UNKNOWN}.")
    if first.text != second.text:
        raise SmokeTestFailed(
            f"Endpoint {endpoint} gives two texts for one seed: {first.text!r} and {second.text!r}."
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
        raise SmokeTestFailed(f"The model on endpoint {name} failed: {message_of(error)}") from error
    body = answer["Body"].read()
    try:
        return Generated.model_validate_json(body)
    except ValidationError as error:
        raise SmokeTestFailed(
            f"Endpoint {name} answers {body[:200]!r}, which is not generated text: {sentence(error)}"
        ) from error
