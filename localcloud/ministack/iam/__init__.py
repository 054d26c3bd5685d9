"""IAM: signatures, the permissions of callers and roles, and condition keys.

callers           the permissions of a request's caller
roles             the permissions of a role, and the services that may assume it
leading_keys      the condition key dynamodb:LeadingKeys
secure_transport  the condition key aws:SecureTransport
signatures        no request without a verified signature
"""

from localcloud.ministack.iam import leading_keys, secure_transport


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    leading_keys.patch()
    secure_transport.patch()
