"""Measure many requests at once through the whole HTTP API, in a local cloud of its own.

    .venv/bin/python -m benchmarks.api_burst [--requests 200]

This starts a local cloud in build/, deploys the stack as `lexline up` does, and has the pipeline train and
deploy a model on the beginning of a text. Then it sends several bursts of requests to POST /generate, each
for 100 words. Every request passes API Gateway, the API's function, SageMaker Runtime and the endpoint. At
the end it deletes the cloud. It takes about two minutes, during which nothing else should run.

The stack's limits for callers and the local cloud's limit of 40 concurrent functions would refuse most
requests, so they are raised. In the first burst, Lambda starts a process of the API's function for each
request. Later bursts find them running. serving.py measures the same requests at the endpoint alone.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import urllib3

from benchmarks import data, serving
from benchmarks.bench import BURST, machine
from benchmarks.data import ROOT
from lexline.aws import sam, stack, target
from lexline.aws.http_api import HttpApi
from lexline.aws.stack import Stack
from localcloud import control

STACK, DATASET = "lexline", "texts"
ENVIRONMENT = {"LAMBDA_ACCOUNT_CONCURRENCY": "1000"}
"""The limit of concurrent functions that most AWS accounts have."""
LIMITS = {"ApiRate": "9999", "ApiBurst": "9999", "ApiDailyQuota": "1000000"}
TRAIN_WORDS, HELD_OUT_WORDS = 200_000, 20_000


def measure(requests: int, state: Path, text: Path) -> list[float]:
    """Return the seconds of each burst until all requests are answered.

    Args:
        requests: How many are sent at once.
        state: The folder for the cloud, which is deleted afterwards.
        text: A folder with train, valid and test.

    Raises:
        RuntimeError: The run or a request failed.
    """
    cloud = control.start(state, owner=os.getpid(), environment=ENVIRONMENT)
    try:
        place = target.for_cloud(cloud, STACK)
        sam.deploy(place, ROOT, LIMITS, show=lambda _: None)
        deployed = stack.read(place)
        # An upload would start a run of its own, with more epochs.
        cloud.client("events").disable_rule(Name=f"{STACK}-upload")
        deploy_model(deployed, text)
        return bursts(f"{deployed.api_url}/generate", HttpApi(deployed).api_key(), requests)
    finally:
        control.stop(state)


def deploy_model(deployed: Stack, text: Path) -> None:
    """Upload a text, train one epoch on it, and deploy the model.

    Raises:
        RuntimeError: The run failed.
    """
    place = deployed.target
    for split in data.SPLITS:
        place.s3.upload_file(str(text / split), deployed.bucket, f"uploads/{DATASET}/{split}.txt")
    request = {"dataset": DATASET, "hyperparameters": {"epochs": 1}}
    execution = place.stepfunctions.start_execution(
        stateMachineArn=deployed.state_machine_arn, input=json.dumps(request)
    )["executionArn"]
    while (found := place.stepfunctions.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(1)
    if found["status"] != "SUCCEEDED" or json.loads(found["output"])["status"] != "Succeeded":
        raise RuntimeError(f"The run did not deploy a model: {found}")


def bursts(url: str, api_key: str, requests: int) -> list[float]:
    """Send bursts of requests, and return the seconds of each until all are answered.

    Raises:
        RuntimeError: A request failed.
    """
    headers = {"Content-Type": "application/json", "x-api-key": api_key}
    with urllib3.PoolManager(maxsize=requests, retries=False, timeout=120) as pool:

        def send(seed: int) -> None:
            body = json.dumps({"seed": seed, "words": serving.BURST_WORDS})
            response = pool.request("POST", url, body=body, headers=headers)
            if response.status != 200:
                raise RuntimeError(f"the API responded with {response.status}: {response.data[:500]!r}")

        return serving.rounds(send, requests)


def to_markdown(requests: int, seconds: Sequence[float]) -> str:
    """Return the figures as a table."""
    first, *later = seconds
    return "\n".join(
        [
            f"| {requests} requests at once through the API, until all are answered | s |",
            "| --- | --- |",
            f"| first burst, which starts the functions' processes | {first:.1f} |",
            f"| median of {len(later)} later ones | {statistics.median(later):.2f} |",
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=BURST, help=f"at once (default: {BURST})")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="burst-", dir=ROOT / "build") as name:
        whole = data.prepare(None, Path(name) / "whole")
        text = data.shorten(whole, Path(name) / "text", TRAIN_WORDS, HELD_OUT_WORDS)
        print(f"A model of {text.name}; {machine()}", flush=True)
        print(to_markdown(options.requests, measure(options.requests, Path(name) / "cloud", text.folder)))


if __name__ == "__main__":
    main()
