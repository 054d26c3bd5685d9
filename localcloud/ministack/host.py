"""The cloud around the SageMaker service: events, logs, metrics, roles and permissions, by MiniStack's
services."""

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.ministack.callers import caller_denial, pass_role_denial
from localcloud.ministack.cloudwatch import CloudWatch
from localcloud.ministack.credentials import access_key
from localcloud.ministack.roles import trusts
from localcloud.ministack.settings import ACCOUNT, REGION
from localcloud.sagemaker.host import AccessDenied, Measurement

# What a request says beside its resource, by service. Only SageMaker's resources scale here.
_CONTEXT = {"application-autoscaling": {"application-autoscaling:service-namespace": "sagemaker"}}


class MiniStackHost:
    """`localcloud.sagemaker.host.Host`, which says what each method promises."""

    def __init__(self, endpoint_url: str) -> None:
        from ministack.services import cloudwatch_logs, eventbridge, iam, stepfunctions, sts

        self.region = REGION
        self.account = ACCOUNT
        self.endpoint_url = endpoint_url
        self.wait_scale = float(stepfunctions._SFN_WAIT_SCALE)
        self._logs = cloudwatch_logs
        self._events = eventbridge
        self._iam = iam
        self._sts = sts
        self._cloudwatch = CloudWatch()
        self._logs_lock = threading.Lock()

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        entry = {
            "Source": "aws.sagemaker",
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": resources,
        }
        self._events._put_events({"Entries": [entry]}, allow_aws_source=True)

    def log(self, group: str, stream: str, lines: list[tuple[int, str]]) -> None:
        name = {"logGroupName": group}
        with self._logs_lock:
            # Both answer ResourceAlreadyExistsException when it is there, which is as good.
            self._logs._create_log_group(dict(name))
            self._logs._create_log_stream({**name, "logStreamName": stream})
            events = [{"timestamp": timestamp, "message": message} for timestamp, message in lines]
            self._logs._put_log_events({**name, "logStreamName": stream, "logEvents": events})

    def put_metrics(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        self._cloudwatch.put(namespace, measurements)

    def alarm_states(self, names: Sequence[str], role_arn: str) -> Mapping[str, str]:
        return self._cloudwatch.alarm_states(names, role_arn)

    def role_environment(self, role_arn: str, session: str) -> dict[str, str]:
        name = role_arn.rsplit("/", 1)[-1]
        role = self._iam._roles.get(name)
        if role is None or role.get("Arn") != role_arn:
            raise LookupError(f"There is no role {role_arn}")
        if not trusts(role, "sagemaker.amazonaws.com"):
            raise LookupError(f"The role {role_arn} does not trust sagemaker.amazonaws.com")
        key, secret = access_key("ASIA"), secrets.token_urlsafe(30)
        token = secrets.token_urlsafe(96)
        self._sts.register_session(
            key,
            {
                "Arn": f"arn:aws:sts::{self.account}:assumed-role/{name}/{session[:64]}",
                "UserId": f"{role.get('RoleId', name)}:{session[:64]}",
                "SecretAccessKey": secret,
                "SessionToken": token,
            },
        )
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def authorize(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        action: str,
        resource: str,
    ) -> None:
        service, _, _ = action.partition(":")
        _refuse(caller_denial(headers, query, action, resource, _CONTEXT.get(service)))

    def authorize_pass_role(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        role_arn: str,
    ) -> None:
        _refuse(pass_role_denial(headers, query, role_arn, "sagemaker.amazonaws.com"))


def _refuse(denial: str | None) -> None:
    if denial is not None:
        raise AccessDenied(denial)
