"""The names of buckets.

AWS: S3 refuses a name that breaks one of its rules, whether CreateBucket or a stack creates the bucket.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
MiniStack: it does not know the reserved prefixes and suffixes. A stack creates a bucket of any name.
Here: a name is refused as on AWS, with InvalidBucketName.
"""

import functools
import re
from typing import Any

_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"\d+(\.\d+){3}")


def patch() -> None:
    """Check the name of every bucket that is created."""
    from ministack.services import s3
    from ministack.services.cloudformation import provisioners

    create = provisioners._s3_create

    @functools.wraps(create)
    def create_if_allowed(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        name = properties.get("BucketName")
        if name and not is_allowed(name):
            raise ValueError(
                f"The specified bucket is not valid: {name}. "
                "(Service: Amazon S3; Status Code: 400; Error Code: InvalidBucketName)"
            )
        return create(logical_id, properties, stack)

    s3._validate_bucket_name = is_allowed
    # An update that changes the name calls the function, and everything else calls the handler.
    provisioners._s3_create = create_if_allowed
    provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]["create"] = create_if_allowed


def is_allowed(name: str) -> bool:
    """Return whether S3 allows this name for a general purpose bucket."""
    return (
        _NAME.fullmatch(name) is not None
        and ".." not in name
        and _IP_ADDRESS.fullmatch(name) is None
        and not name.startswith(_RESERVED_PREFIXES)
        and not name.endswith(_RESERVED_SUFFIXES)
    )
