"""One conversation with a Git server over HTTP: its branches and tags, and objects.

Dulwich speaks Git's protocol. The requests under it are made here, because here is what it has no word for: a
deadline for everything, bounded answers, redirects that must not take the credentials along, and errors that
say what to do.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from dulwich.client import AbstractHttpGitClient, default_user_agent_string
from dulwich.objects import ObjectID, valid_hexsha
from dulwich.refs import Ref

from core.errors import (
    InvalidSource,
    PipelineError,
    ServiceUnavailable,
    SourceNotFound,
    SourceTooLarge,
    SourceUnauthorized,
    Throttled,
)
from git_objects import LARGEST_FILE, LARGEST_PACK, Objects

if TYPE_CHECKING:
    from dulwich.client import HTTPResponse

    from git_credentials import Credentials

# How long a server may be silent, in seconds. Git's sends a sign of life every 5 while it prepares a pack
# (uploadpack.keepAlive).
LONGEST_SILENCE = 20.0
# About 100,000 branches and tags.
LARGEST_LISTING = 8 * 1024**2
MOST_REDIRECTS = 5
_HEADS, _TAGS, _HEAD, _PEELED = b"refs/heads/", b"refs/tags/", b"HEAD", b"^{}"
_REDIRECTS = (301, 302, 303, 307, 308)
# It warns of every server that does not leave files out, which is no fault of anybody's.
logging.getLogger("dulwich").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Tip:
    """What a branch or tag points at: `name` is the object (a tag's own, if it is annotated), and `commit`
    the commit it leads to.
    """

    name: str
    commit: str


@dataclass(frozen=True)
class Refs:
    """A server's branches and tags by their short names, and its default branch."""

    heads: Mapping[str, Tip]
    tags: Mapping[str, Tip]
    default: str | None


class GitServer:
    """The repository at `url`. `timeout`, in seconds, is for all requests together.

    Every method raises the errors that git_repository.checkout names.
    """

    def __init__(self, url: str, credentials: Credentials | None, timeout: float) -> None:
        self.url = url
        self._client = _Client(url, credentials, timeout)

    @property
    def gives_single_commits(self) -> bool:
        """Whether the server may be asked for a commit that no branch or tag points at.

        Under protocol version 2 it may: "wants can be anything" (gitprotocol-v2). Known after `refs`.
        """
        return self._client.protocol_version == 2

    def refs(self) -> Refs:
        with self._client.talking(LARGEST_LISTING, "It has too many branches and tags."):
            listed = self._client.get_refs("", ref_prefix=[_HEAD, _HEADS, _TAGS])
            if not all(valid_hexsha(name) for name in listed.refs.values() if name):
                raise ValueError("it lists what are no names of commits")
        if listed.object_format not in (None, "sha1"):
            raise InvalidSource(
                f"{self.url} names its commits by {listed.object_format}; use one with SHA-1."
            )
        names = {ref: name.decode("ascii", "replace") for ref, name in listed.refs.items() if name}

        def under(prefix: bytes) -> dict[str, Tip]:
            return {
                ref.removeprefix(prefix).decode("utf-8", "replace"): Tip(
                    name, names.get(Ref(ref + _PEELED), name)
                )
                for ref, name in names.items()
                if ref.startswith(prefix) and not ref.endswith(_PEELED)
            }

        heads = under(_HEADS)
        points_at = listed.symrefs.get(Ref(_HEAD))
        if points_at is not None:
            default = points_at.removeprefix(_HEADS).decode("utf-8", "replace")
            return Refs(heads, under(_TAGS), default if default in heads else None)
        # An old server tells HEAD's commit, but not its branch.
        same = sorted(name for name, tip in heads.items() if tip.commit == names.get(Ref(_HEAD)))
        return Refs(heads, under(_TAGS), same[0] if same else None)

    @contextmanager
    def objects(self, want: str, depth: int = 1, *, commits_only: bool = False) -> Iterator[Objects | None]:
        """The commit or tag `want`, `depth` commits of its history, and their files; None if not given out.

        A server that can leaves out files that are too large, or with `commits_only` all files; others send
        them. The objects are on disk, and gone after the block.
        """
        with tempfile.TemporaryFile(prefix="git-") as file:
            if not self._fetched(want, depth, commits_only, file):
                yield None
                return
            with Objects.unpacked(file, self.url) as objects:
                yield objects

    def _fetched(self, want: str, depth: int, commits_only: bool, file: IO[bytes]) -> bool:
        """Write a pack to `file`; False if the server objects to what is wanted."""
        # A blob of exactly the limit is left out, too.
        leave_out = b"tree:0" if commits_only else f"blob:limit={LARGEST_FILE + 1}".encode()

        def wanted(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            return [ObjectID(want.encode())]

        with self._client.talking(LARGEST_PACK, "Keep the scripts in a repository without data."):
            try:
                self._client.fetch_pack(
                    "",
                    wanted,
                    _NothingKnown(),
                    file.write,
                    depth=depth,
                    ref_prefix=[_HEAD],
                    filter_spec=leave_out,
                )
            except _Objection:
                return False
        file.flush()
        return True


class _Objection(Exception):
    """The server's own words on why it does not do what it is asked."""


class _NothingKnown:
    """Dulwich's graph walker for who has no object yet."""

    shallow: frozenset[ObjectID] = frozenset()

    def ack(self, sha: ObjectID) -> None: ...

    def nak(self) -> None: ...

    def __next__(self) -> ObjectID | None:
        return None


class _Client(AbstractHttpGitClient):
    """Dulwich's client, with requests of our own under it."""

    def __init__(self, url: str, credentials: Credentials | None, timeout: float) -> None:
        super().__init__(url)
        self._url = url
        self.host = urlsplit(url).netloc
        self._credentials = credentials
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._largest = 0
        self._advice = ""

    @contextmanager
    def talking(self, largest: int, advice: str) -> Iterator[None]:
        """Let Dulwich talk to the server: no answer is longer than `largest` bytes, and errors are ours."""
        self._largest, self._advice = largest, advice
        try:
            yield
        except PipelineError:
            raise
        except Exception as error:
            # The server's own words, or what Dulwich's parser ran into. Not as the cause: a server may repeat
            # what it was sent.
            raise InvalidSource(
                f"{self._url} does not answer as a Git server does: {self._shown(error)}"
            ) from None

    @contextmanager
    def network_told(self) -> Iterator[None]:
        """Turn what the network raises inside the block into the pipeline's errors."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise InvalidSource(
                f"{self.host} has a TLS certificate that is not accepted: {error.verify_message}. Use a "
                "server whose certificate is valid and signed by a public authority."
            ) from None
        except TimeoutError:
            raise self._too_slow() from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise ServiceUnavailable(
                f"{self.host} could not be reached: {self._shown(error)}. Check source.repo; functions in a "
                "VPC also need a way to the internet."
            ) from None

    def check_time(self) -> float:
        """The seconds that are left. Raises ServiceUnavailable if none are."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._too_slow()
        return left

    def check_size(self, size: int) -> None:
        if size > self._largest:
            raise SourceTooLarge(
                f"{self._url} answers with more than {self._largest // 1024**2} MiB. {self._advice}"
            )

    def _too_slow(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"{self.host} was silent for too long, or took more than {self._timeout:g} seconds in all. Start "
            "again; if that does not help, check source.repo."
        )

    def _shown(self, words: object) -> str:
        """Words from outside, without the credentials, and in one line."""
        text = str(words) or type(words).__name__
        if self._credentials:
            text = self._credentials.scrubbed(text)
        return "".join(letter if letter.isprintable() else " " for letter in text[:300])

    # --- requests

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> tuple[HTTPResponse, Callable[[int], bytes]]:
        at = url
        for _ in range(1 + MOST_REDIRECTS):
            response = self._request(at, headers or {}, data)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                break
            response.close()
            at = self._redirected(at, location, posted=data is not None)
        else:
            raise InvalidSource(f"{self._url} redirects more than {MOST_REDIRECTS} times.")
        if response.status != 200:
            response.close()
            raise self._refused(response.status, at)
        answer = _Answer(response, self, at if at != url else "")
        if not (answer.content_type or "").startswith("application/x-git-"):
            answer.close()
            raise InvalidSource(
                f"There is no Git repository at {self._url}: it answers with "
                f"{self._shown(answer.content_type)}. Give the address that `git clone` takes."
            )
        objection = answer.objection() if data is not None else None
        if objection is not None:
            answer.close()
            raise _Objection(objection)
        return answer, answer.read

    def _request(
        self, url: str, headers: dict[str, str], data: bytes | Iterator[bytes] | None
    ) -> http.client.HTTPResponse:
        sent = {"User-Agent": default_user_agent_string(), "Pragma": "no-cache", **headers}
        # One request for each connection, which is closed with the response.
        sent["Connection"] = "close"
        scheme, host, port = _origin(url)
        if self._credentials and (scheme, host, port) == _origin(self._url):
            sent["Authorization"] = self._credentials.header()
        silence = min(LONGEST_SILENCE, self.check_time())
        connection: http.client.HTTPConnection
        if scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=silence)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=silence)
        path = url.partition("://")[2].partition("/")[2]
        try:
            with self.network_told():
                connection.request("GET" if data is None else "POST", f"/{path}", data, sent)
                return connection.getresponse()
        except PipelineError:
            connection.close()
            raise

    def _redirected(self, at: str, location: str, *, posted: bool) -> str:
        """Where a redirect leads, if it may be followed there."""
        target = urljoin(at, location)
        try:
            parts = urlsplit(target)
            safe = parts.scheme == "https" or _origin(target)[:2] == _origin(self._url)[:2]
        except ValueError:
            raise InvalidSource(f"{self._url} redirects to what is not a URL.") from None
        if not safe or "@" in parts.netloc:
            raise InvalidSource(f"{self._url} redirects to an address that is not safe. Give the final one.")
        asks = parts.path.endswith("/info/refs") and parts.query == "service=git-upload-pack"
        if posted or parts.fragment or not asks:
            raise InvalidSource(
                f"{self._url} redirects to {parts.hostname}, and not to a repository: to a page for signing "
                "in, perhaps. Give the address that `git clone` takes, and a secret if it is private."
            )
        return target

    def _refused(self, status: int, at: str) -> PipelineError:
        """The error for an HTTP status."""
        secret = self._credentials.secret if self._credentials else None
        if status in (401, 403):
            if _origin(at) != _origin(self._url):
                return SourceUnauthorized(
                    f"{self._url} redirects to {urlsplit(at).hostname}, which asks for credentials; they are "
                    "sent to the named server only. Give the new address in source.repo."
                )
            if secret is None:
                return SourceUnauthorized(
                    f"{self._url} asks for credentials ({status}): it is private, or it does not exist. Put "
                    "a token into a secret, and give the secret's name in source.secret."
                )
            return SourceUnauthorized(
                f"{self._url} refuses the credentials in secret {secret} ({status}). Check that they have "
                "not expired and may read this repository, and whether the server wants a user name with a "
                'token: {"username": "...", "token": "..."}.'
            )
        if status == 404:
            unseen = f", or none that the credentials in secret {secret} may see" if secret else ""
            return SourceNotFound(f"There is no repository at {self._url}{unseen}. Check source.repo.")
        if status == 429:
            return Throttled(f"{self.host} asks to slow down (429).")
        if status >= 500:
            return ServiceUnavailable(f"{self.host} failed on its own side ({status}).")
        return InvalidSource(f"{self._url} answers with HTTP status {status}. Check source.repo.")


