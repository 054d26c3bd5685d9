"""Serve texts under Ray Serve, which AWS's Ray image starts as config.yaml says.

POST / takes the requests of request_body.py and returns the responses of inference.py. An invalid request
gets status 400 and a sentence.

Requests are batched token by token (iteration-level scheduling; Yu et al., Orca, OSDI 2022): a request joins
the running batch, each step draws one token for every request, and a request leaves when its text is
complete. The other requests in a batch do not change a request's text.

There is one batch for each processor, in a process of its own. Most of a step is the work of one thread, so a
second batch gains more than a second thread in the first.
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
"""Requests in a batch. Ray Serve lets others wait."""

IN_TURN = "ray.serve.experimental.round_robin_router:RoundRobinRouter"
"""Each replica gets the next request in turn.

Ray's default compares the replicas' numbers of requests, but as they reported them a moment ago: of 32
requests that arrived at once, one of two replicas got up to 32.
"""

Waiting = tuple[Any, "asyncio.Future[dict[str, Any]]"]


class Batch:
    """The requests in progress, and the thread that draws their tokens."""

    def __init__(self, served: Any) -> None:
        """Start the thread.

        Args:
            served: What inference.load returned. From now on only the batch's thread may use it.
        """
        self._served = served
        self._arrived: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="batch", daemon=True).start()

    async def generate(self, request: Any) -> dict[str, Any]:
        """Return the response to a parsed request. Raises what the model raises."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._arrived.put((request, future))
        return await future

    def _run(self) -> None:
        """Advance the batch for ever. Sleep while there are no requests."""
        batch: list[Waiting] = []
        while True:
            self._join(batch)
            # Ray Serve cancels a request whose client has disconnected.
            batch = [(run, future) for run, future in batch if not future.cancelled()]
            if not batch:
                continue
            try:
                self._served.step([run for run, _ in batch])
                done = [(run.response(), future) for run, future in batch if run.done]
            except Exception as error:
                for _, future in batch:
                    _settle(future, error=error)
                batch = []
                continue
            for response, future in done:
                _settle(future, response)
            batch = [(run, future) for run, future in batch if not run.done]

    def _join(self, batch: list[Waiting]) -> None:
        """Add all requests that have arrived. If the batch is empty, wait for one."""
        while not batch or not self._arrived.empty():
            request, future = self._arrived.get()
            try:
                batch.append((self._served.begin(request), future))
            except Exception as error:
                _settle(future, error=error)


def _settle(
    future: "asyncio.Future[dict[str, Any]]",
    response: dict[str, Any] | None = None,
    error: Exception | None = None,
) -> None:
    """Set the outcome of a future, from the batch's thread, unless it was cancelled."""

    def settle() -> None:
        if error and not future.cancelled():
            future.set_exception(error)
        elif not future.cancelled():
            future.set_result(response or {})

    future.get_loop().call_soon_threadsafe(settle)


class Generator:
    """A replica of the deployment: an actor with the model and one batch."""

    def __init__(self, model_dir: str) -> None:
        # Import it late: Ray Serve also imports this module without using it, and torch takes seconds.
        import inference

        self._inference: Any = inference
        self._batch = Batch(inference.load(model_dir))

    async def __call__(self, request: Request) -> Response:
        """Handle an HTTP request."""
        body, content_type = await request.body(), request.headers.get("content-type")
        try:
            response = await self._batch.generate(self._inference.parse(body, content_type))
        except self._inference.InvalidRequest as error:
            return PlainTextResponse(str(error), status_code=400)
        return Response(json.dumps(response, ensure_ascii=False), media_type="application/json")


def processors() -> int:
    """Return how many processors this process may use: OMP_THREAD_LIMIT, if it is lower than their number."""
    found = os.cpu_count() or 1
    return max(1, min(found, int(os.environ.get("OMP_THREAD_LIMIT", found))))


def app(_: dict[str, str]) -> serve.Application:
    """Return the application that Ray Serve runs, after this process has generated a text.

    Ray's health check, which SageMaker's /ping asks, says 200 from the moment that the application is built,
    though its replicas have not loaded the model yet and may fail to. A model that cannot be loaded must not
    get so far, so the build loads it, too. Ray calls this function in a process that then ends.
    """
    import inference

    inference.load(MODEL).generate(inference.parse(b"{}", inference.JSON))
    return generators.bind(MODEL)


# The model is one folder above this file, wherever the artifact was unpacked.
MODEL = str(Path(__file__).resolve().parent.parent)
# num_cpus 0: an actor that reserves no processor also starts on the smallest instance. numpy multiplies with
# OpenBLAS, which reads its number of threads when it is loaded.
generators = serve.deployment(
    num_replicas=processors(),
    max_ongoing_requests=MOST_AT_ONCE,
    request_router_config={"request_router_class": IN_TURN},
    ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": {"OPENBLAS_NUM_THREADS": "1"}}},
)(Generator)
