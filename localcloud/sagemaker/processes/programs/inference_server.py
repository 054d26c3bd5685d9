"""One model behind HTTP, as SageMaker's containers serve it: GET /ping and POST /invocations.

    python -P inference_server.py

AWS's inference handler (sagemaker-pytorch-inference) calls the user's model_fn, input_fn, predict_fn and
output_fn. This program does the work of TorchServe in AWS's image: it listens, passes on one request at a
time and returns the responses. -P keeps this folder off sys.path, where its modules would hide the user's.

Environment
    SAGEMAKER_BASE_DIR  stands for /opt/ml; the model is in its folder "model"
    LOCALCLOUD_READY    the file to write: {"port": N} when the model is loaded, or {"error": "..."}
    LOCALCLOUD_TOKEN    the token that callers must send as "Authorization: Bearer ..."
    SAGEMAKER_MODEL_SERVER_TIMEOUT  seconds for one request (60); then the process exits and is restarted, as
                                    TorchServe does with a worker
"""

import hmac
import json
import os
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sagemaker_pytorch_serving_container.handler_service import HandlerService

_UNRESPONSIVE_EXIT = 70


class _Context:
    """The part of TorchServe's context that AWS's handler uses."""

    def __init__(self, model_dir: Path) -> None:
        self.system_properties = {"model_dir": str(model_dir), "gpu_id": None}
        self.model_name = "model"
        self.request_processor = [self]
        self.properties: dict[str, str] = {}
        self.content_type = "application/json"
        self.status = 200

    def begin(self, content_type: str, accept: str) -> None:
        """Reset the context for a request."""
        self.properties = {"Content-Type": content_type, "Accept": accept}
        self.content_type = "application/json"
        self.status = 200

    def get_request_properties(self) -> dict[str, str]:
        """Return the request's headers."""
        return self.properties

    def set_response_content_type(self, _index: int, content_type: str) -> None:
        """Set the response's content type."""
        self.content_type = content_type

    def set_response_status(self, code: int, phrase: str) -> None:
        """Set the response's status; its body is then an error message."""
        self.status = code
        self.content_type = "text/plain"


class _Model:
    """The loaded model; handles one request at a time."""

    def __init__(self, model_dir: Path, timeout: float) -> None:
        self._context = _Context(model_dir)
        self._service = HandlerService()
        self._service.initialize(self._context)
        self._lock = threading.Lock()
        self._timeout = timeout
        self._busy_since: float | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def invoke(self, body: bytes, content_type: str, accept: str) -> tuple[int, str, bytes]:
        """Return status, content type and body of the model's response."""
        with self._lock:
            self._busy_since = time.monotonic()
            try:
                self._context.begin(content_type, accept)
                (result,) = self._service.handle([{"body": body}], self._context)
                if self._context.status != 200:
                    print(result, flush=True)
                return self._context.status, self._context.content_type, _encode(result)
            finally:
                self._busy_since = None

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self._timeout / 4))
            since = self._busy_since
            if since is not None and time.monotonic() - since > self._timeout:
                print(f"The model did not respond within {self._timeout:g} s; ending the process", flush=True)
                os._exit(_UNRESPONSIVE_EXIT)


def _encode(result: Any) -> bytes:
    if isinstance(result, bytes | bytearray):
        return bytes(result)
    return (result if isinstance(result, str) else json.dumps(result)).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, model: _Model, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model
        self.authorization = f"Bearer {token}".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # sends headers and body in one segment; two would wait for each other (Nagle)
    server: _Server

    def do_GET(self) -> None:
        """Handle /ping."""
        if self._allowed() and self.path == "/ping":
            self._send(200, "application/json", b"{}")
        else:
            self._refuse()

    def do_POST(self) -> None:
        """Handle /invocations."""
        if not self._allowed() or self.path != "/invocations":
            self.close_connection = True  # the body stays unread
            self._refuse()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        began = time.monotonic()
        content_type = self.headers.get("Content-Type", "application/json")
        status, response_type, content = self.server.model.invoke(
            body, content_type, self.headers.get("Accept", "*/*")
        )
        self._send(status, response_type, content)
        print(f'"POST /invocations" {status} {round(1000 * (time.monotonic() - began))} ms', flush=True)

    def _allowed(self) -> bool:
        return hmac.compare_digest(self.headers.get("Authorization", "").encode(), self.server.authorization)

    def _refuse(self) -> None:
        status = 404 if self._allowed() else 403
        self._send(status, "text/plain", b"no such path" if status == 404 else b"not authorized")

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing here: invocations are logged with their duration, pings are not."""


def _announce(ready: Path, message: dict[str, Any]) -> None:
    written = ready.with_suffix(".new")
    written.write_text(json.dumps(message))
    written.replace(ready)


def main() -> None:
    """Load the model, announce the port, and serve until killed."""
    ready = Path(os.environ.pop("LOCALCLOUD_READY"))
    token = os.environ.pop("LOCALCLOUD_TOKEN")
    timeout = float(os.environ.get("SAGEMAKER_MODEL_SERVER_TIMEOUT", "60"))
    model_dir = Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model"
    # TorchServe starts its workers in the model's folder. AWS's default model_fn looks for the model there.
    os.chdir(model_dir)
    try:
        model = _Model(model_dir, timeout)
    except Exception as error:  # an exception of the user's code is the failure reason to show
        traceback.print_exc()
        _announce(ready, {"error": f"loading the model raised {type(error).__name__}: {error}"})
        sys.exit(1)
    server = _Server(model, token)
    _announce(ready, {"port": server.server_port})
    server.serve_forever()


if __name__ == "__main__":
    main()
