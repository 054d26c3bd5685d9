"""The scripts of exactly the commit that was asked for, from servers of both versions of Git's protocol."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import git_repository
import source_code
from core import errors
from git_repository import checkout
from tests.unit.pipeline.git_server import (
    HAS_GIT,
    LINK,
    SCRIPTS,
    SUBMODULE,
    Door,
    Entry,
    Files,
    Kind,
    Repository,
    serving,
)

KINDS = ["dulwich", pytest.param("git", marks=pytest.mark.skipif(not HAS_GIT, reason="no Git program here"))]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def door(kind: Kind, tmp_path: Path) -> Iterator[Door]:
    with serving(tmp_path, kind) as door:
        yield door


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Served as /scripts.git, and empty."""
    repository = Repository(tmp_path / "scripts.git")
    yield repository
    repository.close()


@pytest.fixture
def url(door: Door, repository: Repository) -> str:
    return f"{door.url}/scripts.git"


def version(number: int) -> Files:
    return {**SCRIPTS, "model_scripts/train.py": b"VERSION = %d\n" % number}


@pytest.fixture
def history(repository: Repository) -> list[str]:
    """Five commits of main, oldest first."""
    commits: list[str] = []
    for number in range(5):
        commits.append(repository.commit(version(number), *commits[-1:], branch="main"))
    return commits


# --- which commit ----------------------------------------------------------------------------------


def test_the_default_branch_is_taken_where_nothing_is_named(url: str, history: list[str]) -> None:
    found = checkout(url)
    assert (found.commit, found.branch) == (history[-1], "main")
    assert found.files == {"train.py": b"VERSION = 4\n", "generate.py": b"WORDS = 7\n"}


def test_the_default_branch_has_whatever_name(url: str, repository: Repository) -> None:
    repository.commit(version(0), branch="alpha")
    trunk = repository.commit(version(1), branch="trunk")
    repository.default("trunk")
    found = checkout(url)
    assert (found.commit, found.branch) == (trunk, "trunk")


def test_a_branch_is_taken_by_its_name(url: str, repository: Repository, history: list[str]) -> None:
    side = repository.commit(version(9), history[1], branch="feature/side")
    found = checkout(url, branch="feature/side")
    assert (found.commit, found.branch) == (side, "feature/side")
    assert found.files["train.py"] == b"VERSION = 9\n"


@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_is_taken_like_a_branch(
    url: str, repository: Repository, history: list[str], annotated: bool
) -> None:
    repository.tag("v1", history[2], annotated=annotated)
    found = checkout(url, branch="v1")
    assert (found.commit, found.branch) == (history[2], "v1")
    assert found.files["train.py"] == b"VERSION = 2\n"


def test_a_branch_goes_before_a_tag_of_its_name(url: str, repository: Repository, history: list[str]) -> None:
    repository.tag("main", history[0])
    assert checkout(url, branch="main").commit == history[-1]


@pytest.mark.parametrize("branch", [None, "main"])
@pytest.mark.parametrize("digits", [7, 39, 40])
@pytest.mark.parametrize("which", [1, 4])
def test_a_commit_is_taken_by_its_name_or_by_the_start_of_it(
    url: str, history: list[str], branch: str | None, digits: int, which: int
) -> None:
    found = checkout(url, branch, history[which][:digits].upper())
    assert (found.commit, found.branch) == (history[which], branch)
    assert found.files["train.py"] == b"VERSION = %d\n" % which


def test_the_newest_commit_of_any_branch_or_tag_needs_no_history(
    url: str, door: Door, repository: Repository, history: list[str]
) -> None:
    side = repository.commit(version(9), history[1], branch="side")
    repository.tag("v1", history[2], annotated=True)
    assert checkout(url, commit=side[:7]).commit == side
    assert checkout(url, commit=history[2]).files["train.py"] == b"VERSION = 2\n"


