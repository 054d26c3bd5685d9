"""The step that settles which scripts train and host: the deployment's own, or a Git repository's."""

from __future__ import annotations

import hashlib

from botocore.exceptions import ClientError

import git_repository
import source_code
from contracts.request import GitSource
from contracts.training import Source, SourceInput
from core import aws, environment
from core.errors import SourceUnauthorized, code_of
from entry_point import step
from git_credentials import Credentials


@step(SourceInput)
def handler(given: SourceInput) -> Source:
    bucket, asked = environment.bucket(), given.run.source
    if asked is None:
        return _uploaded(bucket, source_code.archive())
    secret = _secret(asked)
    found = git_repository.checkout(
        asked.repo, asked.branch, asked.commit, Credentials.parse(*secret) if secret else None
    )
    packed = _uploaded(bucket, source_code.pack(found.files))
    return packed.model_copy(update={"repo": asked.repo, "branch": found.branch, "commit": found.commit})


def _uploaded(bucket: str, packed: bytes) -> Source:
    return Source(uri=source_code.upload(bucket, packed), sha256=hashlib.sha256(packed).hexdigest())


def _secret(asked: GitSource) -> tuple[str, str] | None:
    """The secret's string and its name."""
    if asked.secret is None:
        return None
    try:
        answer = aws.secretsmanager().get_secret_value(SecretId=asked.secret)
        return answer.get("SecretString", ""), asked.secret
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        raise SourceUnauthorized(
            f"source.secret: there is no secret {asked.secret} in Secrets Manager."
        ) from error
