"""The scripts of one commit of a Git repository, fetched without a Git program and without a work tree.

    files = git_repository.checkout("https://github.com/owner/name", branch="main").files

Only what is asked for crosses the network: one commit without its history, and no large files where the
server can leave them out. A commit that is not the newest of any branch is asked for by itself; where the
server gives no single commits, where it is abbreviated, or where a branch is named that it has to be on, it
is looked for in the branch's history.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.errors import InvalidSource, SourceNotFound
from git_credentials import Credentials

if TYPE_CHECKING:
    from git_http import GitServer, Refs, Tip
    from git_objects import Objects

# For everything together. A shallow fetch of a small repository takes a second or two.
TIMEOUT = 60.0
# How far back a commit is looked for in a branch's history, in steps: most are recent.
HISTORY = (100, 10_000)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# git@github.com:owner/name.git, SSH's short form.
_SCP = re.compile(r"[^/@:]+@(?P<host>[^/@:]+):(?P<path>[^@]+)")


@dataclass(frozen=True)
class Checkout:
    """The scripts at `commit` (40 hex digits): path below their folder, with forward slashes, to content.

    `branch` is the branch or tag that was asked for, the default branch where nothing was, and None where
    only a commit was.
    """

    commit: str
    branch: str | None
    files: Mapping[str, bytes]


def checkout(
    repo: str,
    branch: str | None = None,
    commit: str | None = None,
    credentials: Credentials | None = None,
    timeout: float = TIMEOUT,
) -> Checkout:
    """Fetch the scripts of `repo` at `commit`, or at the newest commit of `branch`, or of the default branch.

    `branch` may be a tag. `commit` has 7 to 40 hex digits; if a branch is named too, the commit has to be in
    its history. `timeout` is in seconds and covers the network, which is most of the time.

    Raises InvalidSource and its subclasses for what is wrong with the repository or its address, and
    ServiceUnavailable or Throttled for what may be better the next time. No message has a credential in it.
    """
    url = address(repo)
    sought = _sought(commit)
    # Imported only here: from a layer, which has no bytecode, Dulwich takes 0.6 s of a processor.
    from git_http import GitServer

    server = GitServer(url, credentials, timeout)
    refs = server.refs()
    if sought is None:
        return _at_tip(server, _tip(refs, branch, url), branch or refs.default)
    tips = [_tip(refs, branch, url)] if branch else [*refs.heads.values(), *refs.tags.values()]
    matching = {each.commit: each for each in tips if each.commit.startswith(sought)}
    if matching:
        return _at_tip(server, matching[_only(matching, sought)], branch)
    if branch is None and len(sought) == 40 and server.gives_single_commits:
        with server.objects(sought) as objects:
            if objects is not None:
                return _read(objects, objects.commit_of(sought), branch)
    tip = _tip(refs, branch, url)
    return _in_history(server, tip, sought, branch, f"the history of {branch or refs.default!r}")


def address(repo: str) -> str:
    """`repo` as a URL that a Git server can be asked at: https, or http on this very machine.

    Raises InvalidSource. Its message does not repeat an address that may have a secret in it.
    """
    if not (repo.isascii() and repo.isprintable()) or " " in repo:
        raise InvalidSource(
            "source.repo has a space or a character beyond ASCII in it. Write those as %20 and the like."
        )
    short = _SCP.fullmatch(repo)
    if short or repo.startswith(("ssh://", "git+ssh://")):
        https = f"https://{short['host']}/{short['path']}" if short else "https://HOST/PATH"
        raise InvalidSource(
            f"source.repo is an SSH address, and there is no SSH key here. Give the HTTPS address, "
            f"{https}, and for a private repository the name of a secret with a token in source.secret."
        )
    try:
        parts = urlsplit(repo)
        host, named = parts.hostname, parts.netloc
        _ = parts.port  # raises for one that is no number
    except ValueError:
        raise InvalidSource("source.repo is not a URL. Give one such as https://HOST/PATH.") from None
    if "@" in named:
        raise InvalidSource(
            "source.repo has a user name or a password in it. Put them into a secret, name that in "
            "source.secret, and give the address without them. Whoever could see this execution's input "
            "could see them: replace them."
        )
    if parts.query or parts.fragment:
        raise InvalidSource('source.repo has a "?" or "#" part. Give the address as `git clone` takes it.')
    if not host or not parts.path.strip("/"):
        raise InvalidSource("source.repo is not the URL of a repository. Give one such as https://HOST/PATH.")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise InvalidSource(
            f"source.repo is a {parts.scheme or 'relative'} address. Give one that starts with https://; "
            "plain http is for servers on this machine alone."
        )
    return repo.rstrip("/")


def _sought(commit: str | None) -> str | None:
    if commit is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{7,40}", commit):
        raise InvalidSource(
            "source.commit is not a commit's name. Give its 40 hex digits, or the first 7 or more of them; "
            "a branch or a tag goes into source.branch."
        )
    return commit.lower()


def _tip(refs: Refs, branch: str | None, url: str) -> Tip:
    """Where the search starts: the named branch or tag, or the default branch."""
    if not refs.heads and not refs.tags:
        raise SourceNotFound(f"{url} is an empty repository. Push the scripts to it.")
    name = branch or refs.default
    tip = refs.heads.get(name or "") or (refs.tags.get(branch) if branch else None)
    if tip is None:
        what = f"no branch or tag {branch!r}" if branch else "no default branch"
        raise SourceNotFound(f"{url} has {what}. Give one in source.branch; it has {_some(refs)}.")
    return tip


def _some(refs: Refs) -> str:
    names = sorted(refs.heads) + sorted(refs.tags)
    rest = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return ", ".join(repr(name) for name in names[:10]) + rest


def _only(commits: Mapping[str, object], sought: str) -> str:
    if len(commits) > 1:
        raise InvalidSource(
            f"source.commit {sought} begins the names of {len(commits)} commits. Give all 40 digits."
        )
    return next(iter(commits))


def _at_tip(server: GitServer, tip: Tip, branch: str | None) -> Checkout:
    with server.objects(tip.name) as objects:
        if objects is None:
            raise _not_given(server, tip.name)
        return _read(objects, objects.commit_of(tip.name), branch)


def _in_history(server: GitServer, tip: Tip, sought: str, branch: str | None, where: str) -> Checkout:
    for depth in HISTORY:
        with server.objects(tip.name, depth, commits_only=True) as objects:
            if objects is None:
                raise _not_given(server, tip.name)
            history, complete = objects.history(tip.name)
            found = {commit: None for commit in history if commit.startswith(sought)}
            if found:
                commit = _only(found, sought)
                # A server that does not leave files out has sent them all by now.
                if objects.has_files(commit):
                    return _read(objects, commit, branch)
                break
            if complete:
                raise SourceNotFound(f"{server.url} has no commit {sought} in {where}. Check source.commit.")
    else:
        raise SourceNotFound(
            f"{server.url} has no commit {sought} among the newest {HISTORY[-1]:,} of {where}. Give all 40 "
            "digits without a branch, or put a tag on it and give that in source.branch."
        )
    with server.objects(commit) as objects:
        if objects is None:
            raise _not_given(server, commit)
        return _read(objects, commit, branch)


def _not_given(server: GitServer, name: str) -> SourceNotFound:
    return SourceNotFound(
        f"{server.url} does not give out {name}. If it was removed a moment ago, start again; if not, put a "
        "tag on the commit and give that in source.branch."
    )


def _read(objects: Objects, commit: str, branch: str | None) -> Checkout:
    return Checkout(commit, branch, objects.scripts(commit))
