"""smoke_test: the endpoint must generate the new model's text, in time, and the same for the same seed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from core.errors import SmokeTestFailed
from steps import smoke_test
from tests.unit.pipeline.documents import FORMER, NAME, Document, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.stubbed_aws import ExpectedCalls

TEXT = "The state of the union is strong."
PROMPT = "The state of"
Tests = Callable[[], Document]


def good(text: str = TEXT, **more: Any) -> Document:
    return {"text": text, "words": len(text.split()), "seed": 1, "temperature": 1.0, "model": NAME, **more}


class Clock:
    """`time` for the step; each response takes the next of `seconds`, and then none."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.calls = 0
        self._now = 1000.0

    def monotonic(self) -> float:
        self.calls += 1
        if self.calls % 2 == 0 and self.seconds:
            self._now += self.seconds.pop(0)
        return self._now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(smoke_test, "time", clock)
    return clock


@pytest.fixture
def tests(documents: Documents, lease_held: TableInMemory, context: LambdaContext) -> Tests:
    names = ("run", "lease", "registered", "deployed")
    return lambda: smoke_test.handler(documents.input(*names), context)


def responds(expect: ExpectedCalls, *bodies: Document, prompts: tuple[str, str] = (PROMPT, PROMPT)) -> None:
    """Announce the step's requests in their order, as many as there are responses.

    The first one only wakes the endpoint. `prompts` are those of the second and the third text.
    """
    texts = [("", 111, 1.0), (prompts[0], 222, 0.7), (prompts[1], 333, 1.3)]
    requests = [("", 0, 1.0), *(each for each in texts for _ in range(2))]
    for body, (prompt, seed, temperature) in zip(bodies, requests, strict=False):
        request = {"seed": seed, "temperature": temperature, "words": 30, "prompt": prompt}
        expect.invoke_endpoint(
            body,
            EndpointName="lexline",
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(request).encode(),
        )


def test_three_texts_are_generated_twice_each(expect: ExpectedCalls, tests: Tests, clock: Clock) -> None:
    clock.seconds = [0.5, 0.25, 1.5, 0.5, 0.75, 2.0]
    second, third = good("My fellow citizens."), good("We are at peace.")
    prompts = (PROMPT, second["text"])
    responds(expect, good("Awake."), good(), good(), second, second, third, third, prompts=prompts)
    expected = [
        ("", 111, 1.0, TEXT, 0.5),
        (PROMPT, 222, 0.7, second["text"], 1.5),
        (second["text"], 333, 1.3, third["text"], 0.75),
    ]
    fields = ("prompt", "seed", "temperature", "text", "seconds")
    texts = [dict(zip(fields, each, strict=True)) for each in expected]
    assert tests() == {"texts": texts, "slowest_seconds": 2.0}


def test_a_registered_model_must_respond_with_the_name_of_the_run_that_trained_it(
    expect: ExpectedCalls, tests: Tests, documents: Documents
) -> None:
    documents.registered["model"] = FORMER
    responds(expect, *[good(model=FORMER)] * 7)
    assert len(tests()["texts"]) == 3


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (good(), good("Another text."), "two texts for one seed"),
        (good(" \n"), good(" \n"), "an empty text"),
        (good("<unk> <unk>"), good("<unk> <unk>"), "nothing but <unk>"),
        (good(model="other"), good(model="other"), f"responds with model other, not with {NAME}"),
        (good(), good(model="other"), f"responds with model other, not with {NAME}"),
    ],
)
@pytest.mark.parametrize("earlier", [0, 4])
def test_a_text_that_is_wrong_fails_the_test(
    expect: ExpectedCalls, tests: Tests, first: Document, second: Document, message: str, earlier: int
) -> None:
    """The texts after the first are checked too."""
    responds(expect, good(), *[good()] * earlier, first, second)
    with pytest.raises(SmokeTestFailed, match=message):
        tests()


# --- time


def test_the_first_response_may_be_slow(expect: ExpectedCalls, tests: Tests, clock: Clock) -> None:
    """A serverless endpoint starts its container for it. The step does not measure it."""
    responds(expect, *[good()] * 7)
    tests()
    assert clock.calls == 2 * 6


@pytest.mark.parametrize("slow", range(6))
def test_the_test_ends_with_the_first_slow_response(
    expect: ExpectedCalls, tests: Tests, clock: Clock, slow: int
) -> None:
    """SageMaker waits 60 s for a response, and seven such waits are longer than the function may run."""
    clock.seconds = [*[9.9] * slow, 10.1]
    responds(expect, *[good()] * (slow + 2))
    with pytest.raises(SmokeTestFailed, match=r"took 10.1 s .* hosting.max_latency_seconds is 10\."):
        tests()


@pytest.mark.parametrize(
    ("endpoint_type", "remedy"),
    [("real-time", "a faster hosting.instance_type"), ("serverless", "more hosting.serverless_memory_mb")],
)
def test_the_error_says_how_to_make_the_endpoint_faster(
    expect: ExpectedCalls, tests: Tests, documents: Documents, clock: Clock, endpoint_type: str, remedy: str
) -> None:
    documents.run["hosting"].update(endpoint_type=endpoint_type, max_latency_seconds=2.5)
    clock.seconds = [2.6]
    responds(expect, good(), good())
    with pytest.raises(SmokeTestFailed, match=f"is 2.5. Request {remedy}, or raise the limit"):
        tests()


# --- texts of any kind


def test_the_next_prompt_has_only_words_that_the_model_knows_and_a_request_may_have(
    expect: ExpectedCalls, tests: Tests
) -> None:
    """generate.py accepts prompts of up to 10,000 characters, and a corpus may have words of any length."""
    odd = good(f"<unk> {'x' * 9000} We <unk> the people of {'y' * 9000}")
    prompt = "We the people"
    responds(expect, *[odd] * 7, prompts=(prompt, prompt))
    assert tests()["texts"][1]["prompt"] == prompt


def test_a_long_text_is_cut_for_the_report(expect: ExpectedCalls, tests: Tests) -> None:
    responds(expect, *[good(" ".join(["z" * 100_000] * 30))] * 7, prompts=("", ""))
    assert all(len(each["text"]) == 2000 and each["text"].endswith("…") for each in tests()["texts"])


@pytest.mark.parametrize("change", [{"text": "q" * 300_000}, {"model": "m" * 300_000}])
def test_the_error_quotes_a_long_response_in_part(expect: ExpectedCalls, tests: Tests, change: Any) -> None:
    responds(expect, good(), good(), {**good(), **change})
    with pytest.raises(SmokeTestFailed) as raised:
        tests()
    assert len(str(raised.value)) < 2000


# --- refusals