class _Answer:
    """A response as Dulwich wants it. `redirect_location` is where it came from, if not from where asked."""

    def __init__(self, response: http.client.HTTPResponse, client: _Client, redirect_location: str) -> None:
        self._response = response
        self._client = client
        self._size = 0
        self._ahead = b""
        self.status = response.status
        self.headers: Mapping[str, str] = dict(response.headers.items())
        self.content_type = response.headers.get("Content-Type")
        self.redirect_location = redirect_location

    def geturl(self) -> str | None:
        return self.redirect_location or None

    def close(self) -> None:
        self._response.close()

    def objection(self) -> str | None:
        """What the server objects to, if the answer starts with an ERR packet (gitprotocol-pack); else the
        answer is left to be read. Dulwich does not look for one here.
        """
        start = self._up_to(8)  # a packet's length in four hex digits, and what it starts with
        if start[4:] != b"ERR ":
            self._ahead = start
            return None
        return self._up_to(max(0, int(start[:4], 16) - 8)).decode("utf-8", "replace")

    def read(self, amt: int | None = None) -> bytes:
        """The next `amt` bytes. Raises ServiceUnavailable if the answer has fewer: it says its own end."""
        data = self._up_to(LARGEST_PACK if amt is None else amt)
        if amt is not None and len(data) < amt:
            raise ServiceUnavailable(f"{self._client.host} ended the connection in the middle. Start again.")
        return data

    def _up_to(self, amt: int) -> bytes:
        pieces, self._ahead = [self._ahead[:amt]], self._ahead[amt:]
        left = amt - len(pieces[0])
        while left:
            # One look at the socket at a time: a server that dribbles must not outlast the deadline.
            self._client.check_time()
            with self._client.network_told():
                piece = self._response.read1(left)
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
            self._size += len(piece)
            self._client.check_size(self._size)
        return b"".join(pieces)


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials belong to. Raises ValueError for a port that is no number."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
