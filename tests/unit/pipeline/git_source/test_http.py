"""Whatever a Git server does: an error with a next step, in time, and never with the credentials."""

import base64
import datetime
import ipaddress
import itertools
import logging
import re
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core import errors
from git_source import server as git_server
from git_source.credentials import Credentials
from git_source.repository import Checkout, checkout
from tests.unit.pipeline.git_source.git_server import SCRIPTS, Door, Repository, serving

PASSWORD = "glpat-Zm9v/b+r=secret"
LOGIN = f"reader:{PASSWORD}"
ENCODED = base64.b64encode(LOGIN.encode()).decode()
GIVEN = Credentials("reader", PASSWORD, secret="lexline/git")
ADVERTISED = "application/x-git-upload-pack-advertisement"
RESULT = "application/x-git-upload-pack-result"


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


# --- credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "credentials"),
    [
        (LOGIN, GIVEN),
        (f"x-access-token:{PASSWORD}", Credentials.parse(PASSWORD, "lexline/git")),
        ("reader:Grüße€", Credentials("reader", "Grüße€", "lexline/git")),
    ],
)
def test_the_right_credentials_open_a_private_repository(
    door: Door, url: str, commit: str, login: str, credentials: Credentials
) -> None:
    door.login = login
    assert checkout(url, credentials=credentials).commit == commit
    assert {request.authorization for request in door.seen} == {
        "Basic " + base64.b64encode(login.encode()).decode()
    }


def test_wrong_credentials_name_their_secret(door: Door, url: str) -> None:
    door.login = "reader:another"
    message = refusal(errors.SourceUnauthorized, url, GIVEN)
    assert "refuses the credentials in secret lexline/git (401). Check that they are not expired" in message


def test_missing_credentials_name_the_field(door: Door, url: str) -> None:
    door.login = LOGIN
    message = refusal(errors.SourceUnauthorized, url)
    assert "asks for credentials (401): it is private, or it does not exist." in message
    assert "source.secret" in message


def test_a_repository_that_the_credentials_may_not_see(door: Door) -> None:
    message = refusal(errors.SourceNotFound, f"{door.url}/other.git", GIVEN)
    assert "or the credentials in secret lexline/git may not see it" in message


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        ("403 Forbidden", errors.SourceUnauthorized, "refuses the credentials in secret lexline/git (403)"),
        ("410 Gone", errors.InvalidSource, "is no Git repository (status 410, "),
        ("429 Too Many Requests", errors.Throttled, "asks for fewer requests"),
        ("503 Service Unavailable", errors.ServiceUnavailable, "failed (503)"),
    ],
)
def test_other_statuses(
    door: Door, url: str, status: str, error: type[errors.PipelineError], expected: str
) -> None:
    door.answers["/scripts.git"] = (status, "text/plain", [PASSWORD.encode()])
    assert expected in refusal(error, url, GIVEN)


@pytest.mark.parametrize("echo", [PASSWORD, f"Basic {ENCODED}", quote(PASSWORD, safe=""), f"{LOGIN}@host"])
def test_a_password_that_the_server_repeats_is_not_in_the_error(door: Door, url: str, echo: str) -> None:
    line = f"ERR no such user: {echo}\n".encode()
    door.answers["/info/refs"] = (
        "200 OK",
        ADVERTISED,
        [b"001e# service=git-upload-pack\n0000", b"%04x%s" % (len(line) + 4, line)],
    )
    assert "refuses the request: no such user: " in refusal(errors.SourceNotFound, url, GIVEN)
    door.answers["/info/refs"] = ("200 OK", f"text/{echo}", [])
    assert "is no Git repository" in refusal(errors.InvalidSource, url, GIVEN)
    door.answers["/info/refs"] = ("200 OK", ADVERTISED, [b"%04xx%s0000" % (len(line) + 4, line[1:])])
    assert "does not respond as a Git server" in refusal(errors.InvalidSource, url, GIVEN)


def test_a_password_is_redacted_as_dulwich_quotes_it() -> None:
    credentials = Credentials("reader", "Grüße€", "lexline/git")
    assert credentials.redact(f"unexpected {'Grüße€'.encode()!r} Grüße€") == "unexpected b'***' ***"


