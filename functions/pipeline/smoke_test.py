"""The step that asks the endpoint for text, as a user would: from this model, and the same for one seed."""

from __future__ import annotations

import json

import aws
from botocore.exceptions import ClientError
from contracts import SmokeTested, SmokeTestInput
from errors import SmokeTestFailed, code_of, message_of
from pydantic import BaseModel, ValidationError
from step import sentence, step

SEED, TEMPERATURE, WORDS = 111, 1.0, 30


class Generated(BaseModel):
    """What generate.py answers; fields that are not looked at may come along."""

    text: str
    words: int
    model: str


@step(SmokeTestInput)
def handler(given: SmokeTestInput) -> SmokeTested:
    name = given.deployed.endpoint
    first, second = generate(name), generate(name)
    if first.model != given.run.name:
        raise SmokeTestFailed(f"Endpoint {name} answers with model {first.model}, not with {given.run.name}.")
    if not first.text.strip():
        raise SmokeTestFailed(f"Endpoint {name} answers with no text.")
    if first.text != second.text:
        raise SmokeTestFailed(
            f"Endpoint {name} gives two texts for one seed: {first.text!r} and {second.text!r}."
        )
    return SmokeTested(text=first.text, words=first.words, seed=SEED, temperature=TEMPERATURE)


def generate(name: str) -> Generated:
    """One invocation of the endpoint. Raises SmokeTestFailed if the model fails or answers something else."""
    try:
        answer = aws.sagemaker_runtime().invoke_endpoint(
            EndpointName=name,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps({"seed": SEED, "temperature": TEMPERATURE, "words": WORDS}).encode(),
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
