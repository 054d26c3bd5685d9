"""The seam between the SageMaker service and the cloud that hosts it.

The service knows nothing of MiniStack: it emits events, writes logs and metrics, asks for alarms and who may
do what, and gets credentials for the roles its jobs act as, all through `Host`. Tests give it a small host of
their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class AccessDenied(Exception):
    """The caller may not do this. The message names principal, action and resource, as AWS's does."""


@dataclass(frozen=True)
class Measurement:
    """What was measured of one CloudWatch metric: each value, and how often it was seen.

    unit: CloudWatch's name of it, e.g. "None" or "Microseconds".
    """

    metric: str
    dimensions: Mapping[str, str]
    unit: str
    values: Mapping[float, int]


class Host(Protocol):
    """What the SageMaker service needs from the cloud around it.

    Every method may be called from any thread, `authorize` and `authorize_pass_role` included, as long as the
    call happens while the request they judge is being handled.
    """

    region: str
    account: str
    endpoint_url: str
    """Where AWS clients of this cloud connect, e.g. http://127.0.0.1:41234."""
    wait_scale: float
    """How long a second lasts here of a wait that somebody asked for: 1, or less where tests do not wait."""

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        """Put one event of source `aws.sagemaker` on the default bus."""

    def log(self, group: str, stream: str, lines: list[tuple[int, str]]) -> None:
        """Append (milliseconds since the epoch, message) pairs to a log stream, making group and stream."""

    def put_metrics(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        """Add what has just been measured to CloudWatch's metrics; their alarms are evaluated at once."""

    def alarm_states(self, names: Sequence[str], role_arn: str) -> Mapping[str, str]:
        """By name the states, OK, ALARM or INSUFFICIENT_DATA, of those of these alarms that there are.

        Raises AccessDenied when the role may not do cloudwatch:DescribeAlarms on one of them.
        """

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
