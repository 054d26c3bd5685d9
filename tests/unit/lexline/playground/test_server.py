"""The server: requests that fail end as a sentence and a next step."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from starlette.testclient import TestClient

from lexline.aws.stack import Stack
from lexline.core.errors import UsageError, UserError
from lexline.display import terminal
from lexline.playground import guard, server
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.unit.lexline.playground.conftest import TOKEN
from tests.unit.lexline.samples import MODELS


def refusal(page: TestClient, content: bytes = b"{}") -> tuple[int, dict[str, Any]]:
    response = page.post("/api/models", content=content, headers={"Content-Type": "application/json"})
    return response.status_code, response.json()


def failing(patch: Patch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    patch("aws.endpoint.read", fail)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UsageError("seed must be a number.", "Correct it."), 400, "seed must be a number."),
        (UserError("The endpoint is gone.", "Deploy."), 502, "The endpoint is gone."),
        (
            ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"),
            502,
            "AWS denied access to GetObject.",
        ),
        (NoCredentialsError(), 502, "This machine has no AWS credentials"),
        (RuntimeError("a bug"), 502, "The playground's server failed on this request."),
    ],
)
def test_an_error_has_a_message_and_a_next_step(
    page: TestClient, patch: Patch, error: Exception, status: int, message: str
) -> None:
    failing(patch, error)
    found, document = refusal(page)
    assert found == status
    assert document["message"].startswith(message)
    assert document.keys() == {"message", "hint"}


def test_the_commands_of_a_hint_name_the_stack(
    page: TestClient, patch: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "stack_options", {"--stack": "second"})
    failing(patch, UserError("It does not serve.", "See `lexline status`."))
    assert refusal(page)[1]["hint"] == "See `lexline status --stack second`."


@pytest.mark.parametrize("content", [b"[]", b"7", b"{", b"\xff", b"null"])
def test_a_body_that_is_no_object_is_refused(page: TestClient, content: bytes) -> None:
    assert refusal(page, content)[0] == 400


def test_a_body_that_is_too_long_is_refused(page: TestClient) -> None:
    status, document = refusal(page, b" " * 3_000_000)
    assert (status, document["message"]) == (400, "The request has more than 2,097,152 bytes.")


def test_a_number_that_json_lacks_is_null(page: TestClient, patch: Patch) -> None:
    patch("aws.endpoint.read", None)
    figures = {"test_perplexity": float("inf"), "test_unknown_share": float("nan")}
    patch("aws.models.newest", [replace(MODELS[0], **figures)])
    status, (model,) = refusal(page)
    assert (status, model["perplexity"], model["unknown_share"]) == (200, None, None)


def test_a_report_that_does_not_exist_says_so(client: TestClient, patch: Patch) -> None:
    def fail(*_: object) -> None:
        raise UserError("The run one has no report.", "See `lexline status`.")

    patch("aws.reports.find", fail)
    response = client.get(f"/report/one/{guard.signature(TOKEN, 'one')}")
    assert response.status_code == 502
    assert response.headers["Content-Type"].startswith("text/plain")
    assert "has no report" in response.text


class TestCommand:
    @pytest.fixture(autouse=True)
    def _served(self, deployed: Stack, patch: Patch) -> list[Any]:
        """The server does not listen: what uvicorn is given is kept."""
        self.sockets: list[socket.socket] = []
        self.opened: list[str] = []

        def serve(_: object, sockets: list[socket.socket]) -> None:
            self.sockets = [sockets[0].dup()]
            self.page = [Path(address.removeprefix("file://")).read_text() for address in self.opened]
            self.modes = [Path(a.removeprefix("file://")).parent.stat().st_mode & 0o077 for a in self.opened]
            raise KeyboardInterrupt

        patch("playground.server.uvicorn.Server.run", serve)
        patch("playground.server.webbrowser.open", self.opened.append)
        return self.sockets

    def test_it_listens_on_loopback_only_and_ctrl_c_is_its_usual_end(self) -> None:
        result = run_lexline("playground", "--no-browser")
        assert result.exit_code == 0
        host, port = self.sockets[0].getsockname()
        assert host == "127.0.0.1"
        assert f"http://127.0.0.1:{port}/#" in result.output
        assert "Ctrl-C stops" in result.output
        assert "The playground has stopped." in result.output
        assert self.opened == []

    def test_without_a_screen_no_browser_is_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
        assert "/#" in run_lexline("playground").output
        assert self.opened == []

    def test_the_browser_opens_the_page_through_a_file_that_others_cannot_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DISPLAY", ":0")
        output = run_lexline("playground").output
        (address,) = [line.strip() for line in output.splitlines() if "/#" in line]
        token = address.partition("#")[2]
        assert [address in page for page in self.page] == [True]
        assert self.modes == [0]
        # Others see the arguments of the browser's process.
        assert not any(token in opened for opened in self.opened)
        assert not Path(self.opened[0].removeprefix("file://")).exists()

    def test_a_port_that_is_in_use_is_named(self) -> None:
        with socket.create_server((server.HOST, 0)) as other:
            result = run_lexline("playground", "--port", str(other.getsockname()[1]))
        assert result.exit_code == 1
        assert "cannot be used: Address already in use." in result.output
        assert "--port" in result.output
