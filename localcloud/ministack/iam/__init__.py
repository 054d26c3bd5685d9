"""IAM: who signed a request, what callers and roles may do, and the keys that conditions of policies use.

callers           what the caller of a request may do
roles             what a role may do, and who may assume it
gate              no request without a verified signature
leading_keys      the condition key dynamodb:LeadingKeys
secure_transport  the condition key aws:SecureTransport
"""

from localcloud.ministack.iam import leading_keys, secure_transport


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    leading_keys.patch()
    secure_transport.patch()