def test_a_commit_named_with_a_branch_has_to_be_on_it(
    url: str, repository: Repository, history: list[str]
) -> None:
    side = repository.commit(version(9), history[1], branch="side")
    assert checkout(url, "side", history[0]).commit == history[0]
    with pytest.raises(errors.SourceNotFound, match=f"no commit {side} in the history of 'main'"):
        checkout(url, "main", side)


def test_a_merged_commit_is_in_the_history(url: str, repository: Repository, history: list[str]) -> None:
    side = repository.commit(version(9), history[1], branch="side")
    repository.commit(version(10), history[-1], side, branch="main")
    assert checkout(url, "main", side[:10]).commit == side


def test_a_commit_of_no_branch_is_taken_where_the_server_gives_it(
    url: str, kind: Kind, repository: Repository, history: list[str]
) -> None:
    gone = repository.commit(version(9), history[1])
    if kind == "git":
        found = checkout(url, commit=gone)
        assert (found.commit, found.branch) == (gone, None)
        assert found.files["train.py"] == b"VERSION = 9\n"
    else:
        with pytest.raises(errors.SourceNotFound, match=f"no commit {gone}"):
            checkout(url, commit=gone)


def test_history_is_searched_in_steps_and_not_for_ever(
    url: str, history: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_repository, "HISTORY", (1, 4))
    assert checkout(url, "main", history[1]).commit == history[1]
    with pytest.raises(errors.SourceNotFound, match=r"among the newest 4 of .* put a tag on it"):
        checkout(url, "main", history[0])


