"""What a person at a terminal gets: words, exit codes, and never a traceback for a mistake of theirs."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from click.testing import Result
from typer.testing import CliRunner

from lexline import cli
from lexline.errors import UserError
from lexline.follow import Snapshot
from lexline.runs import Run, Uploaded
from lexline.target import Stack, Target
from tests.unit.lexline.conftest import EXECUTION

WHEN = datetime(2026, 11, 23, tzinfo=UTC)
RUN = Run(EXECUTION + "one", "RUNNING", WHEN, None)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with no local cloud in it, and no profile from the shell."""
    for name in ("LEXLINE_PROFILE", "LEXLINE_STACK", "LEXLINE_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LEXLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def deployed(target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that is there, as far as the command can see."""
    monkeypatch.setattr(cli, "_target", lambda *_: target)
    monkeypatch.setattr(cli.target, "deployed", lambda _: stack)


def lexline(*words: str) -> Result:
    return CliRunner().invoke(cli.app, list(words))


def snapshot(status: str, report: dict[str, Any] | None = None) -> Snapshot:
    return Snapshot(RUN, "sotu", status, report=report)


def follows(monkeypatch: pytest.MonkeyPatch, outcome: Callable[[], Snapshot]) -> None:
    monkeypatch.setattr(cli, "follow", lambda *_: outcome())


def test_the_six_commands_are_there() -> None:
    result = lexline("--help")
    assert result.exit_code == 0
    for command in ("up", "run", "generate", "status", "logs", "down"):
        assert command in result.output


@pytest.mark.parametrize("command", [("status",), ("generate",), ("logs",), ("run", "--dataset", "sotu")])
def test_without_a_local_cloud_each_command_says_how_to_start_one(command: tuple[str, ...]) -> None:
    result = lexline(*command)
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
        (("run", "x.txt", "--set", "epochs=3"), "DATA does not go with --set"),
        (("up", "--parameter", "Epochs"), "not understood"),
    ],
)
def test_bad_usage_ends_with_2_and_names_what_is_wrong(words: tuple[str, ...], complaint: str) -> None:
    result = lexline(*words)
    assert result.exit_code == 2
    assert complaint in result.output


@pytest.mark.usefixtures("deployed")
class TestRun:
    def test_a_run_that_succeeds_ends_with_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli.runs, "start", lambda *_: RUN)
        follows(monkeypatch, lambda: snapshot("SUCCEEDED", {"status": "Skipped", "reason": "Nothing new."}))
        result = lexline("run", "--dataset", "sotu")
        assert result.exit_code == 0
        assert "Nothing new." in result.output

    def test_a_run_that_fails_ends_with_1_and_its_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli.runs, "start", lambda *_: RUN)
        error = {"step": "Prepare", "message": "Not UTF-8 at byte 3"}
        follows(monkeypatch, lambda: snapshot("FAILED", {"status": "Failed", "reason": "", "error": error}))
        result = lexline("run", "--dataset", "sotu")
        assert result.exit_code == 1
        assert "The run failed in Prepare: Not UTF-8 at byte 3." in result.output

    def test_ctrl_c_leaves_the_run_and_says_how_to_come_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted() -> Snapshot:
            raise KeyboardInterrupt

        monkeypatch.setattr(cli.runs, "start", lambda *_: RUN)
        follows(monkeypatch, interrupted)
        result = lexline("run", "--dataset", "sotu")
        assert result.exit_code == 130
        assert "The run goes on without you." in result.output
        assert f"lexline status --follow {RUN.id}" in result.output

    def test_settings_reach_the_execution(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []

        def start(target: Target, stack: Stack, dataset: str, request: dict[str, Any]) -> Run:
            asked.extend([dataset, request])
            return RUN

        monkeypatch.setattr(cli.runs, "start", start)
        follows(monkeypatch, lambda: snapshot("SUCCEEDED", {"status": "Skipped", "reason": "."}))
        lexline(
            "run", "--dataset", "sotu", "--set", "epochs=3", "--teardown", "always", "--max-perplexity", "90"
        )
        assert asked == [
            "sotu",
            {"hyperparameters": {"epochs": 3}, "teardown": "always", "max_perplexity": 90.0},
        ]

    def test_a_file_is_uploaded_and_its_own_run_followed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = tmp_path / "Speeches[bold].txt"
        corpus.write_text("My fellow citizens")
        uploads: list[tuple[str, Path]] = []

        def upload(
            target: Target, stack: Stack, dataset: str, path: Path, sent: Callable[[int], None]
        ) -> Uploaded:
            sent(18)
            uploads.append((dataset, path))
            return Uploaded(f"uploads/{dataset}/{path.name}", "etag", "v1")

        monkeypatch.setattr(cli.runs, "upload", upload)
        monkeypatch.setattr(cli.runs, "started_by", lambda *_, **__: RUN)
        follows(monkeypatch, lambda: snapshot("SUCCEEDED", {"status": "Skipped", "reason": "."}))
        result = lexline("run", str(corpus))
        assert result.exit_code == 0
        assert uploads == [("speeches-bold", corpus)]
        into = "s3://lexline-bucket/uploads/speeches-bold/"
        assert f"Uploaded Speeches[bold].txt (18 bytes) to {into}" in result.output


class FakeApi:
    """Stands for the HTTP API: answers with what it was asked."""

    def __init__(self, *_: Any) -> None:
        return

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"text": f"asked for {sorted(body.items())}"}

    def curl(self, path: str, body: dict[str, Any]) -> str:
        return f"curl {path} -H 'x-api-key: s3cr3t'"


