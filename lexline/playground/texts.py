"""What the page asks of a model: write texts, and score a text."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from lexline.aws.http_api import HttpApi
from lexline.aws.stack import Stack
from lexline.core import api_document
from lexline.core.errors import UsageError, UserError
from lexline.display import status as overview
from lexline.playground.local_models import LocalModels
from lexline.playground.pieces import pieces

GENERATE, SCORE = "/generate", "/score"
_SHADES = {"return_log_probabilities": True, "alternatives": 6}
"""What the page wants to know of each word that a model writes."""
_CORRECT = "Correct what the message names, and try again."
_UNKNOWN_FIELD = re.compile(r"(\w+) is not a field of this request")
_OLDER = (
    "This stack, or the scripts that trained its model, are older than the page, and do not know: {fields}. "
    "To see everything, run `lexline up` and `lexline run --dataset {dataset} --force`."
)


class Texts:
    """The operations of the views Write, Score and Compare.

    Args:
        stack: The stack whose API is called.
        models: The models that run on this machine.
    """

    def __init__(self, stack: Stack, models: LocalModels) -> None:
        self._stack = stack
        self._models = models

    def stack(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """Return which stack this is, which model serves, and the schemas of the fields of a request."""
        model, problem = None, None
        try:
            model = HttpApi(self._stack).get("/model")
        except UserError as error:
            problem = {"message": error.message, "hint": error.hint}
        return {
            "name": self._stack.target.stack_name,
            "place": self._stack.target.place,
            "local": self._stack.target.local,
            "model": model,
            "model_in_words": overview.model_in_words(model) if model else "",
            "problem": problem,
            "fields": api_document.document()["components"]["schemas"]["Generate"]["properties"],
        }

    def generate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return texts.

        Args:
            request: `settings`, the body of a request to the API; and `model`, the version of a registered
                model that runs on this machine, or None for the model that serves.
        """
        settings = {"seed": secrets.randbelow(2**32), **_settings(request)}
        version = request.get("model")
        send: Callable[[dict[str, Any]], dict[str, Any]] = (
            (lambda body: HttpApi(self._stack).post(GENERATE, body))
            if version is None
            else (lambda body: self._models.generate(str(version), body))
        )
        note = ""
        try:
            response = send({**settings, **_SHADES})
        except UsageError as error:
            unknown = _UNKNOWN_FIELD.findall(error.message)
            if not unknown:
                raise UsageError(error.message, _CORRECT) from error
            settings = {name: value for name, value in settings.items() if name not in unknown}
            response = send(settings)
            note = _OLDER.format(fields=", ".join(unknown), dataset=self._dataset())
        return {
            "model": response.get("model", ""),
            "settings": settings,
            "unknown_words": response.get("unknown_words", []),
            "texts": [
                {
                    "text": text["text"],
                    "seed": text["seed"],
                    "stopped": text.get("finish_reason") == "stop",
                    "pieces": pieces(text["text"], text.get("log_probabilities", [])),
                }
                for text in response.get("texts", [response])
            ],
            "note": note,
        }

    def score(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return how well the model that serves predicts each word of a text.

        Args:
            request: `text`.
        """
        text = request.get("text")
        if not isinstance(text, str) or not text.strip():
            raise UsageError("There is no text to score.", "Paste or type one.")
        body = {"text": text, "alternatives": _SHADES["alternatives"]}
        try:
            response = HttpApi(self._stack).post(SCORE, body)
        except UsageError as error:
            if not _UNKNOWN_FIELD.search(error.message):
                raise UsageError(error.message, _CORRECT) from error
            raise UserError(
                "This stack, or the scripts that trained its model, are too old to score texts.",
                f"Run `lexline up` and `lexline run --dataset {self._dataset()} --force`.",
            ) from error
        return {
            "perplexity": response["perplexity"],
            "bits_per_character": response["bits_per_character"],
            "tokens": response["tokens"],
            "unknown_words": response["unknown_words"],
            "model": response["model"],
            "pieces": pieces(text, response["log_probabilities"]),
        }

    def curl(self, request: Mapping[str, Any]) -> dict[str, str]:
        """Return the command that sends the same request from a terminal. It has the API key."""
        if "text" in request:
            command = HttpApi(self._stack).curl(SCORE, {"text": request["text"]})
        else:
            command = HttpApi(self._stack).curl(GENERATE, _settings(request))
        return {"command": command}

    def _dataset(self) -> str:
        try:
            return str(HttpApi(self._stack).get("/model").get("dataset") or "NAME")
        except UserError:
            return "NAME"


def _settings(request: Mapping[str, Any]) -> dict[str, Any]:
    settings = request.get("settings", {})
    if not isinstance(settings, dict):
        raise UsageError("The settings are not a JSON object.", "Reload the page.")
    return {name: value for name, value in settings.items() if value not in (None, "", [])}
