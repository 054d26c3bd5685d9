"""Checking out exactly the requested commit, from servers of both versions of Git's protocol."""

from pathlib import Path

import pytest

from core import errors
from git_source import repository as git_repository
from git_source.repository import Checkout, address, server_of
from tests.unit.pipeline.git_source.conftest import version
from tests.unit.pipeline.git_source.git_server import (
    LINK,
    SCRIPTS,
    SUBMODULE,
    Door,
    Entry,
    Files,
    Kind,
    Repository,
    checkout,
)

# --- the commit ------------------------------------------------------------------------------------


def test_the_default_branch_is_the_default(url: str, history: list[str], repository: Repository) -> None:
    assert checkout(url) == Checkout(
        history[-1], "main", {"train.py": b"VERSION = 4\n", "generate.py": b"WORDS = 7\n"}
    )
    trunk = repository.commit(version(1), branch="trunk")
    repository.default("trunk")
    found = checkout(url)
    assert (found.commit, found.branch) == (trunk, "trunk")


@pytest.mark.parametrize(
    ("branch", "place"), [("main", 4), ("feature/side", 5), ("light", 2), ("annotated", 3)]
)
def test_a_branch_or_a_tag_is_found_by_its_name(
    url: str, repository: Repository, history: list[str], branch: str, place: int
) -> None:
    history.append(repository.commit(version(5), history[1], branch="feature/side"))
    repository.tag("light", history[2])
    repository.tag("annotated", history[3], annotated=True)
    repository.tag("main", history[0])  # The branch comes first.
    found = checkout(url, branch=branch)
    assert (found.commit, found.branch) == (history[place], branch)
    assert found.files["train.py"] == b"VERSION = %d\n" % place
    assert checkout(url, commit=history[place]).commit == history[place]


@pytest.mark.parametrize("branch", [None, "main"])
@pytest.mark.parametrize("digits", [7, 40])
@pytest.mark.parametrize("place", [1, 4])
def test_a_commit_is_found_by_its_name_or_the_start_of_it(
    url: str, history: list[str], branch: str | None, digits: int, place: int
) -> None:
    found = checkout(url, branch, history[place][:digits])
    assert (found.commit, found.branch) == (history[place], branch)
    assert found.files["train.py"] == b"VERSION = %d\n" % place


def test_a_commit_with_a_branch_has_to_be_in_its_history(
    url: str, repository: Repository, history: list[str]
) -> None:
    side = repository.commit(version(9), history[1], branch="side")
    assert checkout(url, "side", history[0]).commit == history[0]
    with pytest.raises(errors.SourceNotFound, match=f"no commit {side} among the newest 5 of main"):
        checkout(url, "main", side)
    repository.commit(version(10), history[-1], side, branch="main")
    assert checkout(url, "main", side[:10]).commit == side


def test_a_commit_of_no_branch_is_found_if_the_server_gives_it_out(
    url: str, kind: Kind, repository: Repository, history: list[str]
) -> None:
    orphan = repository.commit(version(9), history[1])
    if kind == "git":
        found = checkout(url, commit=orphan)
        assert (found.commit, found.branch) == (orphan, None)
        assert found.files["train.py"] == b"VERSION = 9\n"
    else:
        with pytest.raises(errors.SourceNotFound, match=f"no commit {orphan}"):
            checkout(url, commit=orphan)


def test_history_is_searched_in_steps_and_not_without_end(
    url: str, history: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_repository, "HISTORY", (1, 4))
    assert checkout(url, "main", history[1]).commit == history[1]
    with pytest.raises(errors.SourceNotFound, match=r"among the newest 4 of main\. .* put a tag on"):
        checkout(url, "main", history[0])


def test_an_abbreviation_of_several_commits_is_refused() -> None:
    with pytest.raises(
        errors.InvalidSource, match=r"2 commits begin with source.commit abcdef1. Give all 40"
    ):
        git_repository._only(["abcdef1" + "0" * 33, "abcdef1" + "1" * 33], "abcdef1")


# --- what does not exist ---------------------------------------------------------------------------


def test_a_repository_that_does_not_exist(door: Door) -> None:
    with pytest.raises(errors.SourceNotFound, match=r"no repository at .*/other.git. Check source.repo"):
        checkout(f"{door.url}/other.git")