def test_no_representation_shows_the_password() -> None:
    for text in (repr(GIVEN), f"{GIVEN}", repr([GIVEN]), repr(Checkout("0", None, {}))):
        assert_without_password(text)
    assert repr(GIVEN) == "Credentials(secret='lexline/git')"


@pytest.mark.parametrize(
    ("text", "username"),
    [
        (f"{PASSWORD}\n", "x-access-token"),
        (f'{{"token": "{PASSWORD}"}}', "x-access-token"),
        (f'{{"username": "x-token-auth", "token": "{PASSWORD}"}}', "x-token-auth"),
        (f' {{"username": "reader", "password": "{PASSWORD}", "host": "x"}}', "reader"),
    ],
)
def test_a_secret_has_one_of_four_forms(text: str, username: str) -> None:
    assert Credentials.parse(text, "lexline/git") == Credentials(username, PASSWORD, "lexline/git")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        f"token {PASSWORD}",
        f"{PASSWORD}\n{PASSWORD}",
        f"{{{PASSWORD}",
        "{}",
        f'{{"{PASSWORD}": ""}}',
        f'{{"password": "{PASSWORD}"}}',
        f'{{"token": "{PASSWORD}", "password": "{PASSWORD}"}}',
        '{"token": ""}',
        f'{{"token": ["{PASSWORD}"]}}',
        f'{{"token": "{PASSWORD}\\r\\nX: y"}}',
        f'{{"username": "a:b", "password": "{PASSWORD}"}}',
        f'{{"username": 7, "password": "{PASSWORD}"}}',
        f'{{"username": "reader", "password": null, "x": "{PASSWORD}"}}',
    ],
)
def test_other_secrets_are_refused_without_quoting_them(text: str) -> None:
    with pytest.raises(errors.InvalidSource, match="Secret lexline/git does not hold credentials") as raised:
        Credentials.parse(text, "lexline/git")
    assert_without_password("".join(traceback.format_exception(raised.value)))
    assert raised.value.__context__ is None


