"""A conversation with a Git server over HTTP: its branches and tags, and the objects of a commit.

Dulwich speaks Git's protocol and urllib3 speaks HTTP. This module adds limits to both: one deadline, the size
of responses, where a redirect may lead, and errors that say what to do next. Proxies, cookies, keyrings,
~/.gitconfig and ~/.netrc are not used.
"""

import logging
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address, ip_network
from socket import socket
from typing import Any, NamedTuple
from urllib.parse import urljoin

import urllib3
from dulwich.client import Urllib3HttpGitClient, default_user_agent_string
from dulwich.object_store import ObjectStoreGraphWalker
from dulwich.objects import ObjectID, valid_hexsha
from dulwich.refs import HEADREF
from urllib3 import HTTPSConnectionPool
from urllib3 import exceptions as http
from urllib3.connection import HTTPSConnection
from urllib3.util import parse_url

from core import environment, errors
from git_source.credentials import Credentials
from git_source.objects import LARGEST_PACK, LARGEST_SCRIPT, Objects

# The longest wait for the next byte, in seconds. Git sends a packet every 5 seconds while it prepares a pack
# (uploadpack.keepAlive).
LONGEST_SILENCE = 20.0
LARGEST_LISTING = 8 * 1024**2  # about 100,000 branches and tags
MOST_REDIRECTS = 5
# IPv6 addresses that end with the IPv4 address to which they lead: mapped ones, and NAT64's (RFC 6052).
_IPV4_INSIDE = ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96")
# Both log parts of a response, in which a server may repeat the credentials.
logging.getLogger("dulwich").setLevel(logging.ERROR)
logging.getLogger("urllib3").setLevel(logging.WARNING)


class Tip(NamedTuple):
    """The object that a branch or tag names, and the commit it leads to: an annotated tag is an object."""

    name: str
    commit: str


class _PublicConnection(HTTPSConnection):
    """A connection that ends before the TLS handshake if it leads into a private network."""

    def _new_conn(self) -> socket:
        connected = super()._new_conn()
        peer = ip_address(connected.getpeername()[0])
        # The address of the connection, not one of a lookup of our own: a second lookup may return another.
        if any(peer in network for network in _IPV4_INSIDE):
            peer = IPv4Address(int(peer) % 2**32)
        if not peer.is_global:
            connected.close()
            problem = f"{self.host} has an address in a private network"
            raise errors.InvalidSource(f"{problem}. Give a repository on a public server in source.repo.")
        return connected


class _PublicPool(HTTPSConnectionPool):
    ConnectionCls = _PublicConnection