def test_the_start_of_several_commits_names_is_refused(
    url: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[str] = []
    for number in range(34):  # of 33 that have one more after them, three at least begin alike
        commits.append(repository.commit(version(number), *commits[-1:], branch="main"))
    by_digit = {digit: [name for name in commits if name[0] == digit] for digit in "0123456789abcdef"}
    digit = next(digit for digit, names in by_digit.items() if len(names) > 1 and commits[-1] not in names)
    monkeypatch.setattr(git_repository, "_sought", lambda commit: commit)
    with pytest.raises(errors.InvalidSource, match=r"begins the names of \d+ commits. Give all 40"):
        checkout(url, "main", digit)


@pytest.mark.parametrize("commit", ["main", "abc123", "g" * 40, "a" * 41, "", "HEAD~1"])
def test_what_is_no_commits_name_is_refused_before_anything_is_asked(commit: str) -> None:
    with pytest.raises(errors.InvalidSource, match=r"source.commit .* 40 hex digits"):
        checkout("https://example.invalid/scripts", commit=commit)


# --- what is not there -----------------------------------------------------------------------------


def test_a_repository_that_is_not_there(door: Door) -> None:
    with pytest.raises(errors.SourceNotFound, match=r"no repository at .*/other.git. Check source.repo"):
        checkout(f"{door.url}/other.git")


def test_an_empty_repository(url: str) -> None:
    with pytest.raises(errors.SourceNotFound, match=r"is an empty repository\. Push the scripts"):
        checkout(url)


def test_a_branch_that_is_not_there_with_those_that_are(
    url: str, repository: Repository, history: list[str]
) -> None:
    for number in range(12):
        repository.point(f"refs/heads/b{number:02}", history[0])
    with pytest.raises(errors.SourceNotFound) as raised:
        checkout(url, branch="mian")
    said = str(raised.value)
    assert "no branch or tag 'mian'. Give one in source.branch; it has 'b00', 'b01'," in said
    assert "'b09' and 3 more." in said
    assert "b10" not in said


def test_no_default_branch(url: str, repository: Repository) -> None:
    commit = repository.commit(version(1), branch="side")
    with pytest.raises(errors.SourceNotFound, match=r"no default branch. Give one .* it has 'side'"):
        checkout(url)
    assert checkout(url, commit=commit).commit == commit


def test_a_commit_that_is_not_there(url: str, history: list[str]) -> None:
    for commit in ("f" * 40, "fffffff"):
        with pytest.raises(errors.SourceNotFound, match=f"no commit {commit} in the history of 'main'"):
            checkout(url, commit=commit)


def test_a_tag_of_no_commit(url: str, repository: Repository, history: list[str]) -> None:
    repository.point("refs/tags/picture", repository.blob(b"GIF89a"))
    with pytest.raises(errors.InvalidSource, match=r"leads to no commit\. Name a branch, a tag or a commit"):
        checkout(url, branch="picture")


def test_a_name_of_something_else_is_no_commit(
    url: str, kind: Kind, repository: Repository, history: list[str]
) -> None:
    with pytest.raises(errors.InvalidSource, match="leads to no commit" if kind == "git" else "no commit"):
        checkout(url, commit=repository.blob(b"print('train')\n"))


# --- which files -----------------------------------------------------------------------------------


def test_the_scripts_of_the_folder_alone_are_taken(url: str, repository: Repository) -> None:
    files = {
        **SCRIPTS,
        "model_scripts/helpers/text.py": b"WORDS = 1\n",
        "model_scripts/config.yaml": b"applications: []\n",
        "model_scripts/requirements.txt": b"numpy\n",
        "model_scripts/notes.md": b"notes\n",
        "model_scripts/__pycache__/train.py": b"",
        "setup.py": b"",
        "train.py": b"the wrong one\n",
    }
    repository.commit(files, branch="main")
    found = checkout(url).files
    assert sorted(found) == ["config.yaml", "generate.py", "helpers/text.py", "requirements.txt", "train.py"]
    assert found["train.py"] == SCRIPTS["model_scripts/train.py"]


def test_without_the_folder_the_repositorys_root_is_taken(url: str, repository: Repository) -> None:
    repository.commit(
        {"train.py": b"1\n", "generate.py": b"2\n", "lib/a.py": b"3\n", "README.md": b""}, branch="main"
    )
    assert checkout(url).files == {"train.py": b"1\n", "generate.py": b"2\n", "lib/a.py": b"3\n"}


def test_links_and_submodules_are_not_followed(url: str, repository: Repository) -> None:
    repository.commit(
        {
            **SCRIPTS,
            "model_scripts/linked.py": Entry(b"/etc/passwd", LINK),
            "model_scripts/folder": Entry(b"..", LINK),
            "model_scripts/vendored": Entry(b"1" * 40, SUBMODULE),
        },
        branch="main",
    )
    assert sorted(checkout(url).files) == ["generate.py", "train.py"]


@pytest.mark.parametrize("missing", ["train.py", "generate.py"])
def test_what_sagemaker_starts_has_to_be_there(url: str, repository: Repository, missing: str) -> None:
    files = {path: content for path, content in SCRIPTS.items() if not path.endswith(missing)}
    commit = repository.commit(files, branch="main")
    with pytest.raises(errors.SourceIncomplete, match=rf"model_scripts/{missing} is not in .*{commit[:12]}"):
        checkout(url)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {**SCRIPTS, "model_scripts/train.py": Entry(b"x.py", LINK)},
            r"train.py is a symbolic link, which is not followed, in .* at commit",
        ),
        ({"model_scripts": Entry(b"src", LINK), "train.py": b""}, "model_scripts of .* is a symbolic link"),
        ({"model_scripts": Entry(b"1" * 40, SUBMODULE)}, "model_scripts of .* is a submodule"),
        ({"model_scripts": b"text"}, "model_scripts of .* is a file"),
        ({"README.md": b"nothing else"}, r"train.py is not in .* at the repository's root"),
    ],
)
def test_scripts_that_are_not_there_as_files(
    url: str, repository: Repository, files: Files, said: str
) -> None:
    repository.commit(files, branch="main")
    with pytest.raises(errors.SourceIncomplete, match=said):
        checkout(url)


@pytest.mark.parametrize("path", ["../train.py", "./a/train.py", "a/../../b.py"])
def test_a_path_that_leaves_the_folder_is_refused(url: str, repository: Repository, path: str) -> None:
    repository.commit({**SCRIPTS, f"model_scripts/{path}": b"mine now\n"}, branch="main")
    with pytest.raises(errors.InvalidSource, match="a path that leaves its folder"):
        checkout(url)


