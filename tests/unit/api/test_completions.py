"""The API answers clients of OpenAI's completions. Its text is that of POST /generate."""

import json
import math
from typing import Any

import pytest

from chalicelib.completions import FIELDS, UNSUPPORTED, parse
from chalicelib.request_body import GENERATE, MOST_PROMPT_CHARACTERS, Flag, Number, Texts
from tests.unit.api.model_endpoint import MODEL, ServedApi

PATH = "/v1/completions"
PROMPT = "When it rains, Anna wants bread.\nOur king"


def complete(api: ServedApi, **fields: Any) -> dict[str, Any]:
    return api.ok(PATH, **{"model": "lexline", "prompt": PROMPT, "seed": 7, **fields})


def the_choice(api: ServedApi, **fields: Any) -> dict[str, Any]:
    (choice,) = complete(api, **fields)["choices"]
    found: dict[str, Any] = choice
    return found


def refused(api: ServedApi, **fields: Any) -> dict[str, Any]:
    """Return the error of a request that must be refused with status 400."""
    response = api.post(PATH, **{"prompt": PROMPT, **fields})
    assert response.status_code == 400, response.body
    assert response.json_body.keys() == {"error"}
    error: dict[str, Any] = response.json_body["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")
    return error


def test_a_completion_has_openais_form(served_api: ServedApi) -> None:
    answer = complete(served_api, max_tokens=12)
    (choice,) = answer["choices"]
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["model"] == MODEL
    assert choice.keys() == {"index", "text", "finish_reason", "logprobs"}
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "length", None)
    # When it rains , Anna wants bread . <eos> Our king
    assert answer["usage"] == {"prompt_tokens": 11, "completion_tokens": 12, "total_tokens": 23}


def test_both_routes_draw_the_same_text(served_api: ServedApi) -> None:
    fields = {"seed": 5, "temperature": 0.8, "top_p": 0.9, "prompt": PROMPT}
    native = served_api.ok("/generate", **fields, tokens=30)
    assert the_choice(served_api, **fields, max_tokens=30)["text"] == native["text"]


def test_the_default_is_16_tokens_and_another_seed_each_time(served_api: ServedApi) -> None:
    answers = [served_api.ok(PATH, prompt=PROMPT) for _ in range(5)]
    assert {answer["usage"]["completion_tokens"] for answer in answers} == {16}
    assert len({answer["choices"][0]["text"] for answer in answers}) > 1


def test_each_prompt_has_n_choices_in_order(served_api: ServedApi) -> None:
    prompts = ["Anna", "Our king", "The baker said"]
    together = complete(served_api, prompt=prompts, n=2, max_tokens=8)
    assert [choice["index"] for choice in together["choices"]] == [*range(6)]
    alone = [complete(served_api, prompt=prompt, n=2, max_tokens=8) for prompt in prompts]
    texts = [choice["text"] for answer in alone for choice in answer["choices"]]
    assert [choice["text"] for choice in together["choices"]] == texts
    for key in ("prompt_tokens", "completion_tokens"):
        assert together["usage"][key] == sum(answer["usage"][key] for answer in alone)


@pytest.mark.parametrize("prompt", [None, "", []])
def test_a_prompt_may_be_left_out_but_not_an_empty_list(served_api: ServedApi, prompt: Any) -> None:
    if prompt == []:
        assert refused(served_api, prompt=prompt)["param"] == "prompt"
    else:
        assert complete(served_api, prompt=prompt, max_tokens=3)["usage"]["prompt_tokens"] == 0


def test_temperature_0_draws_the_most_probable_word(served_api: ServedApi) -> None:
    texts = {the_choice(served_api, temperature=0, seed=seed)["text"] for seed in range(3)}
    assert len(texts) == 1
    choice = the_choice(served_api, temperature=0, logprobs=1, max_tokens=10)
    for log, top in zip(
        choice["logprobs"]["token_logprobs"], choice["logprobs"]["top_logprobs"], strict=True
    ):
        assert log == max(top.values())