@pytest.mark.usefixtures("deployed")
class TestGenerate:
    @pytest.fixture(autouse=True)
    def _api(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "HttpApi", FakeApi)

    def test_it_asks_only_for_what_it_was_told_and_prints_the_text(self) -> None:
        result = lexline("generate", "--words", "7", "--prompt", "My fellow")
        assert result.output == "asked for [('prompt', 'My fellow'), ('words', 7)]\n"

    def test_the_words_of_a_corpus_do_not_steer_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "a\x1b]0;title\x07 b\x9b31m\nc\td\u200c"
        monkeypatch.setattr(FakeApi, "post", lambda *_: {"text": text})
        result = CliRunner().invoke(cli.app, ["generate"], color=True)
        assert result.output == "a]0;title b31m\nc\td\u200c\n"

    def test_the_key_is_shown_only_when_the_curl_command_line_is_asked_for(self) -> None:
        assert "s3cr3t" not in lexline("generate").output
        assert lexline("generate", "--curl").output.startswith("$ curl /generate -H 'x-api-key: s3cr3t'\n")


def test_down_without_a_local_cloud_says_that_there_is_none() -> None:
    result = lexline("down")
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
    monkeypatch.setattr(cli.target, "aws", lambda *_: target)
    monkeypatch.setattr(cli.target, "deployed", deployed)
    monkeypatch.setattr(cli.removal, "delete_stack", lambda where, say: deleted.append(where.stack))
    return deleted


def test_down_without_a_stack_has_nothing_to_do(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted = aws_stack(monkeypatch, target, cli.target.NotDeployed("There is no stack called lexline."))
    result = lexline("down", "--profile", "me", "--yes")
    assert result.exit_code == 0
    assert "There is no stack called lexline." in result.output
    assert deleted == []


def test_down_takes_away_a_stack_that_never_came_up(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted = aws_stack(monkeypatch, target, cli.target.NotUsable("ROLLBACK_COMPLETE"))
    assert lexline("down", "--profile", "me", "--yes").exit_code == 0
    assert deleted == ["lexline"]


@pytest.mark.usefixtures("deployed")
def test_a_bug_is_not_dressed_up_as_a_mistake_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Stack:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.target, "deployed", broken)
    assert isinstance(lexline("status").exception, ZeroDivisionError)


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

    monkeypatch.setattr(cli.target, "deployed", fails)
    result = lexline("status")
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
