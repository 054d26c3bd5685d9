"""The files of layers.

AWS: a layer is read-only, so that functions cannot notice whether they share its files.
https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html
MiniStack: it unpacks a layer for every environment, which then compiles the layer's modules again. Both take
half of a cold start.
Here: a layer is unpacked once, and every environment of every function uses these files.
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
"""The environment variable from which the worker's script reads the folders of the unpacked layers."""

_unpacking = threading.Lock()


def patch() -> None:
    """Give workers the unpacked layers instead of the archives."""
    from ministack.core import lambda_runtime as runtime

    spawn = runtime.Worker._spawn

    @functools.wraps(spawn)
    def spawn_with_unpacked_layers(self: Any) -> None:
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

    runtime.Worker._spawn = spawn_with_unpacked_layers


def _unpacked(layer: Any) -> str:
    """Return the folder with the files of an attached layer, or "" if the layer has no archive."""
    from ministack.services import lambda_svc

    archive = lambda_svc._resolve_layer_zip(layer)
    if not archive:
        return ""
    folder = Path(tempfile.gettempdir()) / f"lambda-layer-{hashlib.sha256(archive).hexdigest()}"
    with _unpacking:
        if not folder.exists():
            draft = Path(tempfile.mkdtemp(prefix="lambda-layer-"))
            # zipfile keeps members with ".." or an absolute path inside the folder.
            zipfile.ZipFile(io.BytesIO(archive)).extractall(draft)
            draft.rename(folder)
    return str(folder)