def test_only_the_secret_has_credentials(
    door: Door, url: str, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, no Git configuration and no .netrc of the function's environment takes part."""
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


def test_a_renamed_repository_is_followed_with_the_credentials(door: Door, url: str, commit: str) -> None:
    door.login = LOGIN
    door.moved["/old.git"] = url
    assert checkout(f"{door.url}/old.git", credentials=GIVEN).commit == commit
    assert [request.path for request in door.seen if request.path.startswith("/old.git")] == [
        "/old.git/info/refs",
        "/old.git/info/refs",
    ]


@pytest.fixture
def elsewhere(tmp_path: Path, door: Door) -> Iterator[Door]:
    """Another server, to which the first one redirects."""
    with serving(tmp_path, "dulwich") as other:
        door.moved["/scripts.git"] = f"{other.url}/scripts.git"
        yield other


def test_another_host_does_not_receive_the_credentials(url: str, elsewhere: Door, commit: str) -> None:
    assert checkout(url, credentials=GIVEN).commit == commit
    assert {request.authorization for request in elsewhere.seen} == {None}


def test_another_host_that_asks_for_credentials_has_to_be_in_the_request(url: str, elsewhere: Door) -> None:
    elsewhere.login = LOGIN
    message = refusal(errors.SourceUnauthorized, url, GIVEN)
    assert f"redirects to 127.0.0.1:{elsewhere.port}, which asks for credentials" in message
    assert "no other server than source.repo names" in message
    assert {request.authorization for request in elsewhere.seen} == {None}


@pytest.mark.parametrize(
    "target",
    [
        "http://git.example.invalid/scripts.git",
        "http://localhost/scripts.git",
        "https://user:password@git.example.invalid/scripts.git",
        "file:///scripts.git",
    ],
)
def test_a_redirect_to_an_unsafe_address_is_not_followed(door: Door, url: str, target: str) -> None:
    door.moved["/scripts.git"] = target
    assert "which is not safe or not a repository" in refusal(errors.InvalidSource, url, GIVEN)


@pytest.mark.parametrize(
    "page", ["https://login.example.invalid/?from=", "https://login.example.invalid/in#"]
)
def test_a_sign_in_page_is_not_followed(door: Door, url: str, page: str) -> None:
    door.moved["/scripts.git"] = page
    assert "redirects to https://login.example.invalid, which" in refusal(errors.InvalidSource, url)


def test_a_redirect_may_be_relative(url: str, elsewhere: Door, commit: str) -> None:
    elsewhere.moved["/scripts.git"] = "/renamed.git"
    elsewhere.moved["/renamed.git"] = f"{elsewhere.url}/again.git"
    assert "no repository at" in refusal(errors.SourceNotFound, url)
    assert [request.path for request in elsewhere.seen] == [
        f"/{name}.git/info/refs" for name in ("scripts", "renamed", "again")
    ]


def test_redirects_come_to_an_end(door: Door, url: str) -> None:
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
    def zeros() -> Iterator[bytes]:
        for _ in itertools.count():
            if door.closing.wait(0.02):
                return
            yield b"0"

    door.answers["/info/refs"] = ("200 OK", ADVERTISED, itertools.chain([b"ffff"], zeros()))
    assert "took more than 0.5 seconds in all" in refusal(errors.ServiceUnavailable, url, timeout=0.5)


@pytest.mark.parametrize("sent", [b"", b"00", b"0000", b"00000008NAK\n", b"00000008NAK\n2004\x01PACK"])
def test_a_response_that_ends_early_is_retried(door: Door, url: str, sent: bytes) -> None:
    door.answers["/git-upload-pack"] = ("200 OK", RESULT, [sent])
    assert "the response ends too early" in refusal(errors.ServiceUnavailable, url)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("text/html; charset=utf-8", b"<html>Sign in</html>"),
        ("application/x-git-upload-pack-result; x=\t\x7f", b"zzzz"),
        (ADVERTISED, b"zzzz"),
        (ADVERTISED, b"001e# service=git-receive-pack0000"),
        (ADVERTISED, b"001e# service=git-upload-pack\n00000018no refs/heads/\xff\xfe\x00 no0000"),
        (ADVERTISED, b"000eversion 3\n0000"),
    ],
)
def test_another_server_is_recognised(door: Door, url: str, kind: str, sent: bytes) -> None:
    door.answers["/info/refs"] = ("200 OK", kind, [sent])
    message = refusal(errors.InvalidSource, url)
    assert "is no Git repository" in message or "does not respond as a Git server" in message


def test_a_server_with_too_many_branches(door: Door, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_server, "LARGEST_LISTING", 100)
    assert "sends more than 0 MiB" in refusal(errors.SourceTooLarge, url)


def test_a_repository_with_sha256_is_refused(door: Door, url: str) -> None:
    line = b"0" * 64 + b" capabilities^{}\0object-format=sha256 symref=HEAD:refs/heads/main\n"
    door.answers["/info/refs"] = (
        "200 OK",
        ADVERTISED,
        [b"001e# service=git-upload-pack\n0000", b"%04x%s0000" % (len(line) + 4, line)],
    )
    assert "has sha256 names. Use SHA-1" in refusal(errors.InvalidSource, url)


# --- TLS -------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@pytest.fixture
def secure_door(tmp_path: Path, commit: str, certificate: Path) -> Iterator[Door]:
    with serving(tmp_path, "dulwich", certificate) as door:
        yield door


def test_a_self_signed_certificate_is_not_accepted(secure_door: Door) -> None:
    message = refusal(errors.InvalidSource, f"{secure_door.url}/scripts.git", GIVEN)
    assert re.search("has a TLS certificate that is not accepted: self.signed certificate", message)
    assert secure_door.seen == []


def test_a_certificate_of_another_name_is_not_accepted(
    secure_door: Door, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    message = refusal(errors.InvalidSource, f"https://localhost:{secure_door.port}/scripts.git")
    assert "certificate is not valid for 'localhost'" in message


def test_a_valid_certificate_is_accepted(
    secure_door: Door, certificate: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure_door.login = LOGIN
    assert checkout(f"{secure_door.url}/scripts.git", credentials=GIVEN).commit == commit


def test_a_server_without_tls(door: Door) -> None:
    url = f"https://127.0.0.1:{door.port}/scripts.git"
    assert "The connection to 127.0.0.1:" in refusal(errors.ServiceUnavailable, url, GIVEN)
