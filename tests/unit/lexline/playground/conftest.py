"""The page's server, and a client that sends what the page sends."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from lexline.aws.stack import Stack
from lexline.display import terminal
from lexline.playground import server
from lexline.playground.local_models import LocalModels

PORT = 8123
TOKEN = "token-of-this-server"
PAGE = f"http://127.0.0.1:{PORT}"


@pytest.fixture(autouse=True)
def _no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command was started without options. Those of another test's command would be in messages."""
    monkeypatch.setattr(terminal, "stack_options", {})


@pytest.fixture
def client(stack: Stack, tmp_path: Path) -> Iterator[TestClient]:
    """A browser on this machine, without the token."""
    with LocalModels(stack, tmp_path / "models") as models:
        yield TestClient(
            server.application(stack, PORT, TOKEN, models), base_url=PAGE, raise_server_exceptions=False
        )


@pytest.fixture
def page(client: TestClient) -> TestClient:
    """The page, with the token."""
    client.headers |= {"Authorization": f"Bearer {TOKEN}", "Origin": PAGE, "Sec-Fetch-Site": "same-origin"}
    return client


@pytest.fixture
def ask(page: TestClient) -> Callable[..., Any]:
    """ask(operation, **fields): what the server returns, which must not be an error."""

    def send(operation: str, **fields: Any) -> Any:
        response = page.post(f"/api/{operation}", json=fields)
        assert response.status_code == 200, response.text
        return response.json()

    return send
