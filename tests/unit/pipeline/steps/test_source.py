"""The scripts of a run are identified by their content, and the secret of a repository stays secret."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.request import GitSource
from core.errors import AccessDenied, InvalidInput, SourceUnauthorized
from git_source import repository
from git_source.credentials import Credentials
from steps import source
from tests.unit.pipeline.documents import Documents
from tests.unit.pipeline.stubbed_aws import StubbedAws
from training import script_package

REPO = {"repo": "https://git.example.com/models.git", "branch": "dev", "commit": None, "secret": None}
FILES = {"train.py": b"print('train')\n", "serve.py": b"print('serve')\n"}
COMMIT = "c0ffee" * 6 + "c0ff"
Request = tuple[GitSource, Credentials | None]


@pytest.fixture
def checkouts(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests for a repository that has two scripts on its branch dev."""
    requests: list[Request] = []

    def checkout(*request: Any) -> repository.Checkout:
        requests.append(request)
        return repository.Checkout(COMMIT, "dev", FILES)

    monkeypatch.setattr(repository, "checkout", checkout)
    return requests


@pytest.mark.parametrize("repo", [None, REPO, {**REPO, "secret": "git/models"}])
def test_the_scripts_are_the_deployments_own_or_those_of_a_repository(
    stubbed: StubbedAws,
    documents: Documents,
    context: LambdaContext,
    checkouts: list[Request],
    metrics_written: Callable[[], str],
    repo: dict[str, str] | None,
) -> None:
    documents.run["source"] = repo
    credentials = Credentials("x-access-token", "ghp_hidden1234", "git/models")
    if repo and repo["secret"]:
        secret = {"SecretString": json.dumps({"host": "git.example.com", "token": credentials.password})}
        stubbed.answers("secretsmanager", "get_secret_value", secret, SecretId="git/models")
    packed = script_package.pack(FILES) if repo else script_package.own()
    digest = hashlib.sha256(packed).hexdigest()
    key = f"code/{digest}/sourcedir.tar.gz"
    options = {"IfNoneMatch": "*", "ContentType": "application/gzip"}
    stubbed.answers("s3", "put_object", {}, Bucket="texts", Key=key, Body=packed, **options)
    assert source.handler({"run": documents.run}, context) == {
        "uri": f"s3://texts/{key}",
        "sha256": digest,
        "repo": repo and repo["repo"],
        "branch": repo and "dev",
        "commit": repo and COMMIT,
    }
    assert credentials.password not in metrics_written()
    given = credentials if repo and repo["secret"] else None
    assert checkouts == ([(GitSource.model_validate(repo), given)] if repo else [])


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("ResourceNotFoundException", SourceUnauthorized, r"source\.secret: there is no secret git/models"),
        ("AccessDeniedException", AccessDenied, "GetSecretValue: not authorized"),
    ],
)
def test_a_secret_that_cannot_be_read(
    stubbed: StubbedAws,
    documents: Documents,
    context: LambdaContext,
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


def test_a_source_without_a_repository_names_the_field(documents: Documents, context: LambdaContext) -> None:
    documents.run["source"] = {"branch": "main"}
    with pytest.raises(InvalidInput, match=r"run\.source\.repo: is missing"):
        source.handler({"run": documents.run}, context)
