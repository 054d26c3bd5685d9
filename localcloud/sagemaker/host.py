"""The seam between the SageMaker service and the cloud that hosts it.

The service knows nothing of MiniStack: it emits events, writes logs, asks who may do what, and gets
credentials for the roles its jobs act as, all through `Host`. Tests give it a small host of their own.
"""

from collections.abc import Mapping
from typing import Any, Protocol


class AccessDenied(Exception):
    """The caller may not do this. The message names principal, action and resource, as AWS's does."""


class Host(Protocol):
    """What the SageMaker service needs from the cloud around it.

    Every method may be called from any thread, `authorize` and `authorize_pass_role` included, as long as the
    call happens while the request they judge is being handled.
    """

    region: str
    account: str
    endpoint_url: str
    """Where AWS clients of this cloud connect, e.g. http://127.0.0.1:41234."""

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        """Put one event of source `aws.sagemaker` on the default bus."""

    def log(self, group: str, stream: str, lines: list[tuple[int, str]]) -> None:
        """Append (milliseconds since the epoch, message) pairs to a log stream, making group and stream."""

    def role_environment(self, role_arn: str, session: str) -> dict[str, str]:
        """AWS_* variables, endpoint and region included, for a process that acts as the role.

        Raises LookupError when there is no such role, or when it does not trust sagemaker.amazonaws.com.
        """

    def authorize(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        action: str,
        resource: str,
    ) -> None:
        """Let the signer of this request do `action` (e.g. "sagemaker:InvokeEndpoint") on the resource's ARN.

        Raises AccessDenied when no policy of the caller allows it.
        """

    def authorize_pass_role(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        role_arn: str,
    ) -> None:
        """Let the signer of this request pass the role to SageMaker (iam:PassRole, iam:PassedToService).

        Raises AccessDenied when the caller may not.
        """
