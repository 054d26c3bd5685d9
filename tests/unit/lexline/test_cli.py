"""What a person at a terminal gets: words, exit codes, and never a traceback for a mistake of theirs."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from typer.testing import CliRunner

import lexline.target
from lexline import cli, removal
from lexline.errors import UserError
from lexline.target import NotDeployed, NotUsable, Outdated, Stack, Target
from tests.unit.lexline.conftest import run_lexline

pytestmark = pytest.mark.usefixtures("home")

COMMANDS = [
    "up", "run", "generate", "status", "logs", "models", "deploy", "rollback", "report", "cost", "down",
]  # fmt: skip


def test_every_command_is_in_the_help() -> None:
    result = run_lexline("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"│ {command} " in result.output


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("generate",),
        ("logs",),
        ("run", "--dataset", "sotu"),
        ("models",),
        ("deploy", "3"),
        ("rollback",),
        ("report",),
        ("cost",),
    ],
)
def test_without_a_local_cloud_each_command_says_how_to_start_one(command: tuple[str, ...]) -> None:
    result = run_lexline(*command)
    assert result.exit_code == 1
    assert "The local cloud is not running." in result.output
    assert "lexline up" in result.output
    assert "--profile" in result.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run",), "nothing to run"),
        (("run", "nowhere.txt"), "no file nowhere.txt"),
        (("run", "--dataset", "a b"), "cannot name a dataset"),
        (("run", "--dataset", "sotu", "--set", "epochs"), "not understood"),
        (("run", "--dataset", "sotu", "--teardown", "after:8h"), "--teardown after:8h is not understood"),
        (("run", "--dataset", "sotu", "--source-commit", "abcdef0"), "none is named"),
        (("run", "x.txt", "--set", "epochs=3", "--force"), "settings of one run (hyperparameters, force)"),
        (("deploy", "3", "--set", "epochs=3"), "here nothing is trained"),
        (("up", "--parameter", "Epochs"), "not understood"),
    ],
)
def test_bad_usage_ends_with_2_and_names_what_is_wrong(words: tuple[str, ...], complaint: str) -> None:
    result = run_lexline(*words)
    assert result.exit_code == 2
    assert complaint in result.output


def test_an_address_with_a_password_is_refused_and_not_repeated() -> None:
    result = run_lexline("run", "--dataset", "sotu", "--source-repo", "https://me:s3cr3t@git.example.com/a/b")
    assert result.exit_code == 2
    assert "--source-secret" in result.output
    assert "s3cr3t" not in result.output


def test_down_without_a_local_cloud_says_that_there_is_none() -> None:
    result = run_lexline("down")
    assert result.exit_code == 0
    assert "no local cloud" in result.output


def test_down_asks_before_it_deletes(home: Path) -> None:
    home.mkdir()
    (home / "lock").write_text("{}")
    result = CliRunner().invoke(cli.app, ["down"], input="n\n")
    assert result.exit_code == 1
    assert home.exists()


def aws_stack(monkeypatch: pytest.MonkeyPatch, target: Target, outcome: Exception) -> list[str]:
    """A profile whose stack is not there or not usable; gives back the stacks that were deleted."""

    def deployed(_: Target) -> Stack:
        raise outcome

    deleted: list[str] = []
    monkeypatch.setattr(lexline.target, "aws", lambda *_: target)
    monkeypatch.setattr(lexline.target, "deployed", deployed)
    monkeypatch.setattr(removal, "delete_stack", lambda where, say: deleted.append(where.stack))
    return deleted


def test_down_without_a_stack_has_nothing_to_do(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted = aws_stack(monkeypatch, target, NotDeployed("There is no stack called lexline."))
    result = run_lexline("down", "--profile", "me", "--yes")
    assert result.exit_code == 0
    assert "There is no stack called lexline." in result.output
    assert deleted == []


def test_down_takes_away_a_stack_that_never_came_up(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted = aws_stack(monkeypatch, target, NotUsable("ROLLBACK_COMPLETE"))
    assert run_lexline("down", "--profile", "me", "--yes").exit_code == 0
    assert deleted == ["lexline"]


def test_down_leaves_a_stack_that_would_not_take_its_endpoint_along(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stacks of an earlier version do not remove what their runs made, and nothing else would.
    deleted = aws_stack(monkeypatch, target, Outdated("It is of an earlier version.", "`lexline up`"))
    result = run_lexline("down", "--profile", "me", "--yes")
    assert result.exit_code == 1
    assert "`lexline up`" in result.output
    assert deleted == []


@pytest.mark.usefixtures("deployed")
def test_a_bug_is_not_dressed_up_as_a_mistake_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Stack:
        raise ZeroDivisionError

    monkeypatch.setattr(lexline.target, "deployed", broken)
    assert isinstance(run_lexline("status").exception, ZeroDivisionError)


def aws_error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (aws_error("ExpiredToken"), "does not accept these credentials"),
        (
            aws_error("AccessDenied", "not authorized to perform: cloudformation:DescribeStacks"),
            "DescribeStacks",
        ),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"), "local cloud is not running"),
        (EndpointConnectionError(endpoint_url="https://s3.amazonaws.com/"), "No connection to AWS"),
        (UserError("There is no stack.", "Deploy it."), "There is no stack.\nDeploy it."),
    ],
)
def test_troubles_with_aws_are_told_in_a_sentence(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Stack:
        raise error

    monkeypatch.setattr(lexline.target, "deployed", fails)
    result = run_lexline("status")
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
