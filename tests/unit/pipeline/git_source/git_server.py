"""Git servers on this machine: Dulwich's, which speaks version 0 of the protocol, and Git's own, which speaks
version 2 and can leave files out. A door in front of both asks for credentials, redirects or hangs as a test
tells it to.
"""

import base64
import itertools
import os
import shutil
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Literal
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from dulwich.objects import Blob, Commit, ObjectID, Tag, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo
from dulwich.server import Backend, BackendRepo
from dulwich.web import make_wsgi_chain

from contracts.request import GitSource
from git_source import repository
from git_source.credentials import Credentials

Kind = Literal["dulwich", "git"]
HAS_GIT = shutil.which("git") is not None
LINK, SUBMODULE = stat.S_IFLNK, 0o160000
# The fewest scripts that SageMaker can start.
SCRIPTS = {"model_scripts/train.py": b"print('train')\n", "model_scripts/generate.py": b"WORDS = 7\n"}


def checkout(
    repo: str,
    branch: str | None = None,
    commit: str | None = None,
    credentials: Credentials | None = None,
    timeout: float = repository.TIMEOUT,
) -> repository.Checkout:
    """Fetch the scripts as a run with this source does."""
    source = GitSource(repo=repo, branch=branch, commit=commit)
    return repository.checkout(source, credentials, timeout)


@dataclass(frozen=True)
class Entry:
    """A link to `content`, or a submodule at the commit `content`."""

    content: bytes
    mode: int


Files = Mapping[str, bytes | Entry]


class Repository:
    """A bare repository in `folder`, written object by object: Git itself would not write some of them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._repo = Repo.init_bare(str(folder))
        self._store = self._repo.object_store
        self._repo.refs.set_symbolic_ref(Ref(b"HEAD"), Ref(b"refs/heads/main"))

    def commit(self, files: Files, *parents: str, branch: str | None = None) -> str:
        """Write a commit of exactly `files`, point `branch` to it, and return its name."""
        commit = Commit()
        commit.tree = self._tree({path.encode(): entry for path, entry in files.items()})
        commit.parents = [ObjectID(parent.encode()) for parent in parents]
        commit.author = commit.committer = b"Ada <ada@example.org>"
        commit.author_time = commit.commit_time = 1_700_000_000 + len(parents)
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = f"{sorted(files)} {branch}\n".encode()
        self._store.add_object(commit)
        if branch:
            self.point(f"refs/heads/{branch}", commit.id.decode())
        return commit.id.decode()

    def point(self, ref: str, name: str) -> None:
        self._repo.refs[Ref(ref.encode())] = ObjectID(name.encode())

    def tag(self, tag: str, commit: str, *, annotated: bool = False) -> None:
        if annotated:
            made = Tag()
            made.name, made.message, made.tagger = tag.encode(), b"Released\n", b"Ada <ada@example.org>"
            made.tag_time, made.tag_timezone = 1_700_000_000, 0
            made.object = (Commit, ObjectID(commit.encode()))
            self._store.add_object(made)
            commit = made.id.decode()
        self.point(f"refs/tags/{tag}", commit)

    def blob(self, content: bytes) -> str:
        blob = Blob.from_string(content)
        self._store.add_object(blob)
        return blob.id.decode()

    def default(self, branch: str) -> None:
        self._repo.refs.set_symbolic_ref(Ref(b"HEAD"), Ref(f"refs/heads/{branch}".encode()))

    def close(self) -> None:
        self._repo.close()

    def _tree(self, files: Mapping[bytes, bytes | Entry]) -> ObjectID:
        tree = Tree()
        folders: dict[bytes, dict[bytes, bytes | Entry]] = {}
        for path, entry in files.items():
            folder, slash, rest = path.partition(b"/")
            if slash:
                folders.setdefault(folder, {})[rest] = entry
                continue
            known = entry if isinstance(entry, Entry) else Entry(entry, stat.S_IFREG | 0o644)
            if known.mode == SUBMODULE:
                tree.add(path, SUBMODULE, ObjectID(known.content))
                continue
            tree.add(path, known.mode, ObjectID(self.blob(known.content).encode()))
        for folder, inside in folders.items():
            tree.add(folder, stat.S_IFDIR, self._tree(inside))
        self._store.add_object(tree)
        return tree.id


@dataclass
class Request:
    path: str
    authorization: str | None


@dataclass
class Door:
    """The front of a server, which records all requests in `seen`.

    `login` is "user:password", or None if everybody may enter. `moved` maps the start of a path to the URL it
    redirects to. A path that starts or ends with one in `silent` gets no response until the server closes;
    `answers` maps the start or end of a path to a status, a content type and a body in pieces.
    """

    port: int = 0
    login: str | None = None
    moved: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    answers: dict[str, tuple[str, str, Iterable[bytes]]] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    secure: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"

    def before(self, inside: WSGIApplication) -> WSGIApplication:
        def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
            authorization = environ.get("HTTP_AUTHORIZATION")
            self.seen.append(Request(path, authorization))
            for name, target in self.moved.items():
                if path.startswith(name):
                    location = f"{target}{path.removeprefix(name)}{'?' if query else ''}{query}"
                    start("301 Moved Permanently", [("Location", location), ("Content-Type", "text/plain")])
                    # Without an end: a client must not read the body of a redirect.
                    return itertools.repeat(b"moved " * 1000)
            if any(path.startswith(name) or path.endswith(name) for name in self.silent):
                self.closing.wait(600)
            for name, (status, kind, pieces) in self.answers.items():
                if path.startswith(name) or path.endswith(name):
                    start(status, [("Content-Type", kind)])
                    return pieces
            if self.login:
                expected = "Basic " + base64.b64encode(self.login.encode()).decode()
                if authorization != expected:
                    start("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"')])
                    return []
            return inside(environ, start)

        return app


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        # A client may close the connection early.
        with suppress(OSError):
            super().handle()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None: ...


class _Folders(Backend):
    def __init__(self, root: Path) -> None:
        self._root = root

    def open_repository(self, path: str | bytes) -> BackendRepo:
        # Dulwich declares a string, and passes bytes.
        name = path.decode() if isinstance(path, bytes) else path
        return Repo(str(self._root / name.strip("/")))


def _git_itself(root: Path) -> WSGIApplication:
    """Return an application that runs `git http-backend`, a CGI program."""

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "uploadpack.allowFilter",
            "GIT_CONFIG_VALUE_0": "true",
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": environ.get("HTTP_GIT_PROTOCOL", ""),
            "REMOTE_ADDR": "127.0.0.1",
            **{
                name: environ.get(name, "")
                for name in ("PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "CONTENT_TYPE", "CONTENT_LENGTH")
            },
        }
        answer = subprocess.run(
            ["git", "http-backend"], input=body, capture_output=True, env=variables, check=False, timeout=600
        ).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        start(headers.pop("Status", "200 OK"), list(headers.items()))
        return [content]

    return app


@contextmanager
def serving(root: Path, kind: Kind, certificate: Path | None = None) -> Iterator[Door]:
    """Serve the repositories under `root` until the block ends, over TLS if there is a certificate."""
    door = Door(secure=certificate is not None)
    inside = _git_itself(root) if kind == "git" else make_wsgi_chain(_Folders(root))
    server = make_server("127.0.0.1", 0, door.before(inside), server_class=_Server, handler_class=_Quiet)
    door.port = server.server_port
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The thread of the connection does the handshake, not the thread that accepts connections.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield door
    finally:
        door.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
