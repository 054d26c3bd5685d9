"""`lexline env`: print environment variables for the AWS CLI, curl and the AWS SDKs."""

from __future__ import annotations

import json
import shlex
from enum import StrEnum
from typing import Annotated

import typer

from lexline.aws.http_api import HttpApi
from lexline.aws.target import ACCESS
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect

_OPTIONAL = ("API_KEY", "NOTEBOOK_ROLE_ARN")
_PAST_PROXIES = ("NO_PROXY", "no_proxy")


class Format(StrEnum):
    """The formats of the output."""

    sh = "sh"
    dotenv = "dotenv"
    json = "json"


def env(
    output_format: Annotated[
        Format,
        typer.Option("--format", help="Commands for a shell, lines NAME=value for a .env file, or JSON."),
    ] = Format.sh,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Print environment variables with which other programs reach the stack: eval "$(lexline env)".

    With these variables the AWS CLI and the AWS SDKs work on the local cloud, or on AWS with the profile. In
    both cases STACK_NAME, BUCKET, STATE_MACHINE_ARN, ENDPOINT_NAME, TOPIC_ARN, API_URL and API_KEY describe
    the stack. There is no API_KEY if callers of the API sign their requests (AWS_IAM), and NOTEBOOK_ROLE_ARN
    only if the stack has the parameter NotebookRole=CREATE, as on the local cloud. The output is secret: it
    contains the API key, and the credentials of the local cloud.
    """
    found = connect(profile, stack, region)
    variables = {
        **{
            name: found.target.environment[name]
            for name in (*ACCESS, *_PAST_PROXIES)
            if name in found.target.environment
        },
        "STACK_NAME": found.target.stack_name,
        "BUCKET": found.bucket,
        "STATE_MACHINE_ARN": found.state_machine_arn,
        "ENDPOINT_NAME": found.endpoint,
        "TOPIC_ARN": found.topic_arn,
        "API_URL": found.api_url,
        **({"API_KEY": HttpApi(found).api_key()} if found.api_key_id else {}),
        **({"NOTEBOOK_ROLE_ARN": found.notebook_role_arn} if found.notebook_role_arn else {}),
    }
    if output_format is Format.json:
        typer.echo(json.dumps(variables, indent=2))
        return
    prefix = ""
    if output_format is Format.sh:
        # The shell may still have the variables of another account or of another stack.
        typer.echo(f"unset {' '.join(name for name in (*ACCESS, *_OPTIONAL) if name not in variables)}")
        prefix = "export "
    for name, value in variables.items():
        typer.echo(f"{prefix}{name}={shlex.quote(value)}")
