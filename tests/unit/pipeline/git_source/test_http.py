"""Whatever a Git server does: an error with a next step, in time, and never with the credentials."""

import base64
import itertools
import json
import logging
import re
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from core import errors
from git_source import server as git_server
from git_source.credentials import Credentials
from git_source.repository import Checkout
from tests.unit.pipeline.git_source.git_server import SCRIPTS, Door, Repository, checkout, serving

PASSWORD = "glpat-Zm9v/b+r=secret"
LOGIN = f"reader:{PASSWORD}"
ENCODED = base64.b64encode(LOGIN.encode()).decode()
GIVEN = Credentials("reader", PASSWORD, secret="lexline/git")
HOST = "git.example.com:8443"
TOKEN = Credentials.parse(json.dumps({"host": HOST, "token": PASSWORD}), "lexline/git", HOST)
ADVERTISED = "application/x-git-upload-pack-advertisement"
RESULT = "application/x-git-upload-pack-result"
UNSAFE = "which is not safe or not a repository"
SERVICE = b"001e# service=git-upload-pack\n0000"
SHA256 = b"0" * 64 + b" capabilities^{}\0object-format=sha256 symref=HEAD:refs/heads/main\n"


@pytest.fixture(autouse=True)
def no_password_in_output(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """After every test, the password is in no log line and on no stream."""
    caplog.set_level(logging.DEBUG)
    yield
    streams = capfd.readouterr()
    for text in (caplog.text, streams.out, streams.err):
        assert_without_password(text)


def assert_without_password(text: str) -> None:
    for form in (PASSWORD, ENCODED, quote(PASSWORD, safe="")):
        assert form not in text


def refusal(
    error: type[errors.PipelineError], url: str, credentials: Credentials | None = None, timeout: float = 60
) -> str:
    """Return the message of the error that a checkout raises. It and its causes are without the password."""
    with pytest.raises(error) as raised:
        checkout(url, credentials=credentials, timeout=timeout)
    assert type(raised.value) is error
    chain: list[BaseException | None] = [raised.value]
    while (last := chain[-1]) is not None:
        assert_without_password(f"{last!s} {last!r} {last.args!r}")
        chain.append(last.__cause__)
    assert_without_password("".join(traceback.format_exception(raised.value)))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def commit(repository: Repository) -> str:
    return repository.commit(SCRIPTS, branch="main")


@pytest.fixture
def door(tmp_path: Path, commit: str) -> Iterator[Door]:
    with serving(tmp_path, "dulwich") as door:
        yield door


def packet(line: bytes) -> bytes:
    return b"%04x%s" % (len(line) + 4, line)


# --- credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "credentials"),
    [
        (LOGIN, GIVEN),
        (f"x-access-token:{PASSWORD}", TOKEN),
        ("reader:Grüße€", Credentials("reader", "Grüße€", "lexline/git")),
    ],
)
def test_credentials_open_a_repository(
    door: Door, url: str, commit: str, login: str, credentials: Credentials
) -> None:
    door.login = login
    assert checkout(url, credentials=credentials).commit == commit
    header = "Basic " + base64.b64encode(login.encode()).decode()
    assert {request.authorization for request in door.seen} == {header}


@pytest.mark.parametrize(
    ("given", "status", "error", "expected"),
    [
        (GIVEN, "401 No", errors.SourceUnauthorized, "the credentials in secret lexline/git (401). Check"),
        (GIVEN, "403 No", errors.SourceUnauthorized, "the credentials in secret lexline/git (403). Check"),
        (
            None,
            "401 No",
            errors.SourceUnauthorized,
            "it is private, or it does not exist. Store a token for it",
        ),
        (GIVEN, "404 No", errors.SourceNotFound, "or the credentials in secret lexline/git may not see it"),
        (GIVEN, "410 No", errors.InvalidSource, "is no Git repository (status 410, "),
        (GIVEN, "429 No", errors.Throttled, "asks for fewer requests"),
        (GIVEN, "503 No", errors.ServiceUnavailable, "failed (503)"),
    ],
)
def test_a_status_has_an_error_with_a_next_step(
    door: Door,
    url: str,
    given: Credentials | None,
    status: str,
    error: type[errors.PipelineError],
    expected: str,
) -> None:
    door.answers["/scripts.git"] = (status, "text/plain", [PASSWORD.encode()])
    assert expected in refusal(error, url, given)


