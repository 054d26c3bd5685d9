"""`lexline down`: delete a stack, or the local cloud with its last stack."""

from __future__ import annotations

from functools import partial

from botocore.exceptions import BotoCoreError, ClientError

from lexline.aws import deletion, target
from lexline.aws import stack as stacks
from lexline.aws.target import Target
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, Yes, confirm
from lexline.core import lock, paths
from lexline.core.errors import UserError
from lexline.display import terminal


def down(
    yes: Yes = False, profile: Profile = None, stack: StackName = DEFAULT_STACK, region: Region = None
) -> None:
    """Delete the stack with its endpoint, models and data.

    Without --profile, the command also stops the local cloud and deletes its files, unless another stack is
    left there. It asks for confirmation first.
    """
    if profile:
        _delete_stack(target.for_profile(profile, stack, region, paths.home()), yes=yes)
    else:
        _delete_locally(stack, yes=yes)


def _delete_locally(stack_name: str, *, yes: bool) -> None:
    # Import it here, because a deployment to AWS does not need the local cloud.
    from localcloud import control

    console, home = terminal.stdout(), paths.home()
    if not control.is_claimed(home):
        what = f"{home} is not a folder of the local cloud" if home.exists() else "There is no local cloud"
        console.print(f"{what}, so there is nothing to delete.", markup=False)
        return

    def running() -> Target | None:
        return target.for_cloud(cloud, stack_name) if (cloud := control.load(home)) else None

    where = running()
    names = _stack_names(where)
    if names is None:
        console.print("The local cloud does not respond, so its stacks are not known.")
        if stack_name != DEFAULT_STACK:
            raise UserError(
                f"It may have other stacks than {stack_name}, so nothing was deleted.",
                "Try again in a minute, or delete the local cloud with all its stacks: "
                f"`lexline down --stack {DEFAULT_STACK}`.",
            )
    if where and names and names != [stack_name]:
        others = [name for name in names if name != stack_name]
        if stack_name not in names:
            raise UserError(
                f"There is no stack {stack_name} on the local cloud, so nothing was deleted.",
                f"Its stacks: {', '.join(names)}. Name one with --stack.",
            )
        _delete_stack(where, yes=yes)
        console.print(f"The local cloud keeps running. Its stacks: {', '.join(others)}.")
        return
    confirm(f"Stop the local cloud and delete everything in {home}?", yes=yes)
    with lock.only_one(home):
        # `lexline up` may have deployed a stack since the question.
        if names is not None and _stack_names(running()) != names:
            raise UserError(
                "The local cloud's stacks have just changed, so nothing was deleted.",
                "Run `lexline down` again.",
            )
        control.stop(home)
    console.print("The local cloud was stopped, and its files were deleted.")


def _stack_names(cloud: Target | None) -> list[str] | None:
    """Return the names of the local cloud's stacks, or None if it does not respond."""
    try:
        return deletion.stack_names(cloud) if cloud else []
    except (BotoCoreError, ClientError):
        return None


def _delete_stack(where: Target, *, yes: bool) -> None:
    """Delete the stack of a target.

    Raises:
        UserError: There is no such stack, or the user did not confirm.
    """
    console, name = terminal.stdout(), where.stack_name
    show = partial(console.print, markup=False)
    try:
        stack = stacks.read(where)
    except stacks.NotDeployed as error:
        raise UserError(
            error.message, "Nothing was deleted. Check the stack's name, the profile and the region."
        ) from error
    except stacks.NotUsable as error:
        console.print(error.message)
        confirm(f"Delete the stack {name}?", yes=yes)
        deletion.delete_stack(where, show)
        return
    confirm(
        f"Delete the stack {name} on {where.place}, its endpoint and models, and everything in the bucket "
        f"{stack.bucket}, including your uploads?",
        yes=yes,
    )
    deletion.delete_all(stack, show)
    kept = (
        " The account keeps the history of the jobs, the logs under /aws/sagemaker, and the role with which "
        "API Gateway writes logs. They cost almost nothing."
    )
    console.print(f"The stack {name} was deleted with its data and models.{'' if where.local else kept}")
