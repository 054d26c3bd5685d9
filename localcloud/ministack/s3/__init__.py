"""S3: names of buckets, encryption with the account's own key, and where the bodies of objects are."""

from localcloud.ministack.s3 import bucket_names, encryption, object_bodies


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    bucket_names.patch()
    encryption.patch()
    object_bodies.patch()
