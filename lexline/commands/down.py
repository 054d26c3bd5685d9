"""`lexline down`: delete everything."""

from __future__ import annotations

from functools import partial

import typer

from lexline.aws import deletion, target
from lexline.aws import stack as stacks
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, Yes
from lexline.core import lock, paths
from lexline.core.errors import UserError
from lexline.display import terminal


def down(
    yes: Yes = False, profile: Profile = None, stack: StackName = DEFAULT_STACK, region: Region = None
) -> None:
    """Delete everything: the stack with its endpoint, models and data; without --profile, the local cloud.

    The command asks for confirmation first.
    """
    if profile:
        _delete_on_aws(profile, stack, region, yes=yes)
    else:
        _delete_local_cloud(yes=yes)


def _delete_local_cloud(*, yes: bool) -> None:
    # Imported here, because a deployment to AWS does not need the local cloud.
    from localcloud import control

    console, home = terminal.stdout(), paths.home()
    if not home.exists():
        console.print("There is no local cloud, so there is nothing to delete.")
        return
    _confirm(f"Stop the local cloud and delete everything in {home}?", yes=yes)
    with lock.only_one(home):
        control.stop(home)
    console.print(
        f"{home} is not a folder of the local cloud, so nothing was deleted."
        if home.exists()
        else "The local cloud was stopped, and its files were deleted."
    )


def _delete_on_aws(profile: str, stack_name: str, region: str | None, *, yes: bool) -> None:
    console = terminal.stdout()
    where = target.for_profile(profile, stack_name, region, paths.home())
    show = partial(console.print, markup=False)
    try:
        stack = stacks.read(where)
    except stacks.NotDeployed as error:
        console.print(error.message)
        return
    except stacks.NotUsable as error:
        console.print(error.message)
        _confirm(f"Delete the stack {stack_name}?", yes=yes)
        deletion.delete_stack(where, show)
        return
    _confirm(
        f"Delete the stack {stack_name} in {where.region}, its endpoint and models, and everything in the "
        f"bucket {stack.bucket}, including your uploads?",
        yes=yes,
    )
    deletion.delete_all(stack, show)
    console.print(
        f"The stack {stack_name} was deleted with its data and models. The account keeps the history of the "
        "jobs, the logs under /aws/sagemaker, and the role with which API Gateway writes logs. They cost "
        "almost nothing."
    )


def _confirm(question: str, *, yes: bool) -> None:
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