@pytest.mark.parametrize("echo", [PASSWORD, f"Basic {ENCODED}", quote(PASSWORD, safe=""), f"{LOGIN}@host"])
@pytest.mark.parametrize(
    ("kind", "sent", "error"),
    [
        (ADVERTISED, "ERR no such user: %s", errors.SourceNotFound),
        (ADVERTISED, "no such user: %s", errors.InvalidSource),
        ("text/%s", "", errors.InvalidSource),
    ],
)
def test_a_repeated_password_is_not_in_the_error(
    door: Door, url: str, echo: str, kind: str, sent: str, error: type[errors.PipelineError]
) -> None:
    line = packet(sent.replace("%s", echo).encode()) + b"0000"
    door.answers["/info/refs"] = ("200 OK", kind.replace("%s", echo), [line])
    assert "***" in refusal(error, url, GIVEN)


def test_no_representation_shows_the_password() -> None:
    for text in (repr(GIVEN), f"{GIVEN}", repr([GIVEN]), repr(Checkout("0", None, {}))):
        assert_without_password(text)
    credentials = Credentials("reader", "Grüße€", "lexline/git")
    assert credentials.redact(f"unexpected {'Grüße€'.encode()!r} Grüße€") == "unexpected b'***' ***"


@pytest.mark.parametrize(
    ("fields", "username"),
    [
        ({"token": PASSWORD}, "x-access-token"),
        ({"username": "x-token-auth", "token": PASSWORD}, "x-token-auth"),
        ({"username": "reader", "password": PASSWORD, "note": "x"}, "reader"),
    ],
)
@pytest.mark.parametrize("host", [HOST, HOST.upper()])
def test_a_secret_has_one_of_three_forms(host: str, fields: dict[str, str], username: str) -> None:
    credentials = Credentials.parse(json.dumps({"host": host, **fields}), "lexline/git", HOST)
    assert credentials == Credentials(username, PASSWORD, "lexline/git")


@pytest.mark.parametrize(
    "text",
    [
        "",
        PASSWORD,
        f"{{{PASSWORD}",
        f'["{PASSWORD}"]',
        *(
            json.dumps({"host": HOST, **fields})
            for fields in (
                {},
                {PASSWORD: ""},
                {"password": PASSWORD},
                {"token": PASSWORD, "password": PASSWORD},
                {"token": ""},
                {"token": f"token {PASSWORD}"},
                {"token": [PASSWORD]},
                {"token": f"{PASSWORD}\r\nX: y"},
                {"username": "a:b", "password": PASSWORD},
                {"username": 7, "password": PASSWORD},
                {"username": "reader", "password": None, "x": PASSWORD},
            )
        ),
        json.dumps({"token": PASSWORD}),
        json.dumps({"host": None, "token": PASSWORD}),
        json.dumps({"host": "", "token": PASSWORD}),
    ],
)
def test_other_secrets_are_refused_without_quoting_them(text: str) -> None:
    with pytest.raises(errors.InvalidSource, match="Secret lexline/git does not hold credentials") as raised:
        Credentials.parse(text, "lexline/git", HOST)
    assert f'"host": "{HOST}"' in str(raised.value)
    assert_without_password("".join(traceback.format_exception(raised.value)))
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    "host", ["github.com", "git.example.com", f"{HOST}.attacker.example", f"https://{HOST}"]
)
def test_a_secret_of_another_server_is_refused(host: str) -> None:
    secret = json.dumps({"host": host, "token": PASSWORD})
    with pytest.raises(
        errors.InvalidSource, match=r"source\.secret: .* is for another server than"
    ) as raised:
        Credentials.parse(secret, "lexline/git", HOST)
    assert f'Name a secret with "host": "{HOST}"' in str(raised.value)
    assert_without_password(str(raised.value))


