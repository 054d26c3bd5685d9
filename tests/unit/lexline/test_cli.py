"""The command as a user sees it: messages, exit codes, and tracebacks only for bugs."""

import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from lexline.aws.stack import NotDeployed, NotUsable, Outdated
from lexline.aws.target import Target
from lexline.core.errors import UserError
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
        "up", "run", "generate", "status", "logs", "models", "deploy", "rollback", "report", "cost", "env",
        "down",
    ):  # fmt: skip
        assert re.search(rf"^\W+{command}  ", result.output, re.MULTILINE)
        assert "Exit codes: 0" in run_lexline(command, "--help").output


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "generate",
        "logs",
        "run --dataset a",
        "models",
        "deploy 3",
        "rollback",
        "report",
        "cost",
        "env",
    ],
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
