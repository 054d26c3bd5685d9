"""EventBridge: events of AWS's services, and the calls of targets as on AWS.

object_versions  S3's events contain the object's version id
service_events   sending an event of an AWS service
targets          a rule's targets are called only if that is allowed, and functions are retried
"""

from localcloud.ministack.eventbridge import object_versions, targets


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    object_versions.patch()
    targets.patch()