@pytest.mark.parametrize("commit", [None, "f" * 40])
def test_an_empty_repository(url: str, commit: str | None) -> None:
    with pytest.raises(errors.SourceNotFound, match=r"is an empty repository\. Push the scripts"):
        checkout(url, commit=commit)


def test_an_unknown_branch_lists_some_that_exist(
    url: str, repository: Repository, history: list[str]
) -> None:
    for number in range(12):
        repository.point(f"refs/heads/b{number:02}", history[0])
    names = ", ".join(f"'b{number:02}'" for number in range(10))
    message = f"no branch or tag 'mian'. Give one of these in source.branch: {names} and 3 more"
    with pytest.raises(errors.SourceNotFound, match=message):
        checkout(url, branch="mian")


def test_a_repository_without_a_default_branch(url: str, repository: Repository) -> None:
    commit = repository.commit(version(1), branch="side")
    with pytest.raises(errors.SourceNotFound, match=r"no default branch. Give one of .*: 'side'"):
        checkout(url)
    assert checkout(url, commit=commit).commit == commit


@pytest.mark.parametrize("commit", ["f" * 40, "fffffff"])
def test_a_commit_that_does_not_exist(url: str, history: list[str], commit: str) -> None:
    with pytest.raises(errors.SourceNotFound, match=f"no commit {commit} among .* of its default branch"):
        checkout(url, commit=commit)


def test_a_tag_of_another_object_is_refused(url: str, repository: Repository) -> None:
    repository.point("refs/tags/picture", repository.blob(b"GIF89a"))
    with pytest.raises(errors.InvalidSource, match=r"is not a commit\. Give a branch or a commit"):
        checkout(url, branch="picture")


# --- the files -------------------------------------------------------------------------------------


def test_only_the_scripts_of_the_folder_are_fetched(url: str, repository: Repository) -> None:
    files: Files = {
        **SCRIPTS,
        "model_scripts/helpers/text.py": b"WORDS = 1\n",
        "model_scripts/config.yaml": b"applications: []\n",
        "model_scripts/requirements.txt": b"numpy\n",
        "model_scripts/notes.md": b"notes\n",
        "model_scripts/__pycache__/train.py": b"",
        "model_scripts/linked.py": Entry(b"/etc/passwd", LINK),
        "model_scripts/folder": Entry(b"..", LINK),
        "model_scripts/vendored": Entry(b"1" * 40, SUBMODULE),
        "setup.py": b"",
        "train.py": b"the wrong one\n",
    }
    repository.commit(files, branch="main")
    found = checkout(url).files
    assert sorted(found) == ["config.yaml", "generate.py", "helpers/text.py", "requirements.txt", "train.py"]
    assert found["train.py"] == SCRIPTS["model_scripts/train.py"]


def test_without_the_folder_the_scripts_are_at_the_root(url: str, repository: Repository) -> None:
    files = {"train.py": b"1\n", "generate.py": b"2\n", "lib/a.py": b"3\n"}
    repository.commit({**files, "README.md": b""}, branch="main")
    assert checkout(url).files == files


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({"model_scripts/generate.py": b""}, "model_scripts/train.py"),
        ({"model_scripts/train.py": b""}, "model_scripts/generate.py"),
        ({**SCRIPTS, "model_scripts/train.py": Entry(b"x.py", LINK)}, "model_scripts/train.py"),
        (
            {"model_scripts": Entry(b"src", LINK), "train.py": b"", "generate.py": b""},
            "model_scripts/train.py",
        ),
        ({"model_scripts": Entry(b"1" * 40, SUBMODULE)}, "model_scripts/train.py"),
        ({"model_scripts": b"text"}, "model_scripts/train.py"),
        ({"README.md": b"nothing else"}, "train.py"),
    ],
)
def test_sagemaker_needs_two_scripts_as_files(
    url: str, repository: Repository, files: Files, missing: str
) -> None:
    commit = repository.commit(files, branch="main")
    with pytest.raises(
        errors.SourceIncomplete,
        match=rf"^{missing} is not a file in .* at commit {commit}\. .*links and submodules are not followed",
    ):
        checkout(url)


@pytest.mark.parametrize("path", ["../train.py", "./a/train.py", "a/../../b.py"])
def test_a_path_that_leaves_its_folder_is_refused(url: str, repository: Repository, path: str) -> None:
    repository.commit({**SCRIPTS, f"model_scripts/{path}": b"mine now\n"}, branch="main")
    with pytest.raises(errors.InvalidSource, match="a path of it leaves its folder"):
        checkout(url)


