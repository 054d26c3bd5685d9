"""SmokeTest: ask the endpoint for text as a user would, with several prompts, seeds and temperatures.

The responses must come from the new model, arrive in time, contain words, and be equal for equal requests.
"""

import time

from contracts.request import HostingResources
from contracts.serving import GeneratedText, SmokeTested, SmokeTestInput
from core.errors import SmokeTestFailed
from core.text import cut
from entry_point import step
from serving.probe import WORDS, Generated, generate

UNKNOWN = "<unk>"
# The first request has no prompt. The prompts of the next ones are words that the model itself has just
# generated, so it knows them.
_SEEDS = ((111, 1.0), (222, 0.7), (333, 1.3))
_PROMPT_WORDS = 3
# A corpus may contain words of any length. The texts go into the report, and prompts have a limit.
_LONGEST_PROMPT_WORD, _LONGEST_TEXT, _LONGEST_QUOTATION = 100, 2000, 500


@step(SmokeTestInput)
def handler(given: SmokeTestInput) -> SmokeTested:
    """Generate three texts, each twice, and return them with the slowest response time."""
    name, hosting = given.deployed.endpoint, given.run.hosting
    # The first response may be slow: a serverless endpoint starts its container for it.
    generate(name, seed=0, temperature=1.0, prompt="")
    texts: list[GeneratedText] = []
    seconds: list[float] = []
    prompt = ""
    for seed, temperature in _SEEDS:
        responses = []
        for _ in range(2):
            started = time.monotonic()
            responses.append(generate(name, seed, temperature, prompt))
            seconds.append(round(time.monotonic() - started, 3))
            # Check after each request: seven slow responses would take longer than this function may run.
            _check_fast_enough(name, seconds[-1], hosting)
        first, second = responses
        check(name, given.registered.model, first, second)
        texts.append(
            GeneratedText(
                prompt=prompt,
                seed=seed,
                temperature=temperature,
                text=cut(first.text, _LONGEST_TEXT),
                seconds=seconds[-2],
            )
        )
        known = [word for word in first.text.split() if word != UNKNOWN and len(word) <= _LONGEST_PROMPT_WORD]
        prompt = " ".join(known[:_PROMPT_WORDS])
    return SmokeTested(texts=texts, slowest_seconds=max(seconds))


def check(endpoint: str, model: str, first: Generated, second: Generated) -> None:
    """Raise SmokeTestFailed unless both responses are the same text by `model`, with words in it."""
    for response in (first, second):
        if response.model != model:
            raise SmokeTestFailed(
                f"Endpoint {endpoint} responds with model {cut(response.model, _LONGEST_QUOTATION)}, "
                f"not with {model}."
            )
    words = first.text.split()
    if not words:
        raise SmokeTestFailed(f"Endpoint {endpoint} returned an empty text.")
    if all(word == UNKNOWN for word in words):
        raise SmokeTestFailed(f"Endpoint {endpoint} returned nothing but {UNKNOWN}.")
    if first.text != second.text:
        raise SmokeTestFailed(
            f"Endpoint {endpoint} returned two texts for one seed: "
            f"{cut(repr(first.text), _LONGEST_QUOTATION)} and {cut(repr(second.text), _LONGEST_QUOTATION)}."
        )


def _check_fast_enough(name: str, seconds: float, hosting: HostingResources) -> None:
    limit = hosting.max_latency_seconds
    if seconds <= limit:
        return
    serverless = hosting.endpoint_type == "serverless"
    remedy = "more hosting.serverless_memory_mb" if serverless else "a faster hosting.instance_type"
    raise SmokeTestFailed(
        f"Endpoint {name} took {seconds:.1f} s to generate {WORDS} words, and hosting.max_latency_seconds is "
        f"{limit:g}. Request {remedy}, or raise the limit."
    )
