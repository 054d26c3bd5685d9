"""source: the scripts of a run are settled once, by their content; a repository's secret stays one."""

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

import git_repository
import source_code
from core.errors import AccessDenied, InvalidInput, SourceUnauthorized
from steps import source

REPO = {"repo": "https://git.example.com/models.git", "branch": None, "commit": None, "secret": None}
FILES = {"train.py": b"print('train')\n", "serve.py": b"print('serve')\n"}
COMMIT = "c0ffee" * 6 + "c0ff"


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the repository was asked for; it has two scripts on its branch main."""
    asked: list[tuple[Any, ...]] = []

    def found(*told: Any) -> Any:
        asked.append(told)
        return SimpleNamespace(files=FILES, branch="main", commit=COMMIT)

    monkeypatch.setattr(git_repository, "checkout", found)
    return asked


def uploads(stubbed: Any, packed: bytes) -> str:
    """Announce that these scripts are put into the bucket under their hash; the hash."""
    digest = hashlib.sha256(packed).hexdigest()
    stubbed.answers(
        "s3",
        "put_object",
        {},
        Bucket="texts",
        Key=f"code/{digest}/sourcedir.tar.gz",
        Body=packed,
        IfNoneMatch="*",
        ContentType="application/gzip",
    )
    return digest


def test_without_a_wish_the_deployments_own_scripts_are_taken(
    stubbed: Any, documents: Any, context: Any
) -> None:
    digest = uploads(stubbed, source_code.archive())
    assert source.handler({"run": documents.run}, context) == {
        "uri": f"s3://texts/code/{digest}/sourcedir.tar.gz",
        "sha256": digest,
        "repo": None,
        "branch": None,
        "commit": None,
    }


def test_a_public_repositorys_scripts_come_with_branch_and_commit(
    stubbed: Any, documents: Any, context: Any, checkout: list[Any]
) -> None:
    documents.run["source"] = REPO
    digest = uploads(stubbed, source_code.pack(FILES))
    assert source.handler({"run": documents.run}, context) == {
        "uri": f"s3://texts/code/{digest}/sourcedir.tar.gz",
        "sha256": digest,
        "repo": REPO["repo"],
        "branch": "main",
        "commit": COMMIT,
    }
    assert checkout == [(REPO["repo"], None, None, None)]


def test_a_private_repository_is_asked_with_the_secrets_credentials_which_go_nowhere_else(
    stubbed: Any, documents: Any, context: Any, checkout: list[Any], metrics_written: Any
) -> None:
    documents.run["source"] = {**REPO, "branch": "dev", "secret": "git/models"}
    stubbed.answers(
        "secretsmanager", "get_secret_value", {"SecretString": "ghp_hidden1234"}, SecretId="git/models"
    )
    uploads(stubbed, source_code.pack(FILES))
    answer = source.handler({"run": documents.run}, context)
    ((repo, branch, commit, credentials),) = checkout
    assert (repo, branch, commit) == (REPO["repo"], "dev", None)
    assert credentials.password == "ghp_hidden1234"
    assert "ghp_hidden1234" not in f"{answer}{metrics_written()}{credentials}"


def test_a_secret_that_is_not_there_is_named(
    stubbed: Any, documents: Any, context: Any, checkout: list[Any]
) -> None:
    documents.run["source"] = {**REPO, "secret": "git/models"}
    stubbed.refuses("secretsmanager", "get_secret_value", "ResourceNotFoundException")
    with pytest.raises(SourceUnauthorized, match=r"source\.secret: there is no secret git/models"):
        source.handler({"run": documents.run}, context)
    assert checkout == []


def test_a_secret_that_may_not_be_read_is_an_error_of_the_deployment(
    stubbed: Any, documents: Any, context: Any, checkout: list[Any]
) -> None:
    documents.run["source"] = {**REPO, "secret": "git/models"}
    stubbed.refuses("secretsmanager", "get_secret_value", "AccessDeniedException", "not authorized")
    with pytest.raises(AccessDenied, match="GetSecretValue: not authorized"):
        source.handler({"run": documents.run}, context)


def test_a_wish_without_a_repository_is_refused_by_the_fields_name(
    stubbed: Any, documents: Any, context: Any
) -> None:
    documents.run["source"] = {"branch": "main"}
    with pytest.raises(InvalidInput, match=r"run\.source\.repo: Field required"):
        source.handler({"run": documents.run}, context)
