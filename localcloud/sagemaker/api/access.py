"""Who may do what: each operation's action on its resource, iam:PassRole for roles, AddTags for tags on
creation.

Resources by operation:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.host import AccessDenied, Host


@dataclass(frozen=True)
class Caller:
    """A signed request, and the host's judgement of whoever signed it."""

    host: Host
    headers: Mapping[str, str]
    query: Mapping[str, Any]
    denied: type[Exception]
    """What a denial becomes: the API's own error."""

    def authorize(self, action: str, resource: str) -> None:
        """Raise `denied` unless the caller may do the action on the resource."""
        try:
            self.host.authorize(self.headers, self.query, action, resource)
        except AccessDenied as error:
            raise self.denied(str(error)) from error

    def authorize_pass_role(self, role_arn: str) -> None:
        """Raise `denied` unless the caller may pass the role to SageMaker."""
        try:
            self.host.authorize_pass_role(self.headers, self.query, role_arn)
        except AccessDenied as error:
            raise self.denied(str(error)) from error