@pytest.mark.parametrize("stop", ["a", ["zzz", "a"]])
def test_a_text_ends_before_a_stop_string(served_api: ServedApi, stop: Any) -> None:
    whole = the_choice(served_api, max_tokens=200)["text"]
    choice = the_choice(served_api, max_tokens=200, stop=stop)
    assert choice["text"] == whole.partition("a")[0]
    assert choice["finish_reason"] == "stop"


def test_log_probabilities_belong_to_tokens_that_make_up_the_text(served_api: ServedApi) -> None:
    choice = the_choice(served_api, max_tokens=20, logprobs=3, stop=["zzz"])
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == len(logprobs["top_logprobs"]) == 20
    for token, offset, log, top in zip(
        logprobs["tokens"],
        logprobs["text_offset"],
        logprobs["token_logprobs"],
        logprobs["top_logprobs"],
        strict=True,
    ):
        assert choice["text"].startswith(token, offset)
        assert top[token] == log < 0
        assert len(top) in (3, 4)


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_echo_with_logprobs_scores_a_text(served_api: ServedApi, max_tokens: int) -> None:
    """lm-evaluation-harness sends this request for its loglikelihood."""
    context, continuation = "When it rains, Anna", " wants tea."
    body = {"prompt": context + continuation, "logprobs": 1, "echo": True, "temperature": 0, "seed": 1234}
    choice = the_choice(served_api, **body, max_tokens=max_tokens)
    assert choice["text"].startswith(context + continuation)
    logprobs = choice["logprobs"]
    begin = logprobs["text_offset"].index(len(context))
    end = len(logprobs["tokens"]) - max_tokens
    assert logprobs["tokens"][begin:end] == [" wants", " tea", "."]
    scored = served_api.ok("/score", text=context + continuation)
    whole = [entry["log_probability"] for entry in scored["log_probabilities"]]
    assert logprobs["token_logprobs"][:end] == whole


def test_echo_gives_the_prompt_back_as_it_was_and_the_same_continuation(served_api: ServedApi) -> None:
    prompt = "  Anna  wants\n\nZyxgrv, bread \n"
    text = the_choice(served_api, prompt=prompt, max_tokens=9)["text"]
    echoed = the_choice(served_api, prompt=prompt, max_tokens=9, echo=True, logprobs=0)
    assert echoed["text"] == prompt + text
    assert "".join(echoed["logprobs"]["tokens"]) == prompt + text


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("stream", True, "is not supported"),
        ("best_of", 3, "is not supported"),
        ("frequency_penalty", 0.5, "is not supported"),
        ("presence_penalty", -1, "is not supported"),
        ("logit_bias", {"50256": -100}, "is not supported"),
        ("suffix", "the end", "is not supported"),
        ("stream_options", {"include_usage": True}, "is not supported"),
        ("messages", [], "is not a field of this request; there are model, prompt,"),
        ("prompt", [1, 2], "must be a string or a list of strings"),
        ("prompt", [[1, 2]], "must be a string or a list of strings"),
        ("prompt", ["x"] * 33, "must have at most 32 strings"),
        ("prompt", ["x" * (MOST_PROMPT_CHARACTERS + 1)], "must have at most 10,000 characters"),
        ("max_tokens", 4097, "must be a whole number from 0 to 4,096"),
        ("max_tokens", 1.5, "must be a whole number"),
        ("temperature", -1, "must be a number from 0 to 100"),
        ("top_p", 0, "must be a number above 0 and at most 1"),
        ("n", 0, "must be a whole number from 1 to 32"),
        ("stop", ["a"] * 5, "must have at most 4 strings"),
        ("stop", "", "must not be empty"),
        ("seed", -1, "must be a whole number from 0"),
        ("logprobs", 6, "must be a whole number from 0 to 5"),
        ("logprobs", True, "must be a whole number from 0 to 5"),
        ("echo", 1, "must be true or false"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    served_api: ServedApi, field: str, value: Any, problem: str
) -> None:
    error = refused(served_api, **{field: value})
    assert error["param"] == field
    assert error["message"].startswith(f"{field} {problem}")
    assert served_api.runtime.bodies == []


