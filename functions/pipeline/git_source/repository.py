"""The scripts of one commit of a Git repository, fetched without Git and without a work tree.

One commit is fetched without its history, and without large files if the server can leave them out. A commit
that no branch or tag names is fetched by itself. If the server does not allow that, or if the request
abbreviates the commit or names a branch that has to contain it, the history of the branch is searched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from contracts.request import GitSource
from core import environment
from core.errors import InvalidSource, SourceNotFound
from git_source.credentials import Credentials

if TYPE_CHECKING:
    from git_source.server import GitServer

# For all requests of a checkout, in seconds. A small repository takes a second or two.
TIMEOUT = 60.0
# How many commits of a branch are searched: first a few, because most commits that people ask for are recent.
HISTORY = (100, 10_000)
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?/+[^/?#\s][^?#\s]*",
    re.ASCII | re.IGNORECASE,
)
# git@github.com:owner/name.git is the short form of an SSH address.
_SSH = re.compile(r"(git\+)?ssh://.*|[^/@:]+@(?P<host>[^/@:]+):(?P<path>[^@]+)", re.DOTALL)


@dataclass(frozen=True)
class Checkout:
    """The scripts at `commit` (40 hex digits): their content by path, which has forward slashes.

    `branch` is the branch or tag of the request, or else the default branch; it is None if the request names
    only a commit.
    """

    commit: str
    branch: str | None
    files: Mapping[str, bytes]


def checkout(source: GitSource, credentials: Credentials | None, timeout: float = TIMEOUT) -> Checkout:
    """Fetch the scripts of a repository.

    Args:
        source: The repository, whose address `address` checks. `branch` may be a tag. `commit` may be
            abbreviated; with `branch`, it has to be in the branch's history.
        credentials: For the server in `source.repo`, and for no other. No error shows them.
        timeout: For all requests together, in seconds.

    Raises:
        InvalidSource: The repository, its address or its scripts cannot be used. Subclasses say why.
        ServiceUnavailable: The server fails or is slow; a retry may help. So for Throttled.
    """
    url, branch, commit = address(source.repo), source.branch, source.commit
    # Plan needs `address` alone, and from a layer, which has no bytecode, Dulwich takes 0.6 s to import.
    from git_source.server import GitServer

    server = GitServer(url, credentials, timeout)
    tips, default = server.refs()
    wanted = (f"refs/heads/{branch}", f"refs/tags/{branch}") if branch else (default,)
    tip = next((tips[ref] for ref in wanted if ref in tips), None)
    if tip and commit is None:
        return _fetch(server, tip.name, branch or default.removeprefix("refs/heads/"))
    if commit is not None:
        newest = [tip] if branch else tips.values()
        matching = {each.commit: each.name for each in newest if each and each.commit.startswith(commit)}
        if matching:
            return _fetch(server, matching[_only(matching, commit)], branch)
        # Under protocol version 2 a commit need not be on a branch: "wants can be anything" (gitprotocol-v2).
        if branch is None and len(commit) == 40 and server.protocol_version == 2:
            with suppress(SourceNotFound):
                return _fetch(server, commit, branch)
        if tip:
            return _search(server, tip.name, commit, branch)
    if not tips:
        raise SourceNotFound(f"{url} is an empty repository. Push the scripts to it.")
    names = [repr(re.sub("^refs/(heads|tags)/", "", ref)) for ref in tips]
    some = ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")
    missing = f"branch or tag {branch!r}" if branch else "default branch"
    raise SourceNotFound(f"{url} has no {missing}. Give one of these in source.branch: {some}.")


def _fetch(server: GitServer, name: str, branch: str | None) -> Checkout:
    with server.objects(name) as objects:
        commit, files = objects.scripts(name)
        return Checkout(commit, branch, files)


def _search(server: GitServer, tip: str, sought: str, branch: str | None) -> Checkout:
    """Fetch the scripts of a commit in the history of `tip`."""
    for depth in HISTORY:
        with server.objects(tip, depth, commits_only=True) as objects:
            history, complete = objects.history(tip)
            found = [commit for commit in history if commit.startswith(sought)]
            # A server that cannot leave files out has sent them all.
            if found and objects.has_files(_only(found, sought)):
                return Checkout(found[0], branch, objects.scripts(found[0])[1])
        if found:
            return _fetch(server, _only(found, sought), branch)
        if complete:
            break
    raise SourceNotFound(
        f"{server.url} has no commit {sought} among the newest {len(history):,} of "
        f"{branch or 'its default branch'}. Check source.commit, or put a tag on the commit and give that in "
        "source.branch."
    )


def _only(commits: Collection[str], sought: str) -> str:
    if len(commits) > 1:
        raise InvalidSource(f"{len(commits)} commits begin with source.commit {sought}. Give all 40 digits.")
    return next(iter(commits))


def server_of(url: str) -> str:
    """Return the host of a repository's URL in lower case, with the port unless it is the default one."""
    return str(parse_url(url).netloc).lower().removesuffix(":443")


def address(repo: str) -> str:
    """Return a repository's https URL without slashes at its end.

    On the local cloud it may be an http URL of a server on the same machine. On AWS that would lead into the
    function itself.

    Raises InvalidSource for any other address, and does not quote one that may hold a secret.
    """
    url = _URL.fullmatch(repo)
    local = url and environment.on_local_cloud() and url["host"] in ("127.0.0.1", "localhost", "[::1]")
    if url and (url["scheme"].lower() == "https" or local) and repo.isascii() and repo.isprintable():
        # A port above 65535, or brackets around no IPv6 address, is found here.
        with suppress(LocationParseError):
            parse_url(repo)
            return repo.rstrip("/")
    if ssh := _SSH.fullmatch(repo):
        https = f"https://{ssh['host'] or 'HOST'}/{ssh['path'] or 'PATH'}"
        raise InvalidSource(
            f"source.repo is an SSH address. Give the HTTPS address, {https}; a private repository needs a "
            "token in a secret, and the secret's name in source.secret."
        )
    if re.match("[^/]*//[^/]*@", repo):
        raise InvalidSource(
            "source.repo has a user name or a password. Replace the password: who sees the execution, sees "
            "it. Store the new one in a secret, and give the secret's name in source.secret."
        )
    raise InvalidSource(
        "source.repo is not the address of a repository. Give an https:// URL without a query or fragment, "
        "with %20 for a space. An http:// URL works only on a local cloud, for a server on the same machine."
    )
