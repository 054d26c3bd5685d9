"""Fleets that load no model. They return a text at once, and the same text for the same request.

The text consists of words that the model was trained on. Requests are validated as a model validates
them, by model_scripts/request_body.py.
"""

import hashlib
import itertools
import json
import random
import shutil
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localcloud.sagemaker.processes.artifacts import BadArchive, S3Store, StoreError, split_uri, unpack
from localcloud.sagemaker.processes.fleet import FleetFailed, FleetLaunch
from localcloud.sagemaker.processes.images import ImageNotFound, hosting_runner
from localcloud.sagemaker.processes.instance import InvocationResult
from tests.faults.harness.fault_plan import FaultPlan
from tests.faults.harness.scripted_jobs import IDENTITY

sys.path.append(str(Path(__file__).resolve().parents[3] / "model_scripts"))
from request_body import InvalidRequest, Request, read

_JSON = "application/json"
_START_SECONDS = 60.0
"""A fleet that is stopped while it starts has so long to start."""


@dataclass(frozen=True)
class _Model:
    """The content of an artifact: the job that trained it, and its words."""

    job: str
    words: list[str]


class ScriptedFleet:
    """The fleet of one production variant (`Fleet` of the local SageMaker)."""

    def __init__(self, launch: FleetLaunch, change: str, plan: FaultPlan) -> None:
        """Create the fleet. It starts for a `change`: "create" or "update"."""
        self._launch = launch
        self._change = change
        self._plan = plan
        self._name = launch.container.get("Environment", {}).get("LEXLINE_MODEL", "")
        self._started = threading.Event()
        self._failure: str | None = None
        self._model: _Model | None = None
        self._requests = itertools.count()

    def start(self) -> None:
        """Start to load the model on a thread."""
        threading.Thread(target=self._load, name=f"fleet-{self._launch.endpoint_name}", daemon=True).start()

    def wait_ready(self, timeout: float) -> None:
        """Wait until the fleet can serve. Raise FleetFailed if it cannot."""
        if not self._started.wait(timeout):
            raise FleetFailed(f"The fleet was not ready within {timeout:g} s.")
        if self._failure is not None:
            raise FleetFailed(self._failure)

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult | None:
        """Return a text, or the planned bad response; None if the fleet does not serve."""
        model = self._model
        if model is None:
            return None
        names = [self._launch.endpoint_name, self._name]
        fault = self._plan.take("response", ["fleet"], names) or {"how": ""}
        how = fault["how"]
        if how == "slow":
            time.sleep(fault["seconds"])
        if how == "failing":
            return InvocationResult(500, "text/plain", b"The model failed, as planned by a test.")
        if how == "garbage":
            return InvocationResult(200, _JSON, b"<html>502 Bad Gateway</html>")
        try:
            valid = asdict(Request(**read(body)))
        except InvalidRequest as error:
            return InvocationResult(400, "text/plain", str(error).encode())
        response = self._response(model, valid, how)
        return InvocationResult(200, _JSON, json.dumps(response, ensure_ascii=False).encode())

    def stop(self, drain: float = 0.0) -> None:
        """Stop to serve, and remove the fleet's files."""
        self._started.wait(_START_SECONDS)
        self._model = None
        shutil.rmtree(self._launch.directory, ignore_errors=True)

    def _load(self) -> None:
        try:
            names = [self._launch.endpoint_name, self._launch.model_name]
            fault = self._plan.take("deployment", [self._change], names)
            if fault is not None:
                raise FleetFailed(fault["reason"])
            hosting_runner(self._launch.container["Image"])
            self._model = self._download()
        except (FleetFailed, ImageNotFound) as error:
            self._failure = str(error)
        except Exception as error:
            self._failure = f"InternalServerError: We encountered an internal error. {error!r}"
        finally:
            self._started.set()

    def _download(self) -> _Model:
        uri = self._launch.container.get("ModelDataUrl", "")
        folder = self._launch.directory
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / "model.tar.gz"
        try:
            S3Store(self._launch.environment).download(*split_uri(uri), archive, lambda: None)
            unpack(archive, folder / "model")
            identity = json.loads((folder / "model" / IDENTITY).read_text())
        except (BadArchive, OSError, StoreError, ValueError) as error:
            raise FleetFailed(
                f'Failed to download model data for container "container_1" from URL: "{uri}". Please ensure'
                " that there is an object located at the URL and that the role passed to CreateModel has"
                f" permissions to download the object. ({error})"
            ) from error
        return _Model(identity["job"], identity["words"] or ["<unk>"])

    def _response(self, model: _Model, request: dict[str, Any], how: str) -> dict[str, Any]:
        drawn_from = [
            model.job,
            *request.values(),
            *([next(self._requests)] if how == "another text" else []),
        ]
        chance = random.Random(hashlib.sha256(repr(drawn_from).encode()).digest())
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