@pytest.mark.parametrize("name", sorted(FIELDS.keys() & GENERATE.keys() - {"prompt"}))
def test_a_field_of_both_apis_reaches_the_endpoint(name: str) -> None:
    values: dict[type, Any] = {Texts: "bread", Flag: True}
    kind = FIELDS[name].kind
    value = kind.most if isinstance(kind, Number) else values[type(kind)]
    body = {"prompt": PROMPT, name: value}
    (request,) = parse(json.dumps(body).encode()).requests
    assert getattr(request, name) == GENERATE[name].kind.read(value)


def test_a_field_is_used_or_not_supported_and_never_both() -> None:
    assert not FIELDS.keys() & UNSUPPORTED.keys()


def test_fields_of_openai_that_change_nothing_are_accepted(served_api: ServedApi) -> None:
    neutral = {"best_of": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "stream": False, "suffix": None}
    plain = the_choice(served_api)
    assert the_choice(served_api, **neutral, logit_bias={}, user="me", logprobs=None) == plain


def test_so_many_texts_at_once_are_refused(served_api: ServedApi) -> None:
    error = refused(served_api, prompt=["Anna"] * 5, n=32)
    assert error["message"] == "prompt and n ask for 160 texts; at most 128 are generated at once."


def test_the_model_is_named_by_itself_or_by_the_endpoint(served_api: ServedApi) -> None:
    listed = served_api.request("GET", "/v1/models").json_body
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [MODEL, "lexline"]
    for model in listed["data"]:
        assert model.keys() == {"id", "object", "created", "owned_by"}
        assert the_choice(served_api, model=model["id"]) == the_choice(served_api, model=None)
    response = served_api.post(PATH, model="gpt-3.5-turbo-instruct", prompt=PROMPT)
    assert response.status_code == 404
    assert response.json_body["error"]["code"] == "model_not_found"
    assert "gpt-3.5-turbo-instruct" in response.json_body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", PATH, b"{", 400, "invalid_request"),
        ("POST", PATH, b" " * 1_100_000, 413, "body_too_large"),
        ("GET", PATH, b"", 405, "method_not_allowed"),
        ("POST", PATH, b'{"prompt": "Zyxgrv"}', 400, "invalid_request"),
    ],
)
def test_every_error_has_openais_form(
    served_api: ServedApi, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    response = served_api.request(method, path, body, **{"Content-Type": "application/json"})
    assert (response.status_code, response.json_body["error"]["code"]) == (status, code)
    assert response.json_body["error"].keys() == {"code", "message", "type", "param"}


def test_a_continuous_cache_is_a_field_of_its_own(served_api: ServedApi) -> None:
    served_api.ok("/v1/completions", prompt="Anna", max_tokens=3, cache=True)
    assert served_api.runtime.bodies[-1]["cache"] is True


def test_an_endpoint_of_an_earlier_version_refuses_by_name(served_api: ServedApi) -> None:
    served_api.runtime.unknown_fields |= {"tokens", "min_p", "text"}
    assert "tokens is not a field of this request" in refused(served_api)["message"]
    for path, body, field in (("/generate", {"min_p": 0.1}, "min_p"), ("/score", {"text": "Anna"}, "text")):
        response = served_api.post(path, **body)
        assert response.status_code == 400
        message = response.json_body["message"]
        assert message.startswith("The model that serves is older than this API and cannot do this.")
        assert f"{field} is not a field of this request" in message
    # It still generates what it always could.
    assert served_api.ok("/generate", words=3, prompt="Anna", top_k=9, top_p=0.9, seed=1, temperature=2)


def test_log_probabilities_are_finite(served_api: ServedApi) -> None:
    choice = the_choice(served_api, temperature=100, max_tokens=100, logprobs=5)
    assert all(map(math.isfinite, choice["logprobs"]["token_logprobs"]))