def test_the_environment_has_no_effect(
    door: Door, url: str, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, no Git configuration, no credential helper and no .netrc is used."""
    host = f"127.0.0.1:{door.port}"
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login intruder password intruder\n")
    (tmp_path / ".git-credentials").write_text(f"http://intruder:intruder@{host}\n")
    (tmp_path / ".gitconfig").write_text(
        f'[http]\n\textraHeader = "Authorization: Basic aW50cnVkZXI="\n\tproxy = http://{host}/proxy\n'
        f'[url "http://{host}/other.git"]\n\tinsteadOf = {url}\n[credential]\n\thelper = store\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example.invalid:1")
    assert checkout(url).commit == commit
    assert {request.authorization for request in door.seen} == {None}
    assert {request.path.partition(".git")[0] for request in door.seen} == {"/scripts"}


# --- redirects -------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, door: Door) -> Iterator[Door]:
    """Another server, to which the first one redirects."""
    with serving(tmp_path, "dulwich") as other:
        door.moved["/scripts.git"] = f"{other.url}/scripts.git"
        yield other


def test_credentials_follow_a_redirect_to_the_same_server(door: Door, url: str, commit: str) -> None:
    door.login = LOGIN
    door.moved["/old.git"] = url
    assert checkout(f"{door.url}/old.git", credentials=GIVEN).commit == commit
    assert [request.path for request in door.seen].count("/old.git/info/refs") == 2


def test_another_host_does_not_receive_the_credentials(url: str, elsewhere: Door, commit: str) -> None:
    assert checkout(url, credentials=GIVEN).commit == commit
    elsewhere.login = LOGIN
    message = refusal(errors.SourceUnauthorized, url, GIVEN)
    assert f"redirects to 127.0.0.1:{elsewhere.port}, which asks for credentials" in message
    assert "no other server than source.repo names" in message
    assert {request.authorization for request in elsewhere.seen} == {None}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://git.example.invalid/scripts.git", UNSAFE),
        ("http://localhost/scripts.git", UNSAFE),
        ("https://user:password@git.example.invalid/scripts.git", UNSAFE),
        ("file:///scripts.git", UNSAFE),
        ("https://login.example.invalid/?from=", UNSAFE),
        ("https://login.example.invalid/in#", UNSAFE),
        (f"https://[::1/{PASSWORD}", ""),
        (f"https://host:999999/{PASSWORD}", ""),
        ("mailto:a", ""),
    ],
)
def test_a_redirect_that_is_unsafe_or_leads_to_no_repository(
    door: Door, url: str, target: str, expected: str
) -> None:
    door.moved["/scripts.git"] = target
    assert expected in refusal(errors.InvalidSource, url, GIVEN)


def test_redirects_end(door: Door, url: str) -> None:
    door.moved["/scripts.git"] = url
    assert "is no Git repository (status 301, " in refusal(errors.InvalidSource, url)
    assert len(door.seen) == 6


def test_only_the_first_request_may_be_redirected(door: Door, url: str) -> None:
    door.moved["/scripts.git/git-upload-pack"] = f"{door.url}/other.git/git-upload-pack"
    assert "is no Git repository (status 301, " in refusal(errors.InvalidSource, url)
    assert "/other.git/git-upload-pack" not in [request.path for request in door.seen]


# --- the network -----------------------------------------------------------------------------------


def test_no_server_at_the_address() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/scripts.git"
        message = refusal(errors.ServiceUnavailable, url, GIVEN)
    assert re.search(r"The connection to 127\.0\.0\.1:\d+ failed: .* check source\.repo", message)


@pytest.mark.parametrize("path", ["/info/refs", "/git-upload-pack"])
def test_a_silent_server_is_given_up(door: Door, url: str, path: str) -> None:
    door.silent.add(path)
    assert "The connection to 127.0.0.1:" in refusal(errors.ServiceUnavailable, url, GIVEN, timeout=0.5)


def test_a_slow_server_is_given_up(door: Door, url: str) -> None:
    zeros = (b"0" for _ in itertools.count() if not door.closing.wait(0.02))
    door.answers["/info/refs"] = ("200 OK", ADVERTISED, itertools.chain([b"ffff"], zeros))
    assert "The connection to 127.0.0.1:" in refusal(errors.ServiceUnavailable, url, timeout=0.5)


@pytest.mark.parametrize("sent", [b"", b"00", b"0000", b"00000008NAK\n", b"00000008NAK\n2004\x01PACK"])
def test_a_response_that_ends_early_is_retried(door: Door, url: str, sent: bytes) -> None:
    door.answers["/git-upload-pack"] = ("200 OK", RESULT, [sent])
    assert "the response ends too early" in refusal(errors.ServiceUnavailable, url)


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        ("text/html; charset=utf-8", b"<html>Sign in</html>", "is no Git repository"),
        ("application/x-git-upload-pack-result; x=\t\x7f", b"zzzz", "does not respond as"),
        (ADVERTISED, b"zzzz", "does not respond as"),
        (ADVERTISED, b"001e# service=git-receive-pack0000", "does not respond as"),
        (ADVERTISED, SERVICE + b"0018no refs/heads/\xff\xfe\x00 no0000", "does not respond as"),
        (ADVERTISED, b"000eversion 3\n0000", "does not respond as"),
        (ADVERTISED, SERVICE + packet(SHA256) + b"0000", "has sha256 names. Use SHA-1"),
    ],
)
def test_another_server_is_recognised(door: Door, url: str, kind: str, sent: bytes, expected: str) -> None:
    door.answers["/info/refs"] = ("200 OK", kind, [sent])
    assert expected in refusal(errors.InvalidSource, url)


def test_a_server_with_too_many_branches(door: Door, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_server, "LARGEST_LISTING", 100)
    assert "sends more than 0 MiB" in refusal(errors.SourceTooLarge, url)


# --- TLS -------------------------------------------------------------------------------------------


def test_only_a_valid_certificate_is_accepted(
    tmp_path: Path, certificate: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, "dulwich", certificate) as door:
        door.login = LOGIN
        url, other_name = f"{door.url}/scripts.git", f"https://localhost:{door.port}/scripts.git"
        message = refusal(errors.InvalidSource, url, GIVEN)
        assert re.search("has a TLS certificate that is not accepted: self.signed certificate", message)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        message = refusal(errors.InvalidSource, other_name, GIVEN)
        assert "certificate is not valid for 'localhost'" in message
        assert door.seen == []
        assert checkout(url, credentials=GIVEN).commit == commit


def test_on_aws_no_connection_leads_into_a_private_network(
    tmp_path: Path, certificate: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with serving(tmp_path, "dulwich", certificate) as door:
        message = refusal(errors.InvalidSource, f"{door.url}/scripts.git", GIVEN)
        assert message.startswith("127.0.0.1 has an address in a private network.")
        assert door.seen == []


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe"],
)
def test_private_and_link_local_addresses_are_refused_and_public_ones_are_not(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the server's name is resolved to, the address of the connection counts."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    peer = [address]

    class Connected(socket.socket):
        def getpeername(self) -> tuple[str, int]:
            return peer[0], 443

    monkeypatch.setattr("urllib3.connection.connection.create_connection", lambda *_, **__: Connected())
    message = refusal(errors.InvalidSource, "https://git.example.com/scripts.git")
    assert "git.example.com has an address in a private network. Give a repository" in message
    peer[0] = "140.82.121.4"
    # The socket is not connected: the TLS handshake fails, so the address was accepted.
    assert "The connection to git.example.com failed" in refusal(
        errors.ServiceUnavailable, "https://git.example.com/scripts.git"
    )


def test_a_server_without_tls(door: Door) -> None:
    url = f"https://127.0.0.1:{door.port}/scripts.git"
    assert "The connection to 127.0.0.1:" in refusal(errors.ServiceUnavailable, url, GIVEN)
