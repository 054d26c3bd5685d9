"""Serve generated text under Ray Serve, as AWS's Ray image does from config.yaml: POST / with inference.py's
requests and answers. A bad request is answered with status 400 and a sentence.

Requests are batched token by token: a request joins the batch that runs, each step draws one token for all
of it, and whoever has enough words leaves (iteration-level scheduling: Yu et al., Orca, OSDI 2022). Which
others are in the batch does not change a request's text.

There is a batch, in a process of its own, for each processor: most of a step is one thread's work, and a
second thread that helps with the rest of it gains less than a second batch.
"""

import asyncio
import json
import os
import queue
import threading
from pathlib import Path
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

MOST_AT_ONCE = 256
"""Requests in a batch; Ray Serve lets the others wait."""

Waiting = tuple[Any, "asyncio.Future[dict[str, Any]]"]


class Batch:
    """The requests that are being answered, and the thread that draws their tokens."""

    def __init__(self, served: Any) -> None:
        """served: what inference.load returns. Only the batch's thread uses it from here on."""
        self._served = served
        self._arrived: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="batch", daemon=True).start()

    async def answer(self, request: Any) -> dict[str, Any]:
        """The answer to a parsed request. Raises what the model raises."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._arrived.put((request, future))
        return await future

    def _run(self) -> None:
        """Step for ever; sleep while there is nobody to answer."""
        batch: list[Waiting] = []
        while True:
            self._join(batch)
            # Whoever asked may have gone: Ray Serve then cancels the request.
            batch = [(run, future) for run, future in batch if not future.cancelled()]
            if not batch:
                continue
            try:
                self._served.step([run for run, _ in batch])
                done = [(run.answer(), future) for run, future in batch if run.done]
            except Exception as error:
                for _, future in batch:
                    _settle(future, error=error)
                batch = []
                continue
            for answer, future in done:
                _settle(future, answer)
            batch = [(run, future) for run, future in batch if not run.done]

    def _join(self, batch: list[Waiting]) -> None:
        """Take in everyone who has arrived; wait for somebody if the batch is empty."""
        while not batch or not self._arrived.empty():
            request, future = self._arrived.get()
            try:
                batch.append((self._served.begin(request), future))
            except Exception as error:
                _settle(future, error=error)


def _settle(
    future: "asyncio.Future[dict[str, Any]]",
    answer: dict[str, Any] | None = None,
    error: Exception | None = None,
) -> None:
    """Set a future's outcome from the batch's thread, unless it was cancelled."""

    def settle() -> None:
        if future.cancelled():
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(answer or {})

    future.get_loop().call_soon_threadsafe(settle)


class Generator:
    """A replica of the deployment: an actor that holds the model and has one batch."""

    def __init__(self, model_dir: str) -> None:
        # Not at the top: Serve imports this module in processes that never generate, and torch takes seconds.
        import inference

        self._inference: Any = inference
        self._batch = Batch(inference.load(model_dir))

    async def __call__(self, request: Request) -> Response:
        body, content_type = await request.body(), request.headers.get("content-type")
        try:
            answer = await self._batch.answer(self._inference.parse(body, content_type))
        except self._inference.InvalidRequest as error:
            return PlainTextResponse(str(error), status_code=400)
        return Response(json.dumps(answer, ensure_ascii=False), media_type="application/json")


def processors() -> int:
    """How many this instance may use, by the limit that containers and OpenMP know."""
    found = os.cpu_count() or 1
    return max(1, min(found, int(os.environ.get("OMP_THREAD_LIMIT", found))))


# An actor that reserves no processor starts on the smallest instance too. numpy multiplies by OpenBLAS, which
# reads its number of threads when it is loaded. The model lies one folder above this file, wherever the
# artifact was unpacked.
app = serve.deployment(
    num_replicas=processors(),
    max_ongoing_requests=MOST_AT_ONCE,
    ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": {"OPENBLAS_NUM_THREADS": "1"}}},
)(Generator).bind(str(Path(__file__).resolve().parent.parent))
