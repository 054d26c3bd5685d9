"""Authorization of a request: actions on resources, and iam:PassRole for the roles in it.

Resources by operation:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.core.host import AccessDenied, Host


@dataclass(frozen=True)
class Caller:
    """The signer of a request. `denied` is the error to raise if the host denies an action."""

    host: Host
    headers: Mapping[str, str]
    query: Mapping[str, Any]
    denied: type[Exception]

    def authorize(self, action: str, resource: str) -> None:
        """Raise `denied` unless the caller may perform the action on the resource."""
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
