"""S3: a bucket has a name that S3 allows (`bucket_names`)."""

from localcloud.ministack.s3 import bucket_names


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    bucket_names.patch()
