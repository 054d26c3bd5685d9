"""The interface between the SageMaker service and the cloud around it.

The service does not know MiniStack. It sends events, logs and CloudWatch metrics, reads alarms, authorizes
callers and gets credentials for execution roles through `Host` only. Tests have a small host of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class AccessDenied(Exception):
    """The caller may not do this. Like AWS's, the message names principal, action and resource."""


@dataclass(frozen=True)
class Measurement:
    """Values of one CloudWatch metric.

    unit: CloudWatch's name of the unit, e.g. "None" or "Microseconds".
    values: how often each value was measured.
    """

    metric: str
    dimensions: Mapping[str, str]
    unit: str
    values: Mapping[float, int]


class Host(Protocol):
    """The cloud around the SageMaker service.

    endpoint_url: where AWS clients of this cloud connect, e.g. http://127.0.0.1:41234.
    wait_scale: the real length of a second that a caller asked to wait: 1, or less in tests.

    Every method may be called from any thread. `authorize` and `authorize_pass_role` must be called while the
    request that they judge is being handled.
    """

    region: str
    account: str
    endpoint_url: str
    wait_scale: float

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        """Put one event with the source `aws.sagemaker` on the default bus."""

    def log(self, group: str, stream: str, lines: list[tuple[int, str]]) -> None:
        """Append (epoch milliseconds, message) pairs to a log stream; create group and stream if needed."""

    def put_metrics(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        """Add measurements to CloudWatch's metrics, late as on AWS, and then evaluate their alarms."""

    def alarm_states(self, names: Sequence[str], role_arn: str) -> Mapping[str, str]:
        """Return the state of each alarm that exists, by name: OK, ALARM or INSUFFICIENT_DATA.

        Raises:
            AccessDenied: The role may not call cloudwatch:DescribeAlarms on one of them.
        """

    def role_environment(self, role_arn: str, session: str) -> dict[str, str]:
        """Return the AWS_* variables, with endpoint and region, of a process that acts as the role.

        Raises:
            LookupError: The role does not exist or does not trust sagemaker.amazonaws.com.
        """

    def role_may(self, role_arn: str, action: str, resource: str) -> bool:
        """Return whether the role's policies allow an action, e.g. ecr:BatchGetImage, on a resource's ARN."""

    def authorize(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        action: str,
        resource: str,
        keys: Mapping[str, Any],
    ) -> None:
        """Check that the request's signer may perform `action` on the resource's ARN.

        Args:
            headers: The request's headers.
            query: The request's query parameters.
            action: For example "sagemaker:InvokeEndpoint".
            resource: An ARN, or "*".
            keys: Values of condition keys that only the request has, e.g. of aws:RequestTag/team.

        Raises:
            AccessDenied: No policy of the caller allows the action.
        """

    def authorize_pass_role(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        role_arn: str,
    ) -> None:
        """Check that the request's signer may pass the role to SageMaker (iam:PassRole, iam:PassedToService).

        Raises:
            AccessDenied: The caller may not pass the role.
        """
