"""Fleets that load no model: they answer at once, the same text for the same request, as generate.py would.

What a fleet is asked is checked as `model_scripts/inference.py` checks it; a test holds the two against each
other. The text is drawn from the words the model was trained on.
"""

import hashlib
import itertools
import json
import random
import shutil
import threading
import time
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.processes.artifacts import BadArchive, S3Store, StoreError, split_uri, unpack
from localcloud.sagemaker.processes.fleet import FleetFailed, FleetLaunch
from localcloud.sagemaker.processes.images import ImageNotFound, hosting_runner
from localcloud.sagemaker.processes.instance import InvocationResult
from tests.faults.jobs import IDENTITY
from tests.faults.matching import Plan

JSON = "application/json"
_DEFAULTS: dict[str, Any] = {
    "seed": 1111,
    "temperature": 1.0,
    "words": 100,
    "prompt": "",
    "top_k": None,
    "top_p": None,
}
_RANGES: dict[str, tuple[float, float, type]] = {
    "seed": (0, 2**32 - 1, int),
    "temperature": (0.001, 100, float),
    "words": (1, 1000, int),
    "top_k": (1, 1_000_000, int),
    "top_p": (0, 1, float),
}
_MOST_PROMPT_CHARACTERS = 10_000


class InvalidRequest(ValueError):
    """The request is not one a model answers."""


def parsed(body: bytes, content_type: str) -> dict[str, Any]:
    """A request with its defaults. Raises InvalidRequest, with a sentence."""
    if content_type and content_type.split(";")[0].strip().lower() != JSON:
        raise InvalidRequest(f"The content type must be {JSON}, not {content_type}.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object.")
    for name in document:
        if name not in _DEFAULTS:
            raise InvalidRequest(f"Unknown field {name[:50]!r}; the known ones are {', '.join(_DEFAULTS)}.")
    request = {**_DEFAULTS, **document}
    for name, (least, most, kind) in _RANGES.items():
        value = request[name]
        if value is None and _DEFAULTS[name] is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
            raise InvalidRequest(f"{name} must be {'a whole number' if kind is int else 'a number'}.")
        if not least <= value <= most or (name == "top_p" and value == 0):
            raise InvalidRequest(f"{name} must be from {least:,} to {most:,}.")
    if not isinstance(request["prompt"], str):
        raise InvalidRequest("prompt must be text.")
    if len(request["prompt"]) > _MOST_PROMPT_CHARACTERS:
        raise InvalidRequest(f"prompt must be at most {_MOST_PROMPT_CHARACTERS:,} characters long.")
    return request


@dataclass(frozen=True)
class _Model:
    """An artifact: the job that trained it, and its words."""

    job: str
    words: list[str]


class ScriptedFleet:
    """One variant's fleet (`localcloud.sagemaker.hosting.deployment.Fleet`)."""

    def __init__(self, launch: FleetLaunch, change: str, plan: Plan) -> None:
        """change: "create" or "update", what the fleet is started for."""
        self._launch = launch
        self._change = change
        self._plan = plan
        self._name = launch.container.get("Environment", {}).get("LEXLINE_MODEL", "")
        self._settled = threading.Event()
        self._failure: str | None = None
        self._model: _Model | None = None
        self._asked = itertools.count()

    def start(self) -> None:
        threading.Thread(target=self._load, name=f"fleet-{self._launch.endpoint_name}", daemon=True).start()

    def wait_ready(self, timeout: float) -> None:
        if not self._settled.wait(timeout):
            raise FleetFailed(f"The fleet was not ready within {timeout:g} s.")
        if self._failure is not None:
            raise FleetFailed(self._failure)

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult:
        model = self._model
        if model is None:
            return InvocationResult(503, "text/plain", b"No container is up; try again shortly.")
        fault = self._plan.take("answer", ["fleet"], [self._launch.endpoint_name, self._name]) or {"how": ""}
        how = fault["how"]
        if how == "slow":
            time.sleep(fault["seconds"])
        if how == "failing":
            return InvocationResult(500, "text/plain", b"The model failed, as planned by a test.")
        if how == "garbage":
            return InvocationResult(200, JSON, b"<html>502 Bad Gateway</html>")
        try:
            request = parsed(body, content_type)
        except InvalidRequest as error:
            return InvocationResult(400, "text/plain", str(error).encode())
        answer = self._answer(model, request, how)
        return InvocationResult(200, JSON, json.dumps(answer, ensure_ascii=False).encode())

    def stop(self, drain: float = 0.0) -> None:
        self._settled.wait(10)
        self._model = None
        shutil.rmtree(self._launch.directory, ignore_errors=True)

    def _load(self) -> None:
        try:
            fault = self._plan.take(
                "endpoint", [self._change], [self._launch.endpoint_name, self._launch.model_name]
            )
            if fault is not None:
                raise FleetFailed(fault["reason"])
            hosting_runner(self._launch.container["Image"])
            self._model = self._fetched()
        except (FleetFailed, ImageNotFound) as error:
            self._failure = str(error)
        except Exception as error:
            self._failure = f"InternalServerError: We encountered an internal error. {error!r}"
        finally:
            self._settled.set()

    def _fetched(self) -> _Model:
        uri = self._launch.container.get("ModelDataUrl", "")
        folder = self._launch.directory
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / "model.tar.gz"
        try:
            S3Store(self._launch.environment).download(*split_uri(uri), archive, lambda: None)
        except (StoreError, ValueError) as error:
            raise FleetFailed(
                f'Failed to download model data for container "container_1" from URL: "{uri}". Please ensure'
                " that there is an object located at the URL and that the role passed to CreateModel has"
                f" permissions to download the object. ({error})"
            ) from error
        try:
            unpack(archive, folder / "model")
            identity = json.loads((folder / "model" / IDENTITY).read_text())
        except (BadArchive, OSError, ValueError) as error:
            raise FleetFailed(
                f'Failed to extract model data archive for container "container_1" from URL "{uri}". Please'
                f" ensure that the object located at the URL is a valid tar.gz archive. ({error})"
            ) from error
        return _Model(identity["job"], identity["words"] or ["<unk>"])

    def _answer(self, model: _Model, request: dict[str, Any], how: str) -> dict[str, Any]:
        drawn = [model.job, *request.values(), *([next(self._asked)] if how == "another text" else [])]
        chance = random.Random(hashlib.sha256(repr(drawn).encode()).digest())
        words = [chance.choice(model.words) for _ in range(request["words"])]
        if how == "unknown":
            words = ["<unk>"] * request["words"]
        if how == "empty":
            words = []
        return {
            "text": " ".join(words),
            "words": len(words),
            "seed": request["seed"],
            "temperature": request["temperature"],
            "model": "another-model" if how == "another model" else self._name,
        }
