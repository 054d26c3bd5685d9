"""The views Write, Score and Compare: what is sent to the API, and what the page gets."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from lexline.core.errors import UsageError, UserError
from tests.unit.lexline.conftest import Patch

Ask = Callable[..., Any]
TOKEN = {"word": "Go", "start": 0, "end": 2, "log_probability": math.log(0.5), "known": True}
ONE = {
    "text": "Go on", "seed": 7, "finish_reason": "stop", "log_probabilities": [{**TOKEN, "alternatives": []}],
}  # fmt: skip
TWO = {"text": "No.", "seed": 8, "log_probabilities": []}
MODEL = {
    "endpoint": "lexline", "status": "InService", "model": "lexline--a-1", "dataset": "sotu",
    "perplexity": 99.0, "unknown_share": 0.02, "since": "2026-11-23T12:00:00+00:00",
}  # fmt: skip


class Api:
    """The stack's API. It knows all fields but those in `lacks`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.lacks: set[str] = set()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.sent.append((path, body))
        if unknown := [name for name in body if name in self.lacks]:
            raise UsageError(
                " ".join(f"{name} is not a field of this request; there are a." for name in unknown),
                "Correct it.",
            )
        if path == "/score":
            figures = {"perplexity": 9.5, "bits_per_character": 1.5, "tokens": 1, "model": "m"}
            return {**figures, "unknown_words": ["Xyz"], "log_probabilities": [{**TOKEN, "known": False}]}
        response = {**ONE, "model": "m", "unknown_words": ["Xyz"]}
        return {**response, "texts": [ONE, TWO]} if body.get("n") else response


@pytest.fixture
def api(patch: Patch) -> Api:
    api = Api()
    patch("aws.http_api.HttpApi.post", lambda _, path, body: api.post(path, body))
    patch("aws.http_api.HttpApi.get", MODEL)
    patch("aws.http_api.HttpApi.curl", lambda _, path, body: f"curl {path} {body}")
    return api


def test_the_page_knows_the_stack_its_model_and_the_fields_of_a_request(ask: Ask, api: Api) -> None:
    stack = ask("stack")
    assert (stack["name"], stack["place"], stack["local"]) == ("lexline", "AWS in us-east-1", False)
    assert stack["model"] == MODEL
    assert "test perplexity 99.0 with 2.0% of the words unknown" in stack["model_in_words"]
    words = stack["fields"]["words"]
    assert (words["minimum"], words["maximum"], words["default"]) == (1, 1000, 100)
    assert {"prompt", "stop", "n", "min_p", "repetition_penalty"} < stack["fields"].keys()
    assert all(field["description"] for field in stack["fields"].values())


def test_without_a_model_the_page_knows_why_and_what_to_do(ask: Ask, patch: Patch) -> None:
    def fail(*_: object) -> None:
        raise UserError("No model has been deployed.", "`lexline run FILE` trains one.")

    patch("aws.http_api.HttpApi.get", fail)
    stack = ask("stack")
    assert stack["model"] is None
    assert stack["problem"] == {
        "message": "No model has been deployed.",
        "hint": "`lexline run FILE` trains one.",
    }


def test_what_is_not_set_is_not_sent_and_each_text_comes_in_pieces(ask: Ask, api: Api) -> None:
    response = ask(
        "generate", settings={"seed": 7, "words": 5, "top_k": None, "prompt": "", "stop": [], "n": 2}
    )
    ((path, body),) = api.sent
    assert path == "/generate"
    assert body == {
        "seed": 7, "words": 5, "n": 2, "return_log_probabilities": True, "alternatives": 6,
    }  # fmt: skip
    assert response["settings"] == {"seed": 7, "words": 5, "n": 2}
    assert response["unknown_words"] == ["Xyz"]
    one, two = response["texts"]
    assert (one["text"], one["seed"], two["seed"]) == ("Go on", 7, 8)
    assert (one["stopped"], two["stopped"]) == (True, False)
    assert [piece["text"] for piece in one["pieces"]] == ["Go", " on"]
    assert one["pieces"][0]["bits"] == pytest.approx(1)
    assert response["note"] == ""


def test_zero_is_a_value(ask: Ask, api: Api) -> None:
    assert ask("generate", settings={"seed": 0, "min_p": 0})["settings"] == {"seed": 0, "min_p": 0}


def test_a_seed_is_chosen_and_returned(ask: Ask, api: Api) -> None:
    seeds = {ask("generate")["settings"]["seed"] for _ in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_model_of_older_scripts_still_writes(ask: Ask, api: Api) -> None:
    api.lacks = {"n", "return_log_probabilities", "alternatives"}
    response = ask("generate", settings={"seed": 7, "n": 2})
    assert api.sent[-1] == ("/generate", {"seed": 7})
    assert [text["text"] for text in response["texts"]] == ["Go on"]
    assert "n, return_log_probabilities, alternatives" in response["note"]
    assert "`lexline run --dataset sotu --force`" in response["note"]


def test_a_text_is_scored_word_by_word(ask: Ask, api: Api) -> None:
    response = ask("score", text="Go on")
    assert api.sent == [("/score", {"text": "Go on", "alternatives": 6})]
    assert (response["perplexity"], response["bits_per_character"], response["tokens"]) == (9.5, 1.5, 1)
    assert response["unknown_words"] == ["Xyz"]
    assert response["pieces"][0]["unknown"] is True


@pytest.mark.parametrize("text", [None, "", " \n", 7, ["a"]])
def test_an_empty_text_is_not_sent(page: Any, api: Api, text: object) -> None:
    response = page.post("/api/score", json={"text": text})
    assert (response.status_code, response.json()["message"]) == (400, "There is no text to score.")
    assert api.sent == []


def test_a_model_of_older_scripts_cannot_score(page: Any, api: Api) -> None:
    api.lacks = {"text"}
    response = page.post("/api/score", json={"text": "Go"})
    assert response.status_code == 502
    assert "--dataset sotu --force" in response.json()["hint"]


def test_curl_is_the_same_request(ask: Ask, api: Api) -> None:
    settings = {"seed": 7, "prompt": "", "n": 2}
    assert ask("curl", settings=settings) == {"command": "curl /generate {'seed': 7, 'n': 2}"}
    assert ask("curl", text="Go") == {"command": "curl /score {'text': 'Go'}"}


def test_settings_of_another_form_are_refused(page: Any, api: Api) -> None:
    assert page.post("/api/generate", json={"settings": [1]}).status_code == 400


def test_a_registered_model_gets_the_same_request_on_this_machine(ask: Ask, api: Api, patch: Patch) -> None:
    asked: list[Any] = []

    def generate(_: object, version: str, body: dict[str, Any]) -> dict[str, Any]:
        asked.append((version, body))
        return {**ONE, "model": "other"}

    patch("playground.local_models.LocalModels.generate", generate)
    response = ask("generate", settings={"seed": 7}, model="3")
    assert asked == [("3", {"seed": 7, "return_log_probabilities": True, "alternatives": 6})]
    assert (response["model"], api.sent) == ("other", [])


@pytest.mark.parametrize(("operation", "fields"), [("generate", {}), ("score", {"text": "Go"})])
def test_what_the_api_refuses_can_be_corrected_on_the_page(
    page: Any, patch: Patch, operation: str, fields: dict[str, Any]
) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("words must be a whole number.", "`lexline generate --help` describes the options.")

    patch("aws.http_api.HttpApi.post", refuse)
    response = page.post(f"/api/{operation}", json=fields)
    assert response.status_code == 400
    assert response.json() == {
        "message": "words must be a whole number.",
        "hint": "Correct what the message names, and try again.",
    }
