"""The speed of one endpoint in AWS's Ray image, over HTTP, with many requests at once.

The local cloud runs the endpoint's instance with all of the machine's cores, which the clients share. Words
are counted as in generation.py. A request's tokens are the same everywhere, so they are counted in advance,
without a server.
"""

import json
import os
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


def served_words_per_second(artifact: Path, requests: int = 32) -> float:
    """Return the words per second over several rounds of concurrent requests, each for generation.WORDS.

    Args:
        artifact: The folder of the model.
        requests: The number of concurrent requests.

    Raises:
        RuntimeError: A request failed.
        FleetFailed: The endpoint did not start.
    """
    tokens = generation.tokens_drawn(artifact, requests)
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
            with ThreadPoolExecutor(requests) as threads:
                _ask(fleet, threads, requests)  # the first steps of a process are its slowest
                began = time.perf_counter()
                for _ in range(ROUNDS):
                    _ask(fleet, threads, requests)
                return ROUNDS * tokens / (time.perf_counter() - began)
        finally:
            fleet.stop(drain=0.0)


def _ask(fleet: Fleet, threads: ThreadPoolExecutor, requests: int) -> None:
    """Send one round of requests and wait for all responses."""

    def ask(seed: int) -> None:
        body = json.dumps({"seed": seed, "words": generation.WORDS}).encode()
        response = fleet.invoke(body, "application/json", "application/json")
        if response is None or response.status != 200:
            raise RuntimeError(f"the endpoint responded with {response}"[:500])

    list(threads.map(ask, range(requests)))
