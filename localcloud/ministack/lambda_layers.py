"""Lambda: a layer is unpacked once, for every environment of every function that has it.

MiniStack unpacks it for each environment anew, which then also compiles its modules anew: half of a cold
start. On AWS a layer is read-only, so that nobody can tell how many there are.
https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html
"""

import functools
import hashlib
import io
import os
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

LAYERS = "_LAMBDA_LAYERS_DIRS"
"""The variable in which the worker's script looks for the unpacked layers' folders."""

_unpacking = threading.Lock()


def mend() -> None:
    """Give a worker the unpacked layers instead of the archives."""
    from ministack.core import lambda_runtime as runtime

    spawn = runtime.Worker._spawn

    @functools.wraps(spawn)
    def spawning(self: Any) -> None:
        config = self.config
        layers = config.get("Layers") or []
        if layers and str(config.get("Runtime", "")).startswith("python"):
            variables = (config.get("Environment") or {}).get("Variables") or {}
            folders = os.pathsep.join(folder for layer in layers if (folder := _unpacked(layer)))
            environment = {"Variables": {**variables, LAYERS: folders}}
            self.config = {**config, "Layers": [], "Environment": environment}
        try:
            spawn(self)
        finally:
            self.config = config

    runtime.Worker._spawn = spawning


def _unpacked(layer: Any) -> str:
    """The folder of an attached layer's files; "" for a layer that has none."""
    from ministack.services import lambda_svc

    archive = lambda_svc._resolve_layer_zip(layer)
    if not archive:
        return ""
    folder = Path(tempfile.gettempdir()) / f"lambda-layer-{hashlib.sha256(archive).hexdigest()}"
    with _unpacking:
        if not folder.exists():
            draft = Path(tempfile.mkdtemp(prefix="lambda-layer-"))
            # Members that would lead out of the folder are led back into it.
            zipfile.ZipFile(io.BytesIO(archive)).extractall(draft)
            draft.rename(folder)
    return str(folder)
