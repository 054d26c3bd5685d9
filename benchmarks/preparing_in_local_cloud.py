"""Prepare datasets through the local cloud, from StartExecution to the manifest: time, memory and items.

    .venv/bin/python -m benchmarks.preparing_in_local_cloud [--gb 1 5 20]

For each size this starts a local cloud of its own in build/, and deploys the stack as `lexline up` does. It
uploads files of 256 MB, starts one execution, and waits until the step AssembleDataset has ended. Then it
stops the execution before a model is trained, and deletes the cloud. It checks that the manifest has every
byte that was uploaded. The text consists of real sentences (State of the Union messages) in random order. All
files have the same text, apart from their first lines.

    seconds      from the start of the execution to the end of AssembleDataset, by the execution's history
    functions    seconds of processor of the functions' processes; other work changes them less than the clock
    server       the same of the local cloud's server, which is S3, Step Functions and all else
    largest      the most memory of a function, by the REPORT lines in the logs, and what it is allowed
    server MiB   the peak of the server's process beyond the page cache

It needs about twice the largest size on disk, once for the uploads and once for the corpus.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from botocore.config import Config

from benchmarks import memory
from benchmarks.data import ROOT
from benchmarks.preparing import write_text
from lexline.aws import sam, target
from localcloud import control
from localcloud.control import LocalCloud

GB = 10**9
MIB = 2**20
FILE_BYTES = 256 * 10**6
STACK, DATASET = "lexline", "texts"
FUNCTIONS = ("list-uploads", "read-upload", "assemble-dataset")
LAST_STEP = "AssembleDataset"
# The disk needs the uploads and the corpus, and something for the stack.
COPIES, SPARE = 2, 2 * GB

_REPORT = re.compile(r"^REPORT .*Memory Size: (\d+) MB\s+Max Memory Used: (\d+) MB", re.DOTALL)


class Invocation(NamedTuple):
    """What a function's REPORT line says, in MB."""

    function: str
    allowed: int
    used: int


@dataclass(frozen=True)
class Preparation:
    """The measurement of one dataset.

    Attributes:
        gigabytes: The size of the uploads, in GB of 1,000,000,000 bytes.
        files: The number of uploads.
        items: Of the plan.
        seconds: From the start of the execution to the end of AssembleDataset.
        functions: Seconds of processor of the functions' processes.
        server: Seconds of processor of the local cloud's server.
        largest: The invocation that used the most memory.
        server_bytes: The peak of the server's memory beyond the page cache.
    """

    gigabytes: float
    files: int
    items: int
    seconds: float
    functions: float
    server: float
    largest: Invocation
    server_bytes: int


class WrongManifest(RuntimeError):
    """The manifest does not have the text that was uploaded."""


def sizes(total: int) -> list[int]:
    """Return the sizes of the files that have `total` bytes together."""
    whole, rest = divmod(total, FILE_BYTES)
    return [FILE_BYTES] * whole + ([rest] if rest else [])


def numbered(text: bytes, number: int, size: int) -> bytes:
    """Return a file of `size` bytes whose first line has its number. Its last character is a line end."""
    line = f"This is file number {number:06d}.\n".encode()
    return line + text[len(line) : size - 1] + b"\n"


def reported(function: str, message: str) -> Invocation | None:
    """Return what a line of a function's log reports, or None for another line."""
    found = _REPORT.search(message)
    return Invocation(function, int(found[1]), int(found[2])) if found else None


def check_manifest(manifest: dict[str, Any], files: int, size: int) -> None:
    """Check that a manifest has all files and every byte of them.

    Raises:
        WrongManifest: It does not.
    """
    in_files = sum(file["bytes"] for file in manifest["files"])
    in_ranges = sum(end - first for split in manifest["splits"].values() for _, first, end in split["ranges"])
    if manifest["left_out"] or len(manifest["files"]) != files or not in_files == in_ranges == size:
        raise WrongManifest(
            f"{files} files with {size:,} bytes were uploaded. The manifest has {len(manifest['files'])} "
            f"files with {in_files:,} bytes, its splits have {in_ranges:,} bytes, and left out are "
            f"{manifest['left_out']}."
        )


def missing_bytes(folder: Path, size: int) -> int:
    """Return how many bytes the disk of a folder lacks for a dataset of `size` bytes; 0 if it has enough."""
    return max(0, COPIES * size + SPARE - shutil.disk_usage(folder).free)


def measure(size: int, text: bytes, state: Path) -> Preparation:
    """Prepare a dataset of `size` bytes in a local cloud of its own.

    Args:
        size: of all files together.
        text: the text of a file; shorter files have its beginning.
        state: the folder for the cloud, which is deleted afterwards.
    """
    cloud = control.start(state, owner=os.getpid())
    try:
        sam.deploy(target.for_cloud(cloud, STACK), ROOT, {}, show=lambda _: None)
        return _prepare(cloud, size, text)
    finally:
        control.stop(state)


