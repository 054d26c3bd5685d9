"""The command as a user sees it: messages, exit codes, and tracebacks only for bugs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import boto3.exceptions
import botocore.exceptions
import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from typer.main import get_command
from typer.testing import CliRunner

from lexline.aws import sam
from lexline.aws.stack import NotDeployed, NotUsable, Outdated, Stack
from lexline.aws.target import Target
from lexline.cli import app
from lexline.core.errors import UserError
from localcloud import control
from tests.unit.lexline.conftest import Patch, raising, run_lexline

pytestmark = pytest.mark.usefixtures("home")


def test_the_help_lists_every_command() -> None:
    result = run_lexline("--help")
    assert result.exit_code == 0
    for command in (
        "up", "run", "generate", "score", "playground", "status", "datasets", "logs", "models", "deploy",
        "rollback", "report", "cost", "env", "openapi", "down",
    ):  # fmt: skip
        assert re.search(rf"^\W+{command}  ", result.output, re.MULTILINE)
        assert "Exit codes: 0" in run_lexline(command, "--help").output


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "datasets",
        "generate",
        "playground",
        "logs",
        "run --dataset a",
        "models",
        "deploy 3",
        "rollback",
        "report",
        "cost",
        "env",
        "openapi",
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
        ("run --dataset sotu --replace", "--replace needs the files"),
        (
            "run --dataset sotu --incomparable maybe",
            "--incomparable maybe is invalid",
        ),
        *(
            (f"run --dataset sotu --set {first} --set {second}", f"--set {name} is given twice, as {values}.")
            for first, second, name, values in (
                ("epochs=3", "epochs=4", "hyperparameters.epochs", "3 and as 4"),
                ("batch-size=3", "batch_size=3", "hyperparameters.batch_size", "3 and as 3"),
                ("recipe=awd", "hyperparameters.recipe=fast", "hyperparameters.recipe", '"awd" and as fast'),
            )
        ),
        *(
            (f"run --dataset sotu --set {override}", f"--set {override} is invalid")
            for override in ("epochs", "=3", "model.size=3", "hosting.=1")
        ),
        ("run --dataset sotu --source-commit abcdef0", "Add --source-repo"),
        ("deploy 3 --set epochs=3", "this command trains nothing"),
        ("deploy 3 --set training.spot=false", "this command trains nothing"),
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


def test_down_without_a_local_cloud_has_nothing_to_delete(home: Path) -> None:
    result = run_lexline("down")
    assert result.exit_code == 0
    assert "no local cloud" in result.output
    home.mkdir()
    (home / "thesis.txt").touch()
    result = run_lexline("down")
    assert result.exit_code == 0
    assert f"{home} is not a folder of the local cloud, so there is nothing to delete." in result.output


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_down_deletes_nothing_unless_somebody_confirms_it(home: Path, answer: str) -> None:
    home.mkdir()
    (home / "lock").write_text("{}")
    result = run_lexline("down", answer=answer)
    assert result.exit_code == 1
    assert "nothing was deleted" in result.output
    assert "--yes" in result.output
    assert "Aborted" not in result.output
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
        control.claim(home)
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
    assert (result.exit_code, local.deleted, local.stopped) == (1, [], False)
    assert "There is no stack peoms on the local cloud, so nothing was deleted." in result.output
    assert "Its stacks: lexline, poems." in result.output


def test_down_deletes_nothing_if_another_stack_was_deployed_since_the_question(
    local_stacks: Callable[..., LocalStacks], patch: Patch
) -> None:
    local, seen = local_stacks("poems"), [["poems"], ["lexline", "poems"]]
    patch("aws.deletion.stack_names", lambda target: seen.pop(0))
    result = run_lexline("down", "--stack", "poems", answer="y\n")
    assert (result.exit_code, local.deleted, local.stopped) == (1, [], False)
    assert "nothing was deleted" in result.output


def test_down_with_one_stack_deletes_no_others_of_a_local_cloud_that_does_not_respond(
    local_stacks: Callable[..., LocalStacks], patch: Patch
) -> None:
    local = local_stacks("lexline", "poems")
    patch("aws.deletion.stack_names", raising(EndpointConnectionError(endpoint_url="http://127.0.0.1:1")))
    result = run_lexline("down", "--stack", "poems", "--yes")
    assert (result.exit_code, local.stopped) == (1, False)
    assert "`lexline down --stack lexline`" in result.output


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
        (NotDeployed("There is no stack lexline.", ""), 1, False),
        (NotUsable("ROLLBACK_COMPLETE", ""), 0, True),
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
    assert error.hint.replace("lexline up", "lexline up --profile me") in result.output
    assert deleted == [target] * deletes


@pytest.mark.usefixtures("deployed")
def test_a_command_in_a_message_names_the_same_stack(patch: Patch) -> None:
    patch("aws.stack.read", raising(UserError("Nothing.", "Run `lexline up`, then `lexline run FILE`.")))
    output = run_lexline("status", "--stack", "second", "--region", "eu-west-1").output
    given = "--stack second --region eu-west-1"
    assert f"Run `lexline up {given}`, then `lexline run FILE {given}`." in output
    assert "Run `lexline up`, then `lexline run FILE`." in run_lexline("status").output


@pytest.mark.usefixtures("deployed")
def test_a_bug_shows_its_traceback(patch: Patch) -> None:
    patch("aws.stack.read", raising(ZeroDivisionError()))
    assert isinstance(run_lexline("status").exception, ZeroDivisionError)


def test_the_version_is_that_of_the_project() -> None:
    project = Path(__file__).parents[3] / "pyproject.toml"
    assert re.search(r'^version = "(.+)"$', project.read_text(), re.MULTILINE)
    assert re.fullmatch(r"lexline \d+\.\d+\.\d+\n", run_lexline("--version").output)


def aws_error(code: str, message: str = "", operation: str = "DescribeStacks") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def upload_failed(cause: Exception) -> S3UploadFailedError:
    error = S3UploadFailedError(f"Failed to upload a.txt to b/a.txt: {cause}")
    error.__context__ = cause
    return error


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (aws_error("ExpiredToken"), "does not accept these credentials"),
        (aws_error("AccessDenied", "not authorized: cloudformation:DescribeStacks"), "DescribeStacks"),
        (aws_error("RequestTimeTooSkewed"), "clock"),
        (aws_error("KMS.DisabledException", "The key is disabled"), "The key is disabled. Check in AWS KMS"),
        (aws_error("ThrottlingException", "Rate exceeded"), "Try again in a minute."),
        (aws_error("Odd", "No."), "AWS refused DescribeStacks with the error Odd. No."),
        (upload_failed(aws_error("AccessDenied", "No", "PutObject")), "denied access to PutObject. No."),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"), "local cloud is not running"),
        (EndpointConnectionError(endpoint_url="https://s3.amazonaws.com/"), "AWS cannot be reached"),
        (UserError("There is no stack.", "Deploy it."), "There is no stack. Deploy it."),
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b cannot be used: Permission denied."),
        (OSError(28, "No space left on device"), "No space left on device. Check"),
        (KeyboardInterrupt(), "Stopped: The command did not complete."),
    ],
)
def test_errors_are_explained_in_a_sentence(error: BaseException, message: str, patch: Patch) -> None:
    patch("aws.stack.read", raising(error))
    result = run_lexline("status")
    assert result.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


def exception_classes() -> list[type[Exception]]:
    """Every exception class of boto3 and botocore, without warnings."""
    named = {**vars(botocore.exceptions), **vars(boto3.exceptions)}.values()
    classes = [each for each in named if isinstance(each, type) and issubclass(each, Exception)]
    return [each for each in dict.fromkeys(classes) if not issubclass(each, Warning)]


def instance(kind: type[Exception]) -> Exception:
    """An exception of a class, made without its constructor: each has other arguments."""
    error = kind.__new__(kind)
    Exception.__init__(error, "It is odd")
    if isinstance(error, ClientError):
        error.response, error.operation_name = {"Error": {"Code": "Odd"}}, "DescribeStacks"
    return error


ARGUMENTS: dict[str, list[str]] = {
    "up": [],
    "run": ["--dataset", "sotu"],
    "generate": [],
    "score": [__file__],
    "playground": ["--no-browser"],
    "status": [],
    "datasets": [],
    "logs": [],
    "models": [],
    "deploy": ["3"],
    "rollback": [],
    "report": [],
    "cost": [],
    "env": [],
    "openapi": [],
    "down": ["--yes"],
}
"""By command: the arguments that it needs."""


def test_every_command_has_arguments_here() -> None:
    assert list(ARGUMENTS) == [command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]


@pytest.mark.parametrize("command", [*ARGUMENTS, "run FILE"])
def test_no_error_of_boto3_ends_a_command_with_a_traceback(
    command: str, tmp_path: Path, stack: Stack, patch: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus.txt").write_text("My fellow citizens")
    arguments = (
        ["run", str(tmp_path / "corpus.txt")] if command == "run FILE" else [command, *ARGUMENTS[command]]
    )
    monkeypatch.setattr(sam, "deploy", lambda *_: None)
    patch("aws.target.for_profile", stack.target)
    if command not in ("up", "down", "openapi", "playground"):
        patch("aws.stack.read", stack)  # So that the error comes from a later request.
    # To build the commands takes longer than to run one.
    built = get_command(app)
    monkeypatch.setattr("typer.testing._get_command", lambda _: built)
    for kind in exception_classes():
        error = instance(kind)
        monkeypatch.setattr(BaseClient, "_make_api_call", raising(error))
        result = run_lexline(*arguments, "--profile", "me")
        sentence, *next_step = result.stderr.split("\n", 1)
        assert isinstance(result.exception, SystemExit), (kind, result.exception)
        assert result.exit_code == 1, kind
        assert re.match(r"Error: [A-Z].+", sentence), (kind, result.stderr)
        assert next_step[0].strip(), kind


@pytest.mark.parametrize("arguments", ["--help", "run --help", "run --nope", "run --dataset ’", "report"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_terminal_lacks_are_replaced(
    encoding: str, arguments: str, patch: Patch, deployed: Stack
) -> None:
    patch("aws.reports.newest_first", raising(UserError("It says “no” ✗", "\udcff")))
    result = CliRunner(charset=encoding, env={"COLUMNS": "200"}).invoke(app, arguments.split())
    assert isinstance(result.exception, SystemExit | None)
    assert result.output


def test_a_real_process_replaces_characters_too() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "lexline.cli", "run", "--dataset", "“”"]
    result = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)
    assert result.returncode == 2
    assert b'"??" is not a valid dataset name.' in result.stderr


@pytest.mark.parametrize("home_in", ["a file", "below a file", "a folder that nobody can write"])
@pytest.mark.parametrize("command", [*ARGUMENTS])
def test_a_home_that_cannot_be_used_is_named(
    command: str, home_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    # Even root cannot create folders in /proc.
    homes = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "home"}
    home = homes.get(home_in, Path("/proc/lexline"))
    monkeypatch.setenv("LEXLINE_HOME", str(home))
    result = run_lexline(command, *ARGUMENTS[command])
    assert isinstance(result.exception, SystemExit | None)
    # `down` has nothing to delete there.
    assert result.exit_code == (0 if command == "down" else 1)
    if command == "up":
        assert f"The folder {home} cannot be used" in result.output
        assert "Set LEXLINE_HOME" in result.output


SSO = """
[profile sso]
region = us-east-1
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Dev
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = us-east-1
[profile legacy]
region = us-east-1
sso_start_url = https://corp.awsapps.com/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = Dev
[profile partial]
region = us-east-1
aws_access_key_id = AKIA
[profile none]
region = us-east-1
[profile nowhere]
aws_access_key_id = AKIA
aws_secret_access_key = secret
"""


@pytest.mark.parametrize("command", ["up", "status"])
@pytest.mark.parametrize(
    ("profile", "next_step"),
    [
        ("sso", "aws sso login --profile sso"),
        ("legacy", "aws sso login --profile legacy"),
        ("partial", "aws configure --profile partial"),
        ("none", "aws configure --profile none"),
        ("nowhere", "Give one with --region"),
        ("missing", "aws configure --profile missing"),
    ],
)
def test_a_profile_that_cannot_be_used_says_how_to_log_in(
    command: str, profile: str, next_step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(SSO)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    result = run_lexline(command, "--profile", profile)
    assert result.exit_code in (1, 2)
    assert next_step in result.output
