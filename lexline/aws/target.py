"""The place where a command works: an AWS account or the local cloud.

With a profile, commands work on AWS; without one, on the local cloud. Both are reached through the same boto3
clients, so that few other modules need to know which one it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import NoCredentialsError, ProfileNotFound

from lexline.core.errors import Stopped, UsageError, UserError

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

    from localcloud.control import LocalCloud

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=10)
ACCESS = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_DISABLE_HOST_PREFIX_INJECTION",
)
"""The environment variables that decide where the AWS SDK and the AWS CLI work, and as whom."""
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_AWS_BUILDS = "aws"
"""The folder in the home for builds for AWS. It is no sign of a local cloud."""


@dataclass(frozen=True)
class Target:
    """The account and region of one stack, with clients for them.

    Attributes:
        stack_name: Name of the CloudFormation stack, which need not exist.
        session: The boto3 session with credentials and region.
        environment: Environment variables with which a subprocess works in the same place.
        work: Folder for builds and their logs.
        endpoint_url: Address of the local cloud, or None on AWS.
    """

    stack_name: str
    session: boto3.Session
    environment: Mapping[str, str] = field(repr=False)
    work: Path
    endpoint_url: str | None = None

    @property
    def local(self) -> bool:
        """Whether the target is the local cloud."""
        return self.endpoint_url is not None

    @property
    def region(self) -> str:
        """The AWS region."""
        return self.session.region_name

    @property
    def place(self) -> str:
        """The target in words."""
        return f"the local cloud at {self.endpoint_url}" if self.local else f"AWS in {self.region}"

    @property
    def _config(self) -> Config:
        # A proxy cannot reach the local cloud.
        return _CONFIG.merge(Config(proxies={})) if self.local else _CONFIG

    @cached_property
    def apigateway(self) -> APIGatewayClient:
        """Client of API Gateway."""
        return self.session.client("apigateway", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        """Client of CloudFormation."""
        return self.session.client("cloudformation", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        """Client of DynamoDB."""
        return self.session.client("dynamodb", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def functions(self) -> LambdaClient:
        """Client of Lambda."""
        return self.session.client("lambda", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        """Client of CloudWatch Logs."""
        return self.session.client("logs", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def s3(self) -> S3Client:
        """Client of S3."""
        return self.session.client("s3", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def sagemaker(self) -> SageMakerClient:
        """Client of SageMaker."""
        return self.session.client("sagemaker", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def service_quotas(self) -> Any:
        """Client of Service Quotas, for which no type stubs are installed."""
        return self.session.client("service-quotas", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def stepfunctions(self) -> SFNClient:
        """Client of Step Functions."""
        return self.session.client("stepfunctions", endpoint_url=self.endpoint_url, config=self._config)


def for_profile(profile: str, stack_name: str, region: str | None, home: Path) -> Target:
    """Return the AWS account of a profile.

    Raises:
        UsageError: The profile or its region is unknown.
        NoCredentialsError: The profile has no credentials.
    """
    if "//127.0.0.1:" in os.environ.get("AWS_ENDPOINT_URL", ""):
        # `lexline env` has pointed this shell at the local cloud.
        for name in ACCESS:
            os.environ.pop(name, None)
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
    except ProfileNotFound as error:
        known = ", ".join(boto3.Session().available_profiles) or "none"
        raise UsageError(
            f"There is no AWS profile {profile}. The profiles on this machine: {known}.",
            f"Create it with `aws configure --profile {profile}`, or give another one with --profile.",
        ) from error
    if not session.region_name:
        raise UsageError(
            f"The profile {profile} has no region.",
            "Give one with --region, for example --region us-east-1.",
        )
    # Check the credentials now: SAM would notice only after a minute of building that they are missing or
    # expired. With SSO, boto3 does not read the login before the keys are requested, so request them.
    credentials = session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    credentials.get_frozen_credentials()
    regions = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), session.region_name)
    # The SDK prefers keys in the environment to the profile that AWS_PROFILE names.
    others = {name: value for name, value in os.environ.items() if name not in _KEYS}
    environment = {**others, "AWS_PROFILE": profile, **regions}
    return Target(stack_name, session, environment, home / _AWS_BUILDS / stack_name)


def for_cloud(cloud: LocalCloud, stack_name: str) -> Target:
    """Return the target of a running local cloud."""
    # Use the local cloud's keys, whatever profile AWS_PROFILE names.
    no_profile: dict[str, Any] = {"profile": (None, [], None, None)}
    session = boto3.Session(
        botocore_session=botocore.session.Session(session_vars=no_profile),
        aws_access_key_id=cloud.access_key_id,
        aws_secret_access_key=cloud.secret_access_key,
        region_name=cloud.region,
    )
    return Target(stack_name, session, cloud.environment(), cloud.state_dir, cloud.endpoint_url)


def for_running_cloud(home: Path, stack_name: str) -> Target:
    """Return the target of the local cloud whose state is in `home`.

    Raises:
        UserError: The local cloud is not running.
    """
    cloud = cloud_in(home, stack_name)
    if cloud is None:
        raise UserError(*not_running(home))
    return cloud


def cloud_in(home: Path, stack_name: str) -> Target | None:
    """Return the target of the local cloud whose state is in `home`, or None if none is running."""
    # Import it here, because a deployment to AWS does not need the local cloud.
    from localcloud import control

    cloud = control.load(home)
    return for_cloud(cloud, stack_name) if cloud else None


def start_cloud(home: Path, stack_name: str) -> Target:
    """Start a local cloud in `home`, and return its target.

    Raises:
        UserError: The local cloud cannot be started.
        Stopped: The user stopped the command.
    """
    from localcloud import control

    try:
        return for_cloud(control.start(home, beside=(_AWS_BUILDS,)), stack_name)
    except control.OtherFiles as error:
        raise UserError(
            str(error), "Set LEXLINE_HOME to a folder that is empty or does not exist."
        ) from error
    except control.LocalCloudError as error:
        raise UserError(
            str(error), f"Look at {home / 'server.log'} if it exists. `lexline down` deletes what is left."
        ) from error
    except KeyboardInterrupt as interrupt:
        raise Stopped(
            "The local cloud had not started completely, and was ended.", "`lexline up` starts it again."
        ) from interrupt


def not_reached(home: Path, error: Exception) -> tuple[str, str]:
    """Return the message and the hint for a request to a local cloud that failed with this error."""
    from localcloud import control

    if control.load(home) is None:
        return not_running(home)
    return (
        f"The local cloud does not respond, but its process runs: {error}",
        f"Try again in a moment. {home / 'server.log'} may show the reason. If nothing helps: `lexline down` "
        "deletes the local cloud, and `lexline up` starts a new one.",
    )


def not_running(home: Path) -> tuple[str, str]:
    """Return the message and the hint for a local cloud that is not running."""
    from localcloud import control

    on_aws = "To work on AWS instead, give --profile or set LEXLINE_PROFILE."
    if control.is_claimed(home):
        return (
            "The local cloud has stopped. Its data is lost.",
            f"`lexline up` starts a new one; `lexline down` deletes the files that are left. {on_aws}",
        )
    return "The local cloud is not running.", f"Start it with `lexline up`. {on_aws}"
