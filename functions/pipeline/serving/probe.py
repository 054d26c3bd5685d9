"""Requests to the endpoint that check whether its model generates text."""

import json

from botocore.exceptions import ClientError
from pydantic import BaseModel, ValidationError

from core import aws
from core.errors import SmokeTestFailed, code_of, message_of
from core.text import cut, sentence

WORDS = 30
_LONGEST_MESSAGE = 2000


class Generated(BaseModel):
    """A response of `model_scripts/generate.py`; other fields are ignored."""

    text: str
    words: int
    model: str


def generate(name: str, seed: int, temperature: float, prompt: str) -> Generated:
    """Invoke the endpoint once and return the text.

    Raises:
        SmokeTestFailed: the model failed, or its response is not generated text.
    """
    request = {"seed": seed, "temperature": temperature, "words": WORDS, "prompt": prompt}
    try:
        response = aws.sagemaker_runtime().invoke_endpoint(
            EndpointName=name,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(request).encode(),
        )
    except ClientError as error:
        if code_of(error) != "ModelError":
            raise
        raise SmokeTestFailed(
            f"The model on endpoint {name} failed: {cut(message_of(error), _LONGEST_MESSAGE)}"
        ) from error
    body = response["Body"].read()
    try:
        return Generated.model_validate_json(body)
    except ValidationError as error:
        raise SmokeTestFailed(
            f"Endpoint {name} returned {body[:200]!r}, not a generated text: {sentence(error, Generated)}"
        ) from error