class GitServer(Urllib3HttpGitClient):
    """The repository at `url`, with at most `timeout` seconds for all requests together.

    Every method raises the errors of repository.checkout.
    """

    def __init__(self, url: str, credentials: Credentials | None, timeout: float) -> None:
        self.url = self._at = url
        self._credentials, self._largest = credentials, 0
        self._seconds, self._deadline = timeout, time.monotonic() + timeout
        # Dulwich sends Latin-1, and servers expect UTF-8 (RFC 7617).
        login = (credentials.username, credentials.password) if credentials else ()
        username, password = [part.encode().decode("latin-1") for part in login] or (None, None)
        # With retries=False, urllib3 also follows no redirects: _http_request does that.
        pool = urllib3.PoolManager(headers={"User-Agent": default_user_agent_string()}, retries=False)
        if not environment.on_local_cloud():
            pool.pool_classes_by_scheme = {"https": _PublicPool}
        super().__init__(url, pool_manager=pool, username=username, password=password)

    def refs(self) -> tuple[dict[str, Tip], str]:
        """Return branches and tags by their full names (refs/heads/main), and the default branch's name."""
        with self._conversation(LARGEST_LISTING):
            listed = self.get_refs("", ref_prefix=[b"HEAD", b"refs/heads/", b"refs/tags/"])
            if listed.object_format not in (None, "sha1"):
                raise errors.InvalidSource(f"{self.url} has {listed.object_format} names. Use SHA-1.")
            if not all(valid_hexsha(name) for name in listed.refs.values() if name):
                raise ValueError("it lists names that are not hexadecimal")
        names = {ref.decode("utf-8", "replace"): name.decode() for ref, name in listed.refs.items() if name}
        tips = {
            ref: Tip(name, names.get(f"{ref}^{{}}", name))
            for ref, name in sorted(names.items())
            if ref.startswith(("refs/heads/", "refs/tags/")) and not ref.endswith("^{}")
        }
        # An old server gives the commit of HEAD, but not its branch.
        same = [ref for ref, tip in tips.items() if "/heads/" in ref and tip.commit == names.get("HEAD")]
        default = listed.symrefs.get(HEADREF)
        return tips, default.decode("utf-8", "replace") if default else "".join(same[:1])

    @contextmanager
    def objects(self, want: str, depth: int = 1, *, commits_only: bool = False) -> Iterator[Objects]:
        """Fetch the commit or tag `want` with `depth` commits of its history, on disk until the block ends.

        If the server can, it leaves out files that are too large, or all files with `commits_only`.
        """

        def wants(refs: object, depth: int | None = None) -> list[ObjectID]:
            return [ObjectID(want.encode())]

        # Git also leaves out a file whose size is exactly the limit.
        leave_out = b"tree:0" if commits_only else b"blob:limit=%d" % (LARGEST_SCRIPT + 1)
        nothing = ObjectStoreGraphWalker([], lambda commit: [])
        with tempfile.TemporaryFile(prefix="git-") as file:
            with self._conversation(LARGEST_PACK):
                self.fetch_pack("", wants, nothing, file.write, None, depth, [HEADREF], leave_out)
            file.flush()
            with Objects.unpacked(file, self.url) as objects:
                yield objects

    @contextmanager
    def _conversation(self, largest: int) -> Iterator[None]:
        """Limit each response to `largest` bytes, and raise only this pipeline's errors."""
        self._largest = largest
        try:
            yield
        except errors.PipelineError:
            raise
        except Exception as error:
            # Leave out the cause: Dulwich's error quotes the server, which may repeat the credentials.
            raise self._translated(error) from None

    def _translated(self, error: Exception) -> errors.PipelineError:
        # Dulwich wraps the errors of urllib3, which wraps their reasons.
        cause = error.__cause__ if isinstance(error.__cause__, http.HTTPError) else error
        reason = getattr(cause, "reason", None) or cause
        if isinstance(reason, http.SSLError) and isinstance(reason.args[0], ssl.SSLCertVerificationError):
            problem = f"has a TLS certificate that is not accepted: {reason.args[0].verify_message}"
            return errors.InvalidSource(f"{self._host} {problem}. Use one of a public authority.")
        if isinstance(reason, http.HTTPError) and not isinstance(reason, http.LocationValueError):
            problem = f"The connection to {self._host} failed: {self._shown(reason)}"
            return errors.ServiceUnavailable(f"{problem}. Start again, or check source.repo.")
        return errors.InvalidSource(f"{self.url} does not respond as a Git server: {self._shown(reason)}")

    def _http_request(self, url: str, headers: Any = None, data: Any = None, *args: Any, **kw: Any) -> Any:
        """Send a request of Dulwich's, follow redirects, check the response, and limit what is read of it."""
        self._at = url
        for _ in range(1 + MOST_REDIRECTS):
            self._check_target(posted=data is not None)
            self._timeout = min(LONGEST_SILENCE, self._seconds_left())
            # Dulwich adds the credentials only for the server that they belong to.
            response: Any = super()._http_request(self._at, headers, data, raise_for_status=False)[0]
            location = response.get_redirect_location()
            # Like Git, follow a redirect of the first request only (http.followRedirects).
            if not location or data is not None:
                break
            response.close()
            self._at = urljoin(self._at, location)
        response.redirect_location = self._at if self._at != url else ""
        if refusal := self._refusal(response.status, response.content_type or ""):
            response.close()
            raise refusal
        size = 0

        def read(amount: int) -> bytes:
            nonlocal size
            data = b""
            while len(data) < amount:
                # One read of the socket at a time, so that a slow server cannot exceed the deadline.
                self._seconds_left()
                piece = response.read1(amount - len(data), decode_content=False)
                if not piece:
                    raise http.ProtocolError("the response ends too early")
                data, size = data + piece, size + len(piece)
                if size > self._largest:
                    sent = f"sends more than {self._largest // 1024**2} MiB"
                    raise errors.SourceTooLarge(f"{self.url} {sent}. Use a repository without data.")
            # The server's error may take the place of any packet (gitprotocol-pack); Dulwich overlooks some.
            if data.startswith(b"ERR "):
                said = self._shown(data[4:].decode("utf-8", "replace"))
                raise errors.SourceNotFound(f"{self.url} refuses the request: {said}. Check its branches.")
            return data

        return response, read

    def _seconds_left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise http.TimeoutError(f"it took more than {self._seconds:g} seconds in all")
        return left

    def _check_target(self, *, posted: bool) -> None:
        """Refuse a redirect to an unsafe address, or to anything but a repository."""
        target, first = parse_url(self._at), parse_url(self.url)
        safe = target.scheme == "https" or (target.scheme, target.host) == (first.scheme, first.host)
        discovery = str(target.path).endswith("/info/refs") and target.query == "service=git-upload-pack"
        if target.auth or not safe or not (posted or discovery):
            problem = f"redirects to {target.scheme}://{target.host}, which is not safe or not a repository"
            raise errors.InvalidSource(f"{self.url} {problem}. Give its final address in source.repo.")

    def _refusal(self, status: int, content_type: str) -> errors.PipelineError | None:
        """Return the error for a response that is not one of Git's."""
        url, host = self.url, self._host
        secret = self._credentials.secret if self._credentials else ""
        if status in (401, 403):
            problem = f"asks for credentials ({status}): it is private, or it does not exist"
            advice = "Store a token for it in a secret, and give the secret's name in source.secret"
            if secret:
                problem = f"refuses the credentials in secret {secret} ({status})"
                advice = "Check that they are not expired, may read it, and have the user name it expects"
            if self._origin(self._at) != self._origin(url):
                problem = f"redirects to {host}, which asks for credentials"
                advice = "They are sent to no other server than source.repo names. Name that one"
            return errors.SourceUnauthorized(f"{url} {problem}. {advice}.")
        if status == 404:
            hidden = f", or the credentials in secret {secret} may not see it" if secret else ""
            return errors.SourceNotFound(f"There is no repository at {url}{hidden}. Check source.repo.")
        if status == 429:
            return errors.Throttled(f"{host} asks for fewer requests (429).")
        if status >= 500:
            return errors.ServiceUnavailable(f"{host} failed ({status}). Start again later.")
        if status != 200 or not content_type.startswith("application/x-git-"):
            kind = f"status {status}, content type {self._shown(content_type)}"
            return errors.InvalidSource(f"{url} is no Git repository ({kind}). Give what `git clone` takes.")
        return None

    @property
    def _host(self) -> str:
        return self._shown(self._at.partition("://")[2].partition("/")[0])

    def _shown(self, words: object) -> str:
        """Return words from outside in one line and without the credentials."""
        text = str(words) or type(words).__name__
        text = self._credentials.redact(text) if self._credentials else text
        return "".join(letter if letter.isprintable() else " " for letter in text[:300])
