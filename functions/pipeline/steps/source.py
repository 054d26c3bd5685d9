"""Settle which scripts train and host the model: the deployment's own, or those of a Git repository."""

from botocore.exceptions import ClientError

from contracts.training import Source, SourceInput
from core import aws, environment
from core.errors import SourceUnauthorized, code_of
from entry_point import step
from git_source import repository
from git_source.credentials import Credentials
from training import script_package


@step(SourceInput)
def handler(given: SourceInput) -> Source:
    """Store the packed scripts in the bucket, and return where they are and where they come from."""
    requested = given.run.source
    if requested is None:
        return _stored(script_package.own())
    credentials = _credentials(requested.secret, requested.repo) if requested.secret else None
    found = repository.checkout(requested, credentials)
    packed = script_package.pack(found.files)
    return _stored(packed, repo=requested.repo, branch=found.branch, commit=found.commit)


def _stored(packed: bytes, **origin: str | None) -> Source:
    uri, sha256 = script_package.upload(environment.bucket(), packed)
    return Source(uri=uri, sha256=sha256, **origin)


def _credentials(secret: str, repo: str) -> Credentials:
    try:
        text = aws.secretsmanager().get_secret_value(SecretId=secret).get("SecretString", "")
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        raise SourceUnauthorized(
            f"source.secret: there is no secret {secret} in Secrets Manager. Create it, or correct the name."
        ) from error
    return Credentials.parse(text, secret, repository.server_of(repo))
