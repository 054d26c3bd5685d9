"""smoke_test: the endpoint is asked as a user would, and a success without an answer is a failure."""

import io
import json
from typing import Any

import pytest
import smoke_test
from botocore.response import StreamingBody
from errors import SmokeTestFailed, Throttled

NAME = "lexline-sotu-0123456789ab"
GOOD = {
    "text": "The state of the union is strong.",
    "words": 7,
    "seed": 111,
    "temperature": 1.0,
    "model": NAME,
}


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    return {"run": documents.run, "deployed": documents.deployed}


def answers(stubbed: Any, *bodies: Any) -> None:
    for body in bodies:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        stubbed.answers(
            "sagemaker-runtime",
            "invoke_endpoint",
            {"Body": StreamingBody(io.BytesIO(raw), len(raw)), "ContentType": "application/json"},
            EndpointName="lexline",
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps({"seed": 111, "temperature": 1.0, "words": 30}).encode(),
        )


def test_text_that_comes_twice_the_same_passes(
    stubbed: Any, event: Any, context: Any, documents: Any
) -> None:
    answers(stubbed, GOOD, GOOD)
    assert smoke_test.handler(event, context) == documents.smoke_test


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": "Another text."}, "two texts for one seed"),
        ({"text": " \n"}, "no text"),
        ({"model": "lexline-sotu-ffffffffffff"}, "answers with model lexline-sotu-ffffffffffff, not with"),
    ],
)
def test_an_answer_that_is_not_this_models_fails(
    stubbed: Any, event: Any, context: Any, change: dict[str, str], said: str
) -> None:
    first = GOOD if "two texts" in said else {**GOOD, **change}
    answers(stubbed, first, {**GOOD, **change})
    with pytest.raises(SmokeTestFailed, match=said):
        smoke_test.handler(event, context)


@pytest.mark.parametrize("body", [b"<html>", {"generated": "text"}, b""])
def test_an_answer_of_another_form_fails(stubbed: Any, event: Any, context: Any, body: Any) -> None:
    answers(stubbed, body)
    with pytest.raises(SmokeTestFailed, match="which is not generated text"):
        smoke_test.handler(event, context)


def test_a_failing_model_fails_with_what_the_container_said(stubbed: Any, event: Any, context: Any) -> None:
    message = 'Received server error (500) from primary with message "KeyError: vocabulary"'
    stubbed.refuses("sagemaker-runtime", "invoke_endpoint", "ModelError", message, 424)
    with pytest.raises(SmokeTestFailed, match="KeyError: vocabulary"):
        smoke_test.handler(event, context)


def test_a_throttled_call_is_for_the_state_machine_to_retry(stubbed: Any, event: Any, context: Any) -> None:
    stubbed.refuses("sagemaker-runtime", "invoke_endpoint", "ThrottlingException")
    with pytest.raises(Throttled):
        smoke_test.handler(event, context)
