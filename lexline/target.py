"""Where a command works: an AWS account, or the local cloud. Past this module nothing asks which.

A profile means AWS; without one it is the local cloud. Both are reached through the same boto3 clients, and
the stack's CloudFormation outputs say everything else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError, ProfileNotFound

from lexline.errors import UsageError, UserError

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

    from localcloud.control import LocalCloud

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=10)
_STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
_AWS_WORK = "aws"
"""The folder of the home that builds for AWS use; it says nothing of a local cloud."""


@dataclass(frozen=True)
class Target:
    """One stack's account and region, with clients for it.

    `endpoint_url` is the local cloud's address, None on AWS; `environment` is what a subprocess such as the
    SAM CLI needs to work in the same place; `work` is the folder for builds and their logs.
    """

    stack: str
    session: boto3.Session
    environment: Mapping[str, str] = field(repr=False)
    work: Path
    endpoint_url: str | None = None

    @property
    def local(self) -> bool:
        """Whether this is the local cloud."""
        return self.endpoint_url is not None

    @property
    def place(self) -> str:
        """The target in words."""
        return (
            f"the local cloud at {self.endpoint_url}" if self.local else f"AWS in {self.session.region_name}"
        )

    @cached_property
    def apigateway(self) -> APIGatewayClient:
        return self.session.client("apigateway", endpoint_url=self.endpoint_url, config=_CONFIG)

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        return self.session.client("cloudformation", endpoint_url=self.endpoint_url, config=_CONFIG)

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        return self.session.client("dynamodb", endpoint_url=self.endpoint_url, config=_CONFIG)

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        return self.session.client("logs", endpoint_url=self.endpoint_url, config=_CONFIG)

    @cached_property
    def s3(self) -> S3Client:
        return self.session.client("s3", endpoint_url=self.endpoint_url, config=_CONFIG)

    @cached_property
    def sagemaker(self) -> SageMakerClient:
        return self.session.client("sagemaker", endpoint_url=self.endpoint_url, config=_CONFIG)

    @cached_property
    def stepfunctions(self) -> SFNClient:
        return self.session.client("stepfunctions", endpoint_url=self.endpoint_url, config=_CONFIG)


class NotDeployed(UserError):
    """There is no stack of this name."""


class NotUsable(UserError):
    """The stack is there, but its deployment never came to an end."""


class Outdated(UserError):
    """The stack was deployed by an earlier version, which did not clean up by itself."""


@dataclass(frozen=True)
class Stack:
    """What the deployed stack is made of, from its outputs.

    `api_key_id` is empty when callers sign (AWS_IAM).
    """

    status: str
    bucket: str
    state_machine_arn: str
    endpoint: str
    table: str
    api_url: str
    api_key_id: str
    api_authorization: str


def aws(profile: str, stack: str, region: str | None, home: Path) -> Target:
    """The AWS account of a profile.

    Raises UsageError for an unknown profile, no region or a stack's name that AWS would not take,
    NoCredentialsError when the profile has no credentials.
    """
    # Asked now: it also names a folder.
    if not _STACK.fullmatch(stack):
        raise UsageError(
            f'"{stack}" cannot name a stack.', "Give --stack letters, digits and hyphens, a letter first."
        )
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
    except ProfileNotFound as error:
        known = ", ".join(boto3.Session().available_profiles) or "none"
        raise UsageError(
            f"There is no AWS profile called {profile}; this machine has: {known}.",
            f"Make it with `aws configure --profile {profile}`.",
        ) from error
    if not session.region_name:
        raise UsageError(
            f"The profile {profile} names no region.",
            "Give one with --region, for example --region us-east-1.",
        )
    if session.get_credentials() is None:
        # Asked now, and not by SAM after a minute of building.
        raise NoCredentialsError
    environment = {**os.environ, "AWS_PROFILE": profile, "AWS_REGION": session.region_name}
    environment["AWS_DEFAULT_REGION"] = session.region_name
    return Target(stack, session, environment, home / _AWS_WORK / stack)


def local(cloud: LocalCloud, stack: str) -> Target:
    """The local cloud that is running."""
    # Whatever profile the caller's shell names, the local cloud's keys are the ones to use.
    no_profile: dict[str, Any] = {"profile": (None, [], None, None)}
    session = boto3.Session(
        botocore_session=botocore.session.Session(session_vars=no_profile),
        aws_access_key_id=cloud.access_key_id,
        aws_secret_access_key=cloud.secret_access_key,
        region_name=cloud.region,
    )
    return Target(stack, session, cloud.environment(), cloud.state_dir, cloud.endpoint_url)


def running_local(home: Path, stack: str) -> Target:
    """The local cloud whose state is in `home`. Raises UserError when it is not running."""
    # Imported here: a deployment to AWS needs nothing of the local cloud.
    from localcloud import control

    cloud = control.load(home)
    if cloud is None:
        raise UserError(*not_running(home))
    return local(cloud, stack)


def start_local(home: Path, stack: str) -> Target:
    """The local cloud of `home`, started if it is not running."""
    from localcloud import control

    try:
        return local(control.load(home) or control.start(home, beside=(_AWS_WORK,)), stack)
    except control.LocalCloudError as error:
        raise UserError(str(error)) from error


def not_running(home: Path) -> tuple[str, str]:
    """A sentence and a next step for a local cloud that is not there, or not there any more."""
    aws_hint = "To work on AWS, give --profile or set LEXLINE_PROFILE."
    if home.exists() and any(entry.name != _AWS_WORK for entry in home.iterdir()):
        return (
            "The local cloud has stopped, and what it held is gone with it.",
            f"`lexline up` starts a new one; `lexline down` removes what is left on disk. {aws_hint}",
        )
    return "The local cloud is not running.", f"Start it with `lexline up`. {aws_hint}"


def deployed(target: Target) -> Stack:
    """The stack's outputs. Raises NotDeployed, NotUsable or Outdated."""
    try:
        found = target.cloudformation.describe_stacks(StackName=target.stack)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        found = []
    if not found or found[0]["StackStatus"] == "DELETE_COMPLETE":
        raise NotDeployed(
            f"There is no stack called {target.stack} on {target.place}.",
            "Deploy it with `lexline up`" + ("." if target.local else " and the same --profile."),
        )
    stack = found[0]
    outputs = {output["OutputKey"]: output.get("OutputValue", "") for output in stack.get("Outputs", [])}
    if "StateMachineArn" not in outputs:
        reason = stack.get("StackStatusReason", "")
        raise NotUsable(
            f"The stack {target.stack} is not usable: {stack['StackStatus']}. {reason}".strip(),
            "Try `lexline up` again; if it stays so, `lexline down` and then `lexline up`.",
        )
    if "TableName" not in outputs:
        raise Outdated(
            f"The stack {target.stack} was deployed by an earlier version of Lexline.",
            "Bring it up to date with `lexline up`" + ("." if target.local else " and the same --profile."),
        )
    return Stack(
        status=stack["StackStatus"],
        bucket=outputs["BucketName"],
        state_machine_arn=outputs["StateMachineArn"],
        endpoint=outputs["EndpointName"],
        table=outputs["TableName"],
        api_url=_reachable(target, outputs["ApiId"], outputs["ApiUrl"]),
        api_key_id=outputs.get("ApiKeyId", ""),
        api_authorization=outputs["ApiAuthorization"],
    )


def _reachable(target: Target, api_id: str, url: str) -> str:
    """The API's URL as it can be called.

    The stack names AWS's; on this machine there is another host for it.
    """
    url = url.rstrip("/")
    if not target.local:
        return url
    stage = url.rsplit("/", 1)[1]
    return f"{target.endpoint_url}/restapis/{api_id}/{stage}/_user_request_"
