"""EventBridge as on AWS: services send events, and rules call their targets.

object_versions  S3's events contain the object's version id
service_events   sending an event of an AWS service
targets          a target is called only if its role or policy allows it, and a failed function is retried
"""

from localcloud.ministack.eventbridge import object_versions, targets


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    object_versions.patch()
    targets.patch()
