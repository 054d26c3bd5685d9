"""Nobody but the page that the user opened may use the server."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from lexline.playground import guard, server
from tests.unit.lexline.conftest import Patch
from tests.unit.lexline.playground.conftest import PAGE, PORT, TOKEN

STATIC = Path(server.__file__).with_name("static")
OPERATIONS = [
    "stack", "generate", "score", "curl", "models", "history", "overview", "run", "rollback-plan", "rollback",
    "deploy",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _models(patch: Patch) -> None:
    patch("aws.endpoint.read", None)
    patch("aws.models.newest", [])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer é"])
def test_no_operation_works_without_the_token(client: TestClient, operation: str, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode()}
    response = client.post(f"/api/{operation}", json={}, headers=headers)
    assert response.status_code == 401
    assert "`lexline playground`" in response.json()["hint"]


def test_the_page_is_let_in(page: TestClient) -> None:
    assert page.post("/api/models", json={}).status_code == 200
    localhost = {"Host": f"localhost:{PORT}", "Origin": f"http://localhost:{PORT}"}
    assert page.post("/api/models", json={}, headers=localhost).status_code == 200


@pytest.mark.parametrize("path", ["/", "/main.js", "/api/models", "/report/x/y"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"127.0.0.1:{PORT}.a"],
)
def test_a_name_that_is_rebound_to_this_machine_gets_nothing(page: TestClient, host: str, path: str) -> None:
    assert page.get(path, headers={"Host": host}).status_code == 421
    assert page.post(path, json={}, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("path", ["/", "/main.js", "/api/models"])
@pytest.mark.parametrize(
    "origin",
    ["null", "https://evil.example", "http://127.0.0.1", f"http://127.0.0.1:{PORT + 1}", f"{PAGE}.a"],
)
def test_another_origin_is_refused_even_with_the_token(page: TestClient, origin: str, path: str) -> None:
    assert page.post(path, json={}, headers={"Origin": origin}).status_code == 403
    assert page.get(path, headers={"Origin": origin}).status_code == 403


NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_from_elsewhere_only_the_page_itself_can_be_opened(client: TestClient) -> None:
    for site in ("cross-site", "same-site"):
        elsewhere = {"Sec-Fetch-Site": site}
        assert client.get("/", headers={**elsewhere, **NAVIGATION}).status_code == 200
        for path, headers in {
            "/": {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
            "/?": {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
            "/main.js": {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
            "/report/x/y": NAVIGATION,
        }.items():
            assert client.get(path, headers={**elsewhere, **headers}).status_code == 403, path
        assert client.post("/", headers={**elsewhere, **NAVIGATION}).status_code == 403


def test_an_operation_takes_only_json_which_no_form_can_send(page: TestClient) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = page.post("/api/models", content="{}", headers={"Content-Type": content_type})
        assert response.status_code == 415
    assert page.get("/api/models").status_code in (404, 405)


def test_every_response_has_the_headers_that_protect_the_page(client: TestClient) -> None:
    responses = [
        client.get("/"),
        client.get("/main.js"),
        client.get("/none"),
        client.post("/api/models", json={}),
    ]
    responses.append(client.get("/", headers={"Host": "evil.example"}))
    assert {response.status_code for response in responses} == {200, 401, 404, 421}
    for response in responses:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; " in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        assert "access-control-allow-origin" not in response.headers
        assert "set-cookie" not in response.headers


def test_a_report_has_an_address_of_its_own_and_no_scripts(client: TestClient, patch: Patch) -> None:
    patch("aws.reports.find", lambda stack, run: run)
    patch("aws.reports.page", lambda stack, run: f"<script>{run}</script>".encode())
    response = client.get(f"/report/one/{guard.signature(TOKEN, 'one')}")
    assert response.text == "<script>one</script>"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-popups; default-src 'none'; ")
    assert "script" not in policy
    assert "allow-scripts" not in policy
    for path in (
        "one/",
        "one/x",
        f"two/{guard.signature(TOKEN, 'one')}",
        f"one/{guard.signature('x', 'one')}",
    ):
        assert client.get(f"/report/{path}").status_code in (403, 404), path


def test_tokens_cannot_be_guessed() -> None:
    tokens = {guard.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 43


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_the_page_loads_nothing_from_elsewhere_and_inserts_no_html(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w/.]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
    )
    assert not re.search(r"<script(?! type=\"module\" src=\"main.js\")|<style|\son\w+=|\sstyle=", text)
