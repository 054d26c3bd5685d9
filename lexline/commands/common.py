"""Code that several commands share: options, the connection to the stack, and following a run."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from lexline.aws import client_errors, outlook, target
from lexline.aws import stack as stacks
from lexline.aws.outlook import Outlook
from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.aws.watcher import Snapshot, Watcher
from lexline.core import paths
from lexline.core.errors import Stopped, UsageError, UserError
from lexline.display import next_steps, result, run_progress, terminal

DEFAULT_STACK = "lexline"
INTERRUPTED = Stopped.exit_code


def _remember(option: typer.CallbackParam, value: str | None) -> str | None:
    """Keep the value for messages."""
    if value is not None and value != option.default:
        terminal.stack_options[option.opts[0]] = value
    return value


Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        envvar="LEXLINE_PROFILE",
        callback=_remember,
        help="AWS profile. Without one: the local cloud.",
    ),
]


def _check_stack_name(option: typer.CallbackParam, name: str) -> str:
    """Return the name of a stack, if the stack's bucket and endpoint can be named after it.

    The bucket is STACK-ACCOUNT-REGION, and S3 allows 63 characters. The rest is core.names.prefix's rule.

    Raises:
        UsageError: The name is too long, or has other characters.
    """
    if len(name) <= 30 and re.fullmatch(r"[a-z](-?[a-z0-9])*", name):
        _remember(option, name)
        return name
    similar = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789")[:30].strip("-")
    raise UsageError(
        f'"{name}" is not a valid stack name. The name begins with a letter, and has at most 30 lower-case '
        "letters, digits and single hyphens between them, because the endpoint and the bucket are named "
        "after the stack.",
        f"Choose another name with --stack, for example {similar or DEFAULT_STACK}.",
    )


StackName = Annotated[
    str,
    typer.Option("--stack", envvar="LEXLINE_STACK", help="Name of the stack.", callback=_check_stack_name),
]
Region = Annotated[
    str | None,
    typer.Option(
        "--region",
        envvar="LEXLINE_REGION",
        help="AWS region. Default: the profile's region.",
        callback=_remember,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Last = Annotated[int, typer.Option("--last", min=1, help="Number of rows, newest first.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def connect(profile: str | None, stack_name: str, region: str | None) -> Stack:
    """Return the stack on AWS if there is a profile, or else the stack on the running local cloud."""
    if profile:
        return stacks.read(target.for_profile(profile, stack_name, region, paths.home()))
    return stacks.read(target.for_running_cloud(paths.home(), stack_name))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is deleted, unless the user has given --yes.

    Raises:
        UserError: The answer is no, or there is no terminal to ask on.
    """
    try:
        confirmed = yes or typer.confirm(question)
    except typer.Abort:
        # The input has ended: there is no terminal.
        typer.echo()
        confirmed = False
    if not confirmed:
        raise UserError(
            "The deletion was not confirmed, so nothing was deleted.",
            "To confirm without a terminal, add --yes.",
        )


def follow(console: Console, stack: Stack, run: Run) -> None:
    """Show a run until it ends, then its result.

    Raises:
        typer.Exit: With code 1 if the run did not succeed, with 130 after Ctrl-C.
    """
    console.print(terminal.plain(f"Run {run.id} ({run.name})"), markup=False)
    try:
        last = run_progress.follow(
            Watcher(stack, run), console, local=stack.target.local, outlook_of=partial(_outlook, stack)
        )
    except KeyboardInterrupt:
        console.print(
            "\nStopped following. The run continues.\n"
            f"  lexline status --follow {run.id}{terminal.options()}    follow it again\n"
            f"  lexline logs {run.id} --follow{terminal.options()}      show the output of the training job",
            markup=False,
        )
        raise typer.Exit(INTERRUPTED) from None
    print_result(console, last)
    if not last.succeeded:
        raise typer.Exit(1)


def _outlook(stack: Stack, snapshot: Snapshot) -> Outlook:
    try:
        return outlook.of(stack, snapshot.plan)
    except client_errors.ERRORS:
        # This user may not read the bucket. Following a run does not need an estimate.
        return Outlook()


def print_result(console: Console, snapshot: Snapshot) -> None:
    """Print the result of a run that has ended, and what to do next."""
    console.print()
    for line in result.lines_for(snapshot):
        terminal.prose(console, line)
    next_steps.show(console, snapshot)
