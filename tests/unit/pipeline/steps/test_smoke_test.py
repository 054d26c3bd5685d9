"""smoke_test: the endpoint is asked as a user would, and a success without an answer is a failure."""

import io
import json
from typing import Any

import pytest
from botocore.response import StreamingBody

from core.errors import LeaseLost, ServiceUnavailable, SmokeTestFailed, Throttled
from steps import smoke_test

NAME = "lexline--sotu-0123456789ab"
TEXT = "The state of the union is strong."
# Prompt, seed and temperature of each question, in order; the first one only wakes the endpoint.
QUESTIONS = [
    ("", 0, 1.0),
    ("", 111, 1.0),
    ("", 111, 1.0),
    ("The state of", 222, 0.7),
    ("The state of", 222, 0.7),
    ("The state of", 333, 1.3),
    ("The state of", 333, 1.3),
]


def good(text: str = TEXT, **more: Any) -> dict[str, Any]:
    return {"text": text, "words": len(text.split()), "seed": 1, "temperature": 1.0, "model": NAME, **more}


class Clock:
    """time.monotonic for the step; every answer takes the next of `seconds`, then none."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._now, self._asked = 1000.0, 0

    def monotonic(self) -> float:
        self._asked += 1
        if self._asked % 2 == 0 and self.seconds:
            self._now += self.seconds.pop(0)
        return self._now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(smoke_test, "time", clock)
    return clock


@pytest.fixture
def event(documents: Any, lease_held: Any) -> dict[str, Any]:
    return {
        "run": documents.run,
        "lease": documents.lease,
        "registered": documents.registered,
        "deployed": documents.deployed,
    }


def answers(stubbed: Any, *bodies: Any, questions: Any = QUESTIONS) -> None:
    """Announces the questions in their order, as many as there are answers for them."""
    for body, (prompt, seed, temperature) in zip(bodies, questions, strict=False):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        stubbed.answers(
            "sagemaker-runtime",
            "invoke_endpoint",
            {"Body": StreamingBody(io.BytesIO(raw), len(raw)), "ContentType": "application/json"},
            EndpointName="lexline",
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(
                {"seed": seed, "temperature": temperature, "words": 30, "prompt": prompt}
            ).encode(),
        )


def test_three_texts_that_each_come_twice_the_same_pass(
    stubbed: Any, event: Any, context: Any, clock: Clock
) -> None:
    clock.seconds = [0.5, 0.25, 1.5, 0.5, 0.75, 2.0]
    more, last = good("My fellow citizens."), good("We are at peace.")
    answers(
        stubbed,
        good("Awake."),
        good(),
        good(),
        more,
        more,
        last,
        last,
        questions=[*QUESTIONS[:5], ("My fellow citizens.", 333, 1.3), ("My fellow citizens.", 333, 1.3)],
    )
    assert smoke_test.handler(event, context) == {
        "texts": [
            {"prompt": "", "seed": 111, "temperature": 1.0, "text": TEXT, "seconds": 0.5},
            {
                "prompt": "The state of",
                "seed": 222,
                "temperature": 0.7,
                "text": "My fellow citizens.",
                "seconds": 1.5,
            },
            {
                "prompt": "My fellow citizens.",
                "seed": 333,
                "temperature": 1.3,
                "text": "We are at peace.",
                "seconds": 0.75,
            },
        ],
        "slowest_seconds": 2.0,
    }


def test_a_registered_model_must_answer_with_the_name_of_the_run_that_trained_it(
    stubbed: Any, event: Any, context: Any
) -> None:
    event["registered"]["model"] = "lexline--sotu-aaaaaaaaaaaa"
    answers(stubbed, *[good(model="lexline--sotu-aaaaaaaaaaaa")] * 7)
    assert len(smoke_test.handler(event, context)["texts"]) == 3


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (good(), good("Another text."), "two texts for one seed"),
        (good(" \n"), good(" \n"), "answers with no text"),
        (good("<unk> <unk>"), good("<unk> <unk>"), "nothing but <unk>"),
        (good(model="other"), good(model="other"), f"answers with model other, not with {NAME}"),
        (good(), good(model="other"), f"answers with model other, not with {NAME}"),
    ],
)
def test_an_answer_that_is_not_the_models_fails(
    stubbed: Any, event: Any, context: Any, first: Any, second: Any, said: str
) -> None:
    answers(stubbed, good(), first, second)
    with pytest.raises(SmokeTestFailed, match=said):
        smoke_test.handler(event, context)


def test_later_texts_are_checked_like_the_first(stubbed: Any, event: Any, context: Any) -> None:
    answers(stubbed, *[good()] * 6, good("Another text."))
    with pytest.raises(SmokeTestFailed, match="two texts for one seed"):
        smoke_test.handler(event, context)


@pytest.mark.parametrize("body", [b"<html>", {"generated": "text"}, b"", b"\xff\xfe"])
def test_an_answer_of_another_form_fails(stubbed: Any, event: Any, context: Any, body: Any) -> None:
    answers(stubbed, body)
    with pytest.raises(SmokeTestFailed, match="which is not generated text"):
        smoke_test.handler(event, context)


# --- time ----------------------------------------------------------------------------------------


def test_the_first_answer_may_be_slow(stubbed: Any, event: Any, context: Any, clock: Clock) -> None:
    """A serverless endpoint starts its container for it: it is not even timed."""
    answers(stubbed, *[good()] * 7)
    smoke_test.handler(event, context)
    assert clock._asked == 2 * 6


@pytest.mark.parametrize("slow", range(6))
def test_the_first_answer_over_the_limit_ends_the_test(
    stubbed: Any, event: Any, context: Any, clock: Clock, slow: int
) -> None:
    """Seven answers of 60 s each, which is as long as SageMaker waits, are more than the function's time."""
    clock.seconds = [*[9.9] * slow, 10.1]
    answers(stubbed, *[good()] * (slow + 2))
    with pytest.raises(SmokeTestFailed, match=r"took 10.1 s .* hosting.max_latency_seconds is 10\."):
        smoke_test.handler(event, context)


