"""The command as a user sees it: messages, exit codes, and tracebacks only for bugs."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from lexline.aws.stack import NotDeployed, NotUsable, Outdated
from lexline.aws.target import Target
from lexline.core.errors import UserError
from localcloud import control
from tests.unit.lexline.conftest import Patch, run_lexline

pytestmark = pytest.mark.usefixtures("home")


def raising(error: Exception) -> object:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_the_help_lists_every_command() -> None:
    result = run_lexline("--help")
    assert result.exit_code == 0
    for command in (
        "up", "run", "generate", "status", "logs", "models", "deploy", "rollback", "report", "cost", "down",
    ):  # fmt: skip
        assert re.search(rf"^\W+{command}  ", result.output, re.MULTILINE)
        assert "Exit codes: 0" in run_lexline(command, "--help").output


@pytest.mark.parametrize(
    "command",
    ["status", "generate", "logs", "run --dataset a", "models", "deploy 3", "rollback", "report", "cost"],
)
def test_without_a_local_cloud_each_command_says_how_to_start_one(command: str) -> None:
    result = run_lexline(*command.split())
    assert result.exit_code == 1
    assert "The local cloud is not running." in result.output
    assert "lexline up" in result.output
    assert "--profile" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run", "neither a file nor a dataset"),
        ("run --dataset -a", "not a valid dataset name"),
        *(
            (f"run --dataset sotu --set {override}", f"--set {override} is invalid")
            for override in ("epochs", "=3", "model.size=3", "hosting.=1")
        ),
        ("run --dataset sotu --source-commit abcdef0", "Add --source-repo"),
        ("run x.txt --set epochs=3 --force", "options for one run (here: hyperparameters, force)"),
        ("deploy 3 --set epochs=3", "this command trains nothing"),
        ("deploy 3 --set training.spot=false", "this command trains nothing"),
        ("up --parameter Epochs", "--parameter Epochs is invalid"),
        *(
            (f"{command} --stack {stack}", message)
            for command in ("up", "status --profile nobody", "down")
            for stack, message in (
                ("My_Stack", "for example my-stack."),
                ("two--hyphens", "for example two-hyphens."),
                (f"{'a' * 30}-b", f"for example {'a' * 30}."),
                (f"{'a-' * 15}b", f"for example {'a-' * 14}a."),
                ("1st", "for example st."),
                ("../../thesis", "for example thesis."),
                ("42", "for example lexline."),
            )
        ),
    ],
)
def test_invalid_arguments_end_with_2_and_are_named(arguments: str, message: str) -> None:
    result = run_lexline(*arguments.split())
    assert result.exit_code == 2
    assert message in result.output


def test_an_address_with_a_password_is_rejected_and_not_repeated() -> None:
    result = run_lexline("run", "--dataset", "sotu", "--source-repo", "https://me:s3cr3t@git.example.com/a/b")
    assert result.exit_code == 2
    assert "--source-secret" in result.output
    assert "s3cr3t" not in result.output


def test_down_without_a_local_cloud_has_nothing_to_delete() -> None:
    result = run_lexline("down")
    assert result.exit_code == 0
    assert "no local cloud" in result.output


def test_down_asks_before_it_deletes(home: Path) -> None:
    home.mkdir()
    (home / "lock").write_text("{}")
    assert run_lexline("down", answer="n\n").exit_code == 1
    assert home.exists()


class LocalStacks:
    """A running local cloud with stacks of these names, and what the command does to it."""

    def __init__(self, patch: Patch, target: Target, *names: str) -> None:
        self.deleted: list[str] = []
        self.stopped = False
        patch("commands.down.target.for_cloud", lambda cloud, name: replace(target, stack_name=name))
        patch("aws.deletion.stack_names", lambda target: sorted(names))
        patch("aws.stack.read", lambda target: SimpleNamespace(target=target, bucket="the-bucket"))
        patch("aws.deletion.delete_all", lambda stack, show: self.deleted.append(stack.target.stack_name))

    def stop(self, home: Path) -> None:
        self.stopped = True
        shutil.rmtree(home)


@pytest.fixture
def local_stacks(
    home: Path, target: Target, patch: Patch, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., LocalStacks]:
    """local_stacks(*names): let the local cloud have these stacks."""

    def made(*names: str) -> LocalStacks:
        home.mkdir()
        local = LocalStacks(patch, replace(target, endpoint_url="http://127.0.0.1:1"), *names)
        monkeypatch.setattr(control, "load", lambda home: object())
        monkeypatch.setattr(control, "stop", local.stop)
        return local

    return made


def test_down_deletes_one_stack_of_several_and_says_which_remain(
    local_stacks: Callable[..., LocalStacks],
) -> None:
    local = local_stacks("lexline", "lexline-two", "poems")
    result = run_lexline("down", "--stack", "lexline-two", answer="y\n")
    assert result.exit_code == 0
    assert (local.deleted, local.stopped) == (["lexline-two"], False)
    assert "everything in the bucket the-bucket, including your uploads?" in result.output
    assert "The stack lexline-two was deleted" in result.output
    assert "keeps running. Its stacks: lexline, poems." in result.output


@pytest.mark.parametrize("names", [("poems",), ()])
def test_down_stops_the_local_cloud_with_its_last_stack(
    local_stacks: Callable[..., LocalStacks], names: tuple[str, ...]
) -> None:
    """Nothing needs to be deleted from a cloud that forgets everything."""
    local = local_stacks(*names)
    result = run_lexline("down", "--stack", "poems", "--yes")
    assert (local.deleted, local.stopped) == ([], True)
    assert "The local cloud was stopped" in result.output


def test_down_with_an_unknown_stack_deletes_nothing_and_names_the_stacks(
    local_stacks: Callable[..., LocalStacks],
) -> None:
    local = local_stacks("lexline", "poems")
    result = run_lexline("down", "--stack", "peoms", "--yes")
    assert (local.deleted, local.stopped) == ([], False)
    assert "There is no stack peoms on the local cloud. Its stacks: lexline, poems." in result.output


def test_down_removes_a_local_cloud_that_does_not_respond(
    local_stacks: Callable[..., LocalStacks], patch: Patch
) -> None:
    local = local_stacks("lexline")
    patch("aws.deletion.stack_names", raising(EndpointConnectionError(endpoint_url="http://127.0.0.1:1")))
    result = run_lexline("down", "--yes")
    assert "does not respond" in result.output
    assert local.stopped


@pytest.mark.parametrize(
    ("error", "exit_code", "deletes"),
    [
        (NotDeployed("There is no stack lexline."), 0, False),
        (NotUsable("ROLLBACK_COMPLETE"), 0, True),
        # Stacks of an earlier version do not remove what their runs made, and nothing else would.
        (Outdated("An earlier version deployed it.", "Run `lexline up`."), 1, False),
    ],
)
def test_down_on_aws_deletes_only_a_stack_that_leaves_nothing_behind(
    target: Target, patch: Patch, error: UserError, exit_code: int, deletes: bool
) -> None:
    deleted: list[Target] = []
    patch("aws.target.for_profile", target)
    patch("aws.stack.read", raising(error))
    patch("aws.deletion.delete_stack", lambda target, show: deleted.append(target))
    result = run_lexline("down", "--profile", "me", "--yes")
    assert result.exit_code == exit_code
    assert error.message in result.output
    assert error.hint in result.output
    assert deleted == [target] * deletes


@pytest.mark.usefixtures("deployed")
def test_a_bug_shows_its_traceback(patch: Patch) -> None:
    patch("aws.stack.read", raising(ZeroDivisionError()))
    assert isinstance(run_lexline("status").exception, ZeroDivisionError)


def aws_error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (aws_error("ExpiredToken"), "does not accept these credentials"),
        (aws_error("AccessDenied", "not authorized: cloudformation:DescribeStacks"), "DescribeStacks"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"), "local cloud is not running"),
        (EndpointConnectionError(endpoint_url="https://s3.amazonaws.com/"), "AWS cannot be reached"),
        (UserError("There is no stack.", "Deploy it."), "There is no stack.\nDeploy it."),
    ],
)
def test_errors_of_aws_are_explained_in_a_sentence(error: Exception, message: str, patch: Patch) -> None:
    patch("aws.stack.read", raising(error))
    result = run_lexline("status")
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
