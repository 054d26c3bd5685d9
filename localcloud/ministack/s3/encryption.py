"""Encryption with the account's own key.

AWS: a write with `x-amz-server-side-encryption: aws:kms` and without the id of a key uses the account's key
for S3, whose alias is aws/s3. The response names the key.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
MiniStack: it refuses the write with InvalidArgument. To see it: `aws s3 cp FILE s3://BUCKET --sse aws:kms`.
Here: such a write names a key of the account and region, as on AWS. KMS does not list the key. Nothing is
encrypted.
"""

import functools
import uuid
from typing import Any

from localcloud.ministack.core import regions
from localcloud.ministack.core.options import ACCOUNT

_ALGORITHM = "x-amz-server-side-encryption"
_KEY = "x-amz-server-side-encryption-aws-kms-key-id"


def patch() -> None:
    """Let a write without the id of a key use the account's own key."""
    from ministack.services import s3

    resolve = s3._resolve_sse_write_headers

    @functools.wraps(resolve)
    def resolve_with_own_key(headers: dict[str, str], bucket_name: str) -> Any:
        if headers.get(_ALGORITHM) == "aws:kms" and not headers.get(_KEY):
            headers = {**headers, _KEY: own_key(regions.current())}
        return resolve(headers, bucket_name)

    s3._resolve_sse_write_headers = resolve_with_own_key


def own_key(region: str) -> str:
    """Return the ARN of the account's key for S3 in a region."""
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"alias/aws/s3 in {region} of {ACCOUNT}")
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/{key}"