@pytest.mark.parametrize("name", ["n" * 98 + ".py", "new\nline.py"])
def test_a_path_that_cannot_be_packed_is_refused(url: str, repository: Repository, name: str) -> None:
    repository.commit({**SCRIPTS, f"model_scripts/{name}": b""}, branch="main")
    with pytest.raises(errors.InvalidSource, match="use a path of at most 100 printable bytes") as raised:
        checkout(url)
    assert "\n" not in str(raised.value)


def test_no_file_stays_on_disk(
    url: str, history: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    checkout(url, "main", history[0])
    assert list(scratch.iterdir()) == []


# --- the address -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "repo",
    [
        "https://github.com/owner/name",
        "HTTPS://GitHub.com/owner/@name",
        "https://git.example.org:8443/group/sub/name.git",
        "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/name",
        "https://[2001:db8::1]:8443/name",
        "http://127.0.0.1:8000/name.git",
        "http://localhost/name.git",
        "http://[::1]:8000/name.git",
    ],
)
def test_https_addresses_and_servers_on_this_machine_are_accepted(repo: str) -> None:
    assert address(f"{repo}/") == repo


@pytest.mark.parametrize(
    "endpoint", [None, "", "https://s3.eu-west-1.amazonaws.com", "http://127.0.0.1.example.org"]
)
def test_on_aws_a_server_on_the_same_machine_is_refused(
    endpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(
        errors.InvalidSource, match=r"^source\.repo is not the address of a repository\. Give an https"
    ):
        address("http://127.0.0.1:8000/name.git")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://GitHub.com/owner/name", "github.com"),
        ("https://github.com:0443/owner/name", "github.com"),
        ("https://github.com./owner/name", "github.com."),
        ("https://git.example.com:8443/name.git", "git.example.com:8443"),
        ("https://github.com/@evil.example/name", "github.com"),
    ],
)
def test_the_server_of_a_repository(url: str, server: str) -> None:
    assert server_of(url) == server


SECRET = "ghp_0123456789abcdef"
SSH, LOGIN, OTHER = "is an SSH address", "has a user name or a password", "is not the address of a repository"


@pytest.mark.parametrize(
    ("repo", "problem"),
    [
        ("git@github.com:owner/name.git", f"{SSH}.*https://github.com/owner/name.git;.*source.secret"),
        ("ssh://git@github.com/owner/name.git", SSH),
        (f"ssh://git:{SECRET}@github.com/owner/name.git", SSH),
        (f"https://user:{SECRET}@github.com/owner/name", f"{LOGIN}. Replace .*source.secret"),
        (f"https://{SECRET}@github.com/owner/name", LOGIN),
        (f"http://{SECRET}@127.0.0.1/name", LOGIN),
        (f"https://github.com/owner/name?token={SECRET}", OTHER),
        (f"https://github.com/owner/name#{SECRET}", OTHER),
        (f"user:{SECRET}@github.com:owner/name", OTHER),
        ("http://github.com/owner/name", OTHER),
        ("http://127.0.0.1.example.org/name", OTHER),
        ("http://localhost:80@example.org/name", LOGIN),
        ("file:///etc", OTHER),
        ("git://github.com/owner/name", OTHER),
        ("codecommit::eu-west-1://name", OTHER),
        ("//github.com/owner/name", OTHER),
        ("https://github.com", OTHER),
        ("https://github.com//", OTHER),
        ("https://github.com:http/owner/name", OTHER),
        ("https://github.com:65536/owner/name", OTHER),
        ("https://[:]/owner/name", OTHER),
        ("https://[::1/name", OTHER),
        ("https://github.com/owner/a name", OTHER),
        ("https://github.com/owner/na\nme", OTHER),
        ("https://github.com/owner/name\n", OTHER),
        ("https://github.com/owner/na\x7fme", OTHER),
        ("https://github.com/owner/naïve", OTHER),
        ("https://gïthub.com/owner/name", OTHER),
        ("../scripts", OTHER),
        ("", OTHER),
    ],
)
def test_other_addresses_are_refused_by_the_name_of_the_field_and_without_their_secrets(
    repo: str, problem: str
) -> None:
    with pytest.raises(errors.InvalidSource, match=f"^source.repo {problem}") as raised:
        address(repo)
    assert SECRET not in str(raised.value)