@pytest.mark.parametrize(
    ("endpoint_type", "more"),
    [("real-time", "a faster hosting.instance_type"), ("serverless", "more hosting.serverless_memory_mb")],
)
def test_the_error_names_what_makes_the_endpoint_faster(
    stubbed: Any, event: Any, context: Any, clock: Clock, endpoint_type: str, more: str
) -> None:
    event["run"]["hosting"].update(endpoint_type=endpoint_type, max_latency_seconds=2.5)
    clock.seconds = [2.6]
    answers(stubbed, good(), good())
    with pytest.raises(SmokeTestFailed, match=f"is 2.5. Take {more}, or raise the limit"):
        smoke_test.handler(event, context)


# --- texts of any kind ---------------------------------------------------------------------------


def test_the_next_prompt_is_of_words_the_model_knows_and_a_request_may_have(
    stubbed: Any, event: Any, context: Any
) -> None:
    """generate.py takes prompts of up to 10,000 characters, and words of a corpus may be of any length."""
    odd = good(f"<unk> {'x' * 9000} We <unk> the people of {'y' * 9000}")
    prompt = "We the people"
    questions = [(prompt if asked else "", seed, temperature) for asked, seed, temperature in QUESTIONS]
    answers(stubbed, *[odd] * 7, questions=questions)
    assert smoke_test.handler(event, context)["texts"][1]["prompt"] == prompt


def test_a_text_of_endless_words_is_cut_for_the_report(stubbed: Any, event: Any, context: Any) -> None:
    text = " ".join(["z" * 100_000] * 30)
    answers(stubbed, *[good(text)] * 7, questions=[("", seed, heat) for _, seed, heat in QUESTIONS])
    document = smoke_test.handler(event, context)
    assert all(len(each["text"]) == 2000 and each["text"].endswith("…") for each in document["texts"])


@pytest.mark.parametrize("change", [{"text": "q" * 300_000}, {"model": "m" * 300_000}])
def test_an_error_quotes_little_of_an_endless_answer(
    stubbed: Any, event: Any, context: Any, change: Any
) -> None:
    answers(stubbed, good(), good(), {**good(), **change})
    with pytest.raises(SmokeTestFailed) as raised:
        smoke_test.handler(event, context)
    assert len(str(raised.value)) < 2000


# --- refusals ------------------------------------------------------------------------------------


def test_a_failing_model_fails_with_what_the_container_said(stubbed: Any, event: Any, context: Any) -> None:
    message = 'Received server error (500) from primary with message "KeyError: vocabulary"'
    stubbed.refuses("sagemaker-runtime", "invoke_endpoint", "ModelError", message + "x" * 9000, 424)
    with pytest.raises(SmokeTestFailed, match="KeyError: vocabulary") as raised:
        smoke_test.handler(event, context)
    assert len(str(raised.value)) < 2100


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ThrottlingException", 400, Throttled),
        ("ModelNotReadyException", 429, Throttled),
        ("InternalFailure", 500, ServiceUnavailable),
        ("InternalDependencyException", 530, ServiceUnavailable),
        ("ServiceUnavailable", 503, ServiceUnavailable),
    ],
)
def test_what_is_not_the_models_fault_is_for_the_state_machine_to_retry(
    stubbed: Any, event: Any, context: Any, code: str, status: int, expected: type[Exception]
) -> None:
    stubbed.refuses("sagemaker-runtime", "invoke_endpoint", code, "said AWS", status)
    with pytest.raises(expected):
        smoke_test.handler(event, context)


def test_a_run_that_has_lost_its_lease_asks_nothing(stubbed: Any, event: Any, context: Any) -> None:
    event["lease"]["generation"] = 6
    with pytest.raises(LeaseLost):
        smoke_test.handler(event, context)
    assert "InvokeEndpoint" not in stubbed.calls
