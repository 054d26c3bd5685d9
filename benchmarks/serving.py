"""The speed of one endpoint in AWS's Ray image, over HTTP, with many requests at once.

The local cloud runs the endpoint's instance with all of the machine's cores, which the clients share.
Requests go to the endpoint itself, without the API in front of it. Words are counted as in generation.py. A
request's tokens are the same everywhere, so they are counted in advance, without a server.
"""

import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import generation
from localcloud.sagemaker.processes.fleet import Fleet, FleetLaunch

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"
SECONDS_TO_START = 300
ROUNDS = 3
BURST_WORDS = 100
"""The words of each request of a burst: what POST /generate returns if a request does not say how many."""
_NOWHERE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # a model in service does not call AWS
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}


class _Folder:
    """An object store that contains one folder, as model.tar.gz."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            archive.add(self._folder, arcname=".")


def served(
    artifact: Path, requests: int = 32, burst: int = 200, words: int = generation.WORDS
) -> dict[str, float]:
    """Start an endpoint and measure it with many requests at once.

    Return `words_per_second` over several rounds of concurrent requests, and `burst_seconds`: the time until
    a larger number of requests, sent at once, are all answered, the median of several rounds.

    Args:
        artifact: The folder of the model.
        requests: The number of concurrent requests.
        burst: The number of requests of a burst, each for BURST_WORDS.
        words: The words of each of the `requests`.

    Raises:
        RuntimeError: A request failed.
        FleetFailed: The endpoint did not start.
    """
    tokens = generation.tokens_drawn(artifact, requests, words)
    cores = str(os.cpu_count() or 1)
    container: dict[str, Any] = {
        "Image": IMAGE,
        "ModelDataUrl": "s3://benchmark/model.tar.gz",
        "Environment": {
            # The mode of functions/pipeline/steps/create_model.py.
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
            "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "LEXLINE_MODEL": "benchmark",
            "OMP_NUM_THREADS": cores,
            "OMP_THREAD_LIMIT": cores,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        launch = FleetLaunch(
            "benchmark",
            "AllTraffic",
            "model",
            container,
            1,
            Path(folder) / "fleet",
            _NOWHERE,
            lambda *_: None,
        )
        fleet = Fleet(launch, store=_Folder(artifact))  # type: ignore[arg-type]  # a fleet only downloads
        fleet.start()
        try:
            fleet.wait_ready(SECONDS_TO_START)
            seconds = _rounds(fleet, requests, words)
            return {
                "words_per_second": ROUNDS * tokens / sum(seconds),
                "burst_seconds": statistics.median(_rounds(fleet, burst, BURST_WORDS)),
            }
        finally:
            fleet.stop(drain=0.0)


def rounds(send: Callable[[int], None], requests: int) -> list[float]:
    """Send several rounds of concurrent requests, and return the seconds of each until all are answered.

    The first round is slower than the others: servers have to start or to warm up.

    Args:
        send: Sends the request with this seed and returns after the response.
        requests: The number of requests of a round. Their seeds differ.
    """
    seconds = []
    with ThreadPoolExecutor(requests) as threads:
        for _ in range(1 + ROUNDS):
            began = time.perf_counter()
            list(threads.map(send, range(requests)))
            seconds.append(time.perf_counter() - began)
    return seconds


def _rounds(fleet: Fleet, requests: int, words: int) -> list[float]:
    """Send several rounds of concurrent requests. Return the seconds of all but the first."""

    def send(seed: int) -> None:
        body = json.dumps({"seed": seed, "words": words}).encode()
        response = fleet.invoke(body, "application/json", "application/json")
        if response is None or response.status != 200:
            raise RuntimeError(f"the endpoint responded with {response}"[:500])

    return rounds(send, requests)[1:]
