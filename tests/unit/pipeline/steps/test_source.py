"""The scripts of a run are identified by their content, and the secret of a repository stays secret."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from contracts.request import GitSource
from core.errors import AccessDenied, InvalidInput, SourceUnauthorized
from git_source import repository
from git_source.credentials import Credentials
from steps import source
from training import script_package

REPO = {"repo": "https://git.example.com/models.git", "branch": None, "commit": None, "secret": None}
FILES = {"train.py": b"print('train')\n", "serve.py": b"print('serve')\n"}
COMMIT = "c0ffee" * 6 + "c0ff"
Request = tuple[GitSource, Credentials | None]


@pytest.fixture
def checkouts(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests for a repository that has two scripts on its branch main."""
    requests: list[Request] = []

    def checkout(*request: Any) -> repository.Checkout:
        requests.append(request)
        return repository.Checkout(COMMIT, "main", FILES)

    monkeypatch.setattr(repository, "checkout", checkout)
    return requests


def expect_upload(stubbed: Any, packed: bytes) -> str:
    """Expect these scripts in the bucket under their hash, and return the hash."""
    digest = hashlib.sha256(packed).hexdigest()
    key = f"code/{digest}/sourcedir.tar.gz"
    put = {
        "Bucket": "texts",
        "Key": key,
        "Body": packed,
        "IfNoneMatch": "*",
        "ContentType": "application/gzip",
    }
    stubbed.answers("s3", "put_object", {}, **put)
    return digest


@pytest.mark.parametrize("repo", [None, REPO])
def test_the_scripts_are_the_deployments_own_or_those_of_a_repository(
    stubbed: Any, documents: Any, context: Any, checkouts: list[Request], repo: dict[str, str] | None
) -> None:
    documents.run["source"] = repo
    digest = expect_upload(stubbed, script_package.pack(FILES) if repo else script_package.own())
    assert source.handler({"run": documents.run}, context) == {
        "uri": f"s3://texts/code/{digest}/sourcedir.tar.gz",
        "sha256": digest,
        "repo": repo and repo["repo"],
        "branch": repo and "main",
        "commit": repo and COMMIT,
    }
    assert checkouts == ([(GitSource.model_validate(REPO), None)] if repo else [])


def test_the_credentials_of_a_private_repository_go_to_its_server_only(
    stubbed: Any,
    documents: Any,
    context: Any,
    checkouts: list[Request],
    metrics_written: Callable[[], object],
) -> None:
    documents.run["source"] = {**REPO, "branch": "dev", "secret": "git/models"}
    stubbed.answers(
        "secretsmanager", "get_secret_value", {"SecretString": "ghp_hidden1234"}, SecretId="git/models"
    )
    expect_upload(stubbed, script_package.pack(FILES))
    result = source.handler({"run": documents.run}, context)
    ((requested, credentials),) = checkouts
    assert (requested.repo, requested.branch, requested.commit) == (REPO["repo"], "dev", None)
    assert credentials is not None
    assert credentials.password == "ghp_hidden1234"
    assert "ghp_hidden1234" not in f"{result}{metrics_written()}{credentials}"


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("ResourceNotFoundException", SourceUnauthorized, r"source\.secret: there is no secret git/models"),
        ("AccessDeniedException", AccessDenied, "GetSecretValue: not authorized"),
    ],
)
def test_a_secret_that_cannot_be_read(
    stubbed: Any,
    documents: Any,
    context: Any,
    checkouts: list[Request],
    code: str,
    error: type[Exception],
    message: str,
) -> None:
    documents.run["source"] = {**REPO, "secret": "git/models"}
    stubbed.refuses("secretsmanager", "get_secret_value", code, "not authorized")
    with pytest.raises(error, match=message):
        source.handler({"run": documents.run}, context)
    assert checkouts == []


def test_a_source_without_a_repository_names_the_field(stubbed: Any, documents: Any, context: Any) -> None:
    documents.run["source"] = {"branch": "main"}
    with pytest.raises(InvalidInput, match=r"run\.source\.repo: Field required"):
        source.handler({"run": documents.run}, context)