def _prepare(cloud: LocalCloud, size: int, text: bytes) -> Preparation:
    stacks = cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
    states, bucket = cloud.client("stepfunctions"), outputs["BucketName"]
    # An upload would start a run of its own.
    cloud.client("events").disable_rule(Name=f"{STACK}-upload")
    patient = Config(read_timeout=600, retries={"total_max_attempts": 1})
    s3 = cloud.client("s3", config=patient)
    server = psutil.Process(cloud.pid)
    with memory.watched(server, with_children=False) as peak:
        files = sizes(size)
        for number, length in enumerate(files):
            key = f"uploads/{DATASET}/{number:06d}.txt"
            s3.put_object(Bucket=bucket, Key=key, Body=numbered(text, number, length))
        before = _processor_seconds(server)
        execution = states.start_execution(
            stateMachineArn=outputs["StateMachineArn"], input=json.dumps({"dataset": DATASET})
        )["executionArn"]
        seconds = _wait(states, execution)
        after = _processor_seconds(server)
        states.stop_execution(executionArn=execution)
    (key,) = _keys(s3, bucket, "corpus/manifest.json")
    check_manifest(json.load(s3.get_object(Bucket=bucket, Key=key)["Body"]), len(files), size)
    (items,) = _keys(s3, bucket, "items.json")
    return Preparation(
        gigabytes=size / GB,
        files=len(files),
        items=len(json.load(s3.get_object(Bucket=bucket, Key=items)["Body"])),
        seconds=seconds,
        functions=after.functions - before.functions,
        server=after.server - before.server,
        largest=max(_invocations(cloud), key=lambda invocation: invocation.used),
        server_bytes=peak.bytes,
    )


def _wait(states: Any, execution: str) -> float:
    """Wait for the end of AssembleDataset, and return the seconds since the start of the execution.

    Raises:
        RuntimeError: The execution ended before.
    """
    while True:
        events = states.get_execution_history(executionArn=execution, maxResults=1000)["events"]
        for event in events:
            if event.get("stateExitedEventDetails", {}).get("name") == LAST_STEP:
                return float((event["timestamp"] - events[0]["timestamp"]).total_seconds())
        description = states.describe_execution(executionArn=execution)
        if description["status"] != "RUNNING":
            raise RuntimeError(f"The execution ended before its manifest: {description}")
        time.sleep(0.3)


class _Seconds(NamedTuple):
    functions: float
    server: float


def _processor_seconds(server: psutil.Process) -> _Seconds:
    """Return the seconds of processor that the server and its descendants have used."""
    own = server.cpu_times()
    # A process that has ended counts in its parent's time of children.
    functions = own.children_user + own.children_system
    for child in server.children(recursive=True):
        try:
            functions += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return _Seconds(functions, own.user + own.system)


def _keys(s3: Any, bucket: str, ending: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"prepared/{DATASET}/")
    found = (entry["Key"] for page in pages for entry in page.get("Contents", []))
    return [key for key in found if key.endswith(f"/{ending}")]


def _invocations(cloud: LocalCloud) -> Iterator[Invocation]:
    """Yield the invocations of the functions that prepare a dataset."""
    pages = cloud.client("logs").get_paginator("filter_log_events")
    for function in FUNCTIONS:
        for page in pages.paginate(logGroupName=f"/aws/lambda/{STACK}-{function}"):
            for event in page["events"]:
                if found := reported(function, event["message"]):
                    yield found


def to_markdown(rows: Sequence[Preparation]) -> str:
    """Return the measurements as a table."""
    lines = [
        "| text | files | items | s | s per GB | processor s per GB: functions | server "
        "| largest function, MB of its memory | server, MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {row.gigabytes:g} GB | {row.files} | {row.items} | {row.seconds:.0f} "
            f"| {row.seconds / row.gigabytes:.1f} | {row.functions / row.gigabytes:.1f} "
            f"| {row.server / row.gigabytes:.1f} "
            f"| {row.largest.function}: {row.largest.used} of {row.largest.allowed} "
            f"| {row.server_bytes / MIB:,.0f} |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and print. Return 1 if a function used more memory than it has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gb", type=float, nargs="+", default=[1.0, 5.0, 20.0], help="sizes in GB")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    totals = [int(gigabytes * GB) for gigabytes in options.gb]
    if missing := missing_bytes(build, max(totals)):
        print(f"The disk of {build} needs {missing / GB:.1f} GB more. Free them, or give smaller sizes.")
        return 2
    rows = []
    for total in totals:
        with tempfile.TemporaryDirectory(prefix="preparing-", dir=build) as name:
            draft = Path(name) / "text"
            write_text(draft, min(total, FILE_BYTES), as_json=False)
            text = draft.read_bytes()
            rows.append(measure(total, text, Path(name) / "cloud"))
        print(f"{to_markdown(rows[-1:])}\n", flush=True)
    print(to_markdown(rows))
    return int(any(row.largest.used > row.largest.allowed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
