"""S3: names of buckets (`bucket_names`) and encryption with the account's own key (`encryption`)."""

from localcloud.ministack.s3 import bucket_names, encryption


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    bucket_names.patch()
    encryption.patch()
