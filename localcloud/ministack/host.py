"""MiniStack's events, logs, metrics and permissions, for the services that the local cloud adds."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.ministack.cloudwatch import logs
from localcloud.ministack.cloudwatch.measurements import Measurements, delay_seconds
from localcloud.ministack.core import regions
from localcloud.ministack.core.credentials import new_credentials
from localcloud.ministack.core.options import ACCOUNT, client_environment
from localcloud.ministack.eventbridge.service_events import put_event
from localcloud.ministack.iam.callers import caller_denial, pass_role_denial
from localcloud.ministack.iam.roles import assume_role_denial, role_denial
from localcloud.sagemaker.core.host import AccessDenied, Measurement

_SAGEMAKER = "sagemaker.amazonaws.com"
# Values of condition keys, by service. Only SageMaker's resources scale here.
_CONTEXT = {"application-autoscaling": {"application-autoscaling:service-namespace": "sagemaker"}}


class MiniStackHost:
    """Implementation of `localcloud.sagemaker.core.host.Host`, which documents the methods in full."""

    def __init__(self, endpoint_url: str, region: str) -> None:
        from ministack.services import cloudwatch, iam, stepfunctions, sts

        self.region = region
        self.account = ACCOUNT
        self.endpoint_url = endpoint_url
        self.wait_scale = float(stepfunctions._SFN_WAIT_SCALE)
        self._cloudwatch = cloudwatch
        self._iam = iam
        self._sts = sts
        self._measurements = Measurements(delay_seconds() * self.wait_scale)

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        """Put one event of the source aws.sagemaker on the default bus."""
        with regions.entered(self.region):
            put_event("aws.sagemaker", detail_type, detail, resources)

    def log(self, group: str, stream: str, lines: list[tuple[int, str]]) -> None:
        """Append lines to a log stream."""
        with regions.entered(self.region):
            logs.append(group, stream, lines)

    def put_metrics(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        """Add measurements to CloudWatch's metrics."""
        with regions.entered(self.region):
            self._measurements.put(namespace, measurements)

    def alarm_states(self, names: Sequence[str], role_arn: str) -> Mapping[str, str]:
        """Return the states of the alarms that exist, by name."""
        with regions.entered(self.region):
            for name in names:
                arn = f"arn:aws:cloudwatch:{self.region}:{ACCOUNT}:alarm:{name}"
                _raise_denial(role_denial(role_arn, "SageMaker", "cloudwatch:DescribeAlarms", arn))
            alarms = {
                name: self._cloudwatch._alarms.get(name) or self._cloudwatch._composite_alarms.get(name)
                for name in names
            }
        return {name: alarm["StateValue"] for name, alarm in alarms.items() if alarm}

    def role_environment(self, role_arn: str, session: str) -> dict[str, str]:
        """Return environment variables for a process that acts as the role."""
        if denial := assume_role_denial(role_arn, _SAGEMAKER):
            raise LookupError(denial)
        name = role_arn.rsplit("/", 1)[-1]
        (key, secret), token = new_credentials("ASIA"), secrets.token_urlsafe(96)
        self._sts.register_session(
            key,
            {
                "Arn": f"arn:aws:sts::{self.account}:assumed-role/{name}/{session[:64]}",
                "UserId": f"{self._iam._roles[name].get('RoleId', name)}:{session[:64]}",
                "SecretAccessKey": secret,
                "SessionToken": token,
            },
        )
        return {
            **client_environment(self.endpoint_url, key, secret, self.region),
            "AWS_SESSION_TOKEN": token,
        }

    def role_may(self, role_arn: str, action: str, resource: str) -> bool:
        """Return whether the role's policies allow an action."""
        with regions.entered(self.region):
            return role_denial(role_arn, "SageMaker", action, resource) is None

    def authorize(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        action: str,
        resource: str,
        keys: Mapping[str, Any],
    ) -> None:
        """Raise AccessDenied if the signer of a request may not perform the action."""
        service, _, _ = action.partition(":")
        context = {**keys, **_CONTEXT.get(service, {})}
        _raise_denial(caller_denial(headers, query, action, resource, context))

    def authorize_pass_role(
        self, headers: Mapping[str, str], query: Mapping[str, Any], role_arn: str
    ) -> None:
        """Raise AccessDenied if the signer of a request may not pass the role to SageMaker."""
        _raise_denial(pass_role_denial(headers, query, role_arn, _SAGEMAKER))


def _raise_denial(denial: str | None) -> None:
    if denial is not None:
        raise AccessDenied(denial)
