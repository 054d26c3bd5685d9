"""What several subcommands share: their options, and where they work."""

from __future__ import annotations

from typing import Annotated

import typer

from lexline import project, target
from lexline.target import Target

DEFAULT_STACK = "lexline"
INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""

Profile = Annotated[
    str | None,
    typer.Option("--profile", envvar="LEXLINE_PROFILE", help="AWS profile. Without one: the local cloud."),
]
StackName = Annotated[str, typer.Option("--stack", envvar="LEXLINE_STACK", help="Name of the stack.")]
Region = Annotated[
    str | None,
    typer.Option("--region", envvar="LEXLINE_REGION", help="AWS region, if not the profile's own."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Last = Annotated[int, typer.Option("--last", min=1, help="How many, newest first.")]


def located(profile: str | None, stack: str, region: str | None) -> Target:
    """The AWS account of the profile; without one, the local cloud that runs."""
    if profile:
        return target.aws(profile, stack, region, project.home())
    return target.running_local(project.home(), stack)