@pytest.mark.parametrize("name", ["n" * 98 + ".py", "new\nline.py"])
def test_a_path_that_cannot_be_packed_is_refused(url: str, repository: Repository, name: str) -> None:
    repository.commit({**SCRIPTS, f"model_scripts/{name}": b""}, branch="main")
    with pytest.raises(
        errors.InvalidSource, match=r"cannot be packed under that path: .* Rename it"
    ) as raised:
        checkout(url)
    assert "\n" not in str(raised.value)


def test_the_same_scripts_make_the_same_archive_wherever_they_come_from(
    url: str, repository: Repository
) -> None:
    own = {
        f"model_scripts/{file.name}": file.read_bytes()
        for file in source_code.SCRIPTS.iterdir()
        if file.is_file()
    }
    repository.commit(own, branch="main")
    assert source_code.pack(checkout(url).files) == source_code.archive()


def test_nothing_is_left_on_disk(
    url: str, history: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    checkout(url, "main", history[0])
    assert list(scratch.iterdir()) == []


def test_dulwich_is_imported_only_to_fetch() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import git_repository, sys; print('dulwich' in sys.modules)"],
        cwd=Path(git_repository.__file__).parent,
        capture_output=True,
        check=True,
        text=True,
    )
    assert told.stdout.strip() == "False"


# --- the address -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "repo",
    [
        "https://github.com/owner/name",
        "https://git.example.org:8443/group/sub/name.git",
        "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/name",
        "http://127.0.0.1:8000/name.git",
        "http://localhost/name.git",
        "http://[::1]:8000/name.git",
    ],
)
def test_https_addresses_and_this_machine_are_taken(repo: str) -> None:
    assert git_repository.address(f"{repo}/") == repo


SECRET = "ghp_0123456789abcdef"


@pytest.mark.parametrize(
    ("repo", "said"),
    [
        (
            "git@github.com:owner/name.git",
            "HTTPS address, https://github.com/owner/name.git, .*source.secret",
        ),
        ("ssh://git@github.com/owner/name.git", "is an SSH address"),
        (f"ssh://git:{SECRET}@github.com/owner/name.git", "is an SSH address"),
        (
            f"https://user:{SECRET}@github.com/owner/name",
            "user name or a password in it. Put them into a secret",
        ),
        (f"https://{SECRET}@github.com/owner/name", "user name or a password in it"),
        (f"http://{SECRET}@127.0.0.1/name", "user name or a password in it"),
        (f"https://github.com/owner/name?token={SECRET}", r'has a "\?" or "#" part'),
        (f"https://github.com/owner/name#{SECRET}", r'has a "\?" or "#" part'),
        (f"user:{SECRET}@github.com:owner/name", "not the URL of a repository"),
        ("http://github.com/owner/name", "is a http address. Give one that starts with https://"),
        ("http://127.0.0.1.example.org/name", "is a http address"),
        ("file:///etc", "not the URL of a repository"),
        ("git://github.com/owner/name", "is a git address"),
        ("codecommit::eu-west-1://name", "not the URL of a repository"),
        ("//github.com/owner/name", "is a relative address"),
        ("https://github.com", "not the URL of a repository"),
        ("https://github.com/", "not the URL of a repository"),
        ("https://github.com:http/owner/name", "not a URL"),
        ("https://[::1/name", "not a URL"),
        ("https://github.com/owner/a name", "has a space"),
        ("https://github.com/owner/na\nme", "has a space"),
        ("https://github.com/owner/naïve", "beyond ASCII"),
        ("../scripts", "not the URL of a repository"),
        ("", "not the URL of a repository"),
    ],
)
def test_other_addresses_are_refused_by_the_fields_name_and_without_their_secrets(
    repo: str, said: str
) -> None:
    with pytest.raises(errors.InvalidSource, match=said) as raised:
        git_repository.address(repo)
    assert str(raised.value).startswith("source.repo")
    assert SECRET not in str(raised.value)
