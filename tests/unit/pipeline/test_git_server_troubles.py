"""Whatever a Git server does: an error that says what to do next, in time, and never the credentials."""

import contextlib
import datetime
import ipaddress
import itertools
import logging
import re
import socket
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import git_http
from core import errors
from git_credentials import Credentials
from git_repository import Checkout, checkout
from tests.unit.pipeline.git_server import SCRIPTS, Door, Repository, serving

PASSWORD = "glpat-Zm9v/b+r=secret"
LOGIN = f"reader:{PASSWORD}"
GIVEN = Credentials("reader", PASSWORD, secret="lexline/git")
ADVERTISED = "application/x-git-upload-pack-advertisement"
RESULT = "application/x-git-upload-pack-result"


@pytest.fixture(autouse=True)
def everything_said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever a test does, the password is in no log line and on no stream."""
    caplog.set_level(logging.DEBUG)
    yield
    streams = capfd.readouterr()
    for said in (caplog.text, streams.out, streams.err):
        assert_without_password(said)


def assert_without_password(text: str) -> None:
    for form in (PASSWORD, GIVEN.header().removeprefix("Basic "), quote(PASSWORD, safe="")):
        assert form not in text


def refusal(error: type[errors.PipelineError], *arguments: object, **named: object) -> str:
    """The message of the error that a checkout ends with, whose every form is without the password."""
    with pytest.raises(error) as raised:
        checkout(*arguments, **named)  # type: ignore[arg-type]
    assert type(raised.value) is error
    chain: list[BaseException | None] = [raised.value]
    while (last := chain[-1]) is not None:
        assert_without_password(f"{last!s} {last!r} {last.args!r}")
        chain.append(last.__cause__)
    assert_without_password("".join(traceback.format_exception(raised.value)))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def commit(tmp_path: Path) -> str:
    with contextlib.closing(Repository(tmp_path / "scripts.git")) as repository:
        return repository.commit(SCRIPTS, branch="main")


@pytest.fixture
def door(tmp_path: Path, commit: str) -> Iterator[Door]:
    with serving(tmp_path, "dulwich") as door:
        yield door


@pytest.fixture
def url(door: Door) -> str:
    return f"{door.url}/scripts.git"


# --- credentials -----------------------------------------------------------------------------------


def test_the_right_credentials_open_a_private_repository(door: Door, url: str, commit: str) -> None:
    door.login = LOGIN
    assert checkout(url, credentials=GIVEN).commit == commit
    assert {request.authorization for request in door.seen} == {GIVEN.header()}


def test_a_token_alone_is_sent_with_the_name_that_github_takes(door: Door, url: str, commit: str) -> None:
    door.login = f"x-access-token:{PASSWORD}"
    assert checkout(url, credentials=Credentials.parse(PASSWORD, "lexline/git")).commit == commit


def test_wrong_credentials_name_the_secret_to_look_at(door: Door, url: str) -> None:
    door.login = "reader:another"
    said = refusal(errors.SourceUnauthorized, url, credentials=GIVEN)
    assert "refuses the credentials in secret lexline/git (401)" in said
    assert "not expired" in said


def test_missing_credentials_say_where_to_put_them(door: Door, url: str) -> None:
    door.login = LOGIN
    said = refusal(errors.SourceUnauthorized, url)
    assert "asks for credentials (401): it is private, or it does not exist." in said
    assert "source.secret" in said


def test_a_repository_that_credentials_cannot_see(door: Door) -> None:
    said = refusal(errors.SourceNotFound, f"{door.url}/other.git", credentials=GIVEN)
    assert "or none that the credentials in secret lexline/git may see" in said


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        ("403 Forbidden", errors.SourceUnauthorized, "refuses the credentials in secret lexline/git (403)"),
        ("410 Gone", errors.InvalidSource, "answers with HTTP status 410"),
        ("429 Too Many Requests", errors.Throttled, "asks to slow down"),
        ("503 Service Unavailable", errors.ServiceUnavailable, "failed on its own side (503)"),
    ],
)
def test_other_statuses(
    door: Door, url: str, status: str, error: type[errors.PipelineError], said: str
) -> None:
    door.answers["/scripts.git"] = (status, "text/plain", [PASSWORD.encode()])
    assert said in refusal(error, url, credentials=GIVEN)


@pytest.mark.parametrize("echoed", [PASSWORD, GIVEN.header(), quote(PASSWORD, safe=""), f"{LOGIN}@127.0.0.1"])
def test_a_server_that_repeats_the_password_does_not_get_it_into_the_error(
    door: Door, url: str, echoed: str
) -> None:
    line = f"ERR no such user: {echoed}\n".encode()
    door.answers["/info/refs"] = (
        "200 OK",
        ADVERTISED,
        [b"001e# service=git-upload-pack\n0000", b"%04x%s" % (len(line) + 4, line)],
    )
    assert "no such user: " in refusal(errors.InvalidSource, url, credentials=GIVEN)
    door.answers["/info/refs"] = ("200 OK", f"text/{echoed}", [])
    assert "There is no Git repository at" in refusal(errors.InvalidSource, url, credentials=GIVEN)


def test_nothing_prints_the_password() -> None:
    for text in (repr(GIVEN), str(GIVEN), f"{GIVEN}", repr([GIVEN]), repr(Checkout("0", None, {}))):
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
def test_a_secret_may_have_any_of_four_forms(text: str, username: str) -> None:
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
    ],
)
def test_other_secrets_are_refused_by_name_alone(text: str) -> None:
    with pytest.raises(errors.InvalidSource, match="Secret lexline/git") as raised:
        Credentials.parse(text, "lexline/git")
    assert_without_password("".join(traceback.format_exception(raised.value)))
    assert raised.value.__context__ is None


# --- redirects -------------------------------------------------------------------------------------


def test_a_repository_that_was_renamed_is_followed_with_the_credentials(
    door: Door, url: str, commit: str
) -> None:
    door.login = LOGIN
    door.moved["/old.git"] = url
    assert checkout(f"{door.url}/old.git", credentials=GIVEN).commit == commit
    assert [request.path for request in door.seen if request.path.startswith("/old.git")] == [
        "/old.git/info/refs",
        "/old.git/info/refs",
    ]


@pytest.fixture
def elsewhere(tmp_path: Path, door: Door) -> Iterator[Door]:
    """Another host, at another port, to which the first one sends everybody."""
    with serving(tmp_path, "dulwich") as other:
        door.moved["/scripts.git"] = f"{other.url}/scripts.git"
        yield other


def test_another_host_is_not_told_the_credentials(url: str, elsewhere: Door, commit: str) -> None:
    assert checkout(url, credentials=GIVEN).commit == commit
    assert {request.authorization for request in elsewhere.seen} == {None}


def test_another_host_that_wants_credentials_has_to_be_named(url: str, elsewhere: Door) -> None:
    elsewhere.login = LOGIN
    said = refusal(errors.SourceUnauthorized, url, credentials=GIVEN)
    assert "redirects to 127.0.0.1, which asks for credentials" in said
    assert "Give the new address in source.repo" in said
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
def test_an_address_that_is_not_safe_is_not_followed(door: Door, url: str, target: str) -> None:
    door.moved["/scripts.git"] = target
    assert "redirects to an address that is not safe" in refusal(errors.InvalidSource, url, credentials=GIVEN)


def test_a_page_to_sign_in_at_is_no_repository(door: Door, url: str) -> None:
    door.moved["/scripts.git"] = "https://login.example.invalid/?from="
    said = refusal(errors.InvalidSource, url)
    assert "redirects to login.example.invalid, and not to a repository" in said


def test_redirects_come_to_an_end(door: Door, url: str) -> None:
    door.moved["/scripts.git"] = url
    assert "redirects more than 5 times" in refusal(errors.InvalidSource, url)
    assert len(door.seen) == 6


def test_only_the_first_request_may_be_redirected(door: Door, url: str) -> None:
    door.moved["/scripts.git/git-upload-pack"] = f"{door.url}/other.git/git-upload-pack"
    assert "and not to a repository" in refusal(errors.InvalidSource, url)


# --- the network -----------------------------------------------------------------------------------


def test_nobody_answers_at_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/scripts.git"
        said = refusal(errors.ServiceUnavailable, url, credentials=GIVEN)
    assert "could not be reached" in said
    assert "Check source.repo" in said


@pytest.mark.parametrize("path", ["/info/refs", "/git-upload-pack"])
def test_a_server_that_hangs_is_given_up(door: Door, url: str, path: str) -> None:
    door.silent.add(path)
    started = time.monotonic()
    said = refusal(errors.ServiceUnavailable, url, credentials=GIVEN, timeout=0.5)
    assert "silent for too long, or took more than 0.5 seconds in all" in said
    assert time.monotonic() - started < 5


def test_a_server_that_dribbles_is_given_up(door: Door, url: str) -> None:
    def dribble() -> Iterator[bytes]:
        for _ in itertools.count():
            if door.closing.wait(0.02):
                return
            yield b"0"

    door.answers["/info/refs"] = ("200 OK", ADVERTISED, itertools.chain([b"ffff"], dribble()))
    started = time.monotonic()
    refusal(errors.ServiceUnavailable, url, timeout=0.5)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("sent", [b"", b"00", b"0000", b"00000008NAK\n", b"00000008NAK\n2004\x01PACK"])
def test_a_connection_that_ends_early_is_tried_again(door: Door, url: str, sent: bytes) -> None:
    door.answers["/git-upload-pack"] = ("200 OK", RESULT, [sent])
    assert "ended the connection" in refusal(errors.ServiceUnavailable, url)


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
def test_what_is_no_git_server_is_told_so(door: Door, url: str, kind: str, sent: bytes) -> None:
    door.answers["/info/refs"] = ("200 OK", kind, [sent])
    said = refusal(errors.InvalidSource, url)
    assert "no Git repository at" in said or "does not answer as a Git server does" in said


def test_a_server_with_too_many_branches(door: Door, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_http, "LARGEST_LISTING", 100)
    assert "too many branches and tags" in refusal(errors.SourceTooLarge, url)


def test_commits_named_by_sha256_are_not_read(tmp_path: Path, door: Door) -> None:
    line = b"0" * 64 + b" capabilities^{}\0object-format=sha256 symref=HEAD:refs/heads/main\n"
    door.answers["/info/refs"] = (
        "200 OK",
        ADVERTISED,
        [b"001e# service=git-upload-pack\n0000", b"%04x%s0000" % (len(line) + 4, line)],
    )
    assert "names its commits by sha256" in refusal(errors.InvalidSource, f"{door.url}/scripts.git")


# --- TLS -------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, and signed by itself."""
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


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(secure_door: Door) -> None:
    said = refusal(errors.InvalidSource, f"{secure_door.url}/scripts.git", credentials=GIVEN)
    assert re.search("has a TLS certificate that is not accepted: self.signed certificate", said)
    assert secure_door.seen == []


def test_a_certificate_of_another_name_is_not_accepted(
    secure_door: Door, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    said = refusal(errors.InvalidSource, f"https://localhost:{secure_door.port}/scripts.git")
    assert "certificate is not valid for 'localhost'" in said


def test_a_certificate_in_order_is_accepted(
    secure_door: Door, certificate: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure_door.login = LOGIN
    assert checkout(f"{secure_door.url}/scripts.git", credentials=GIVEN).commit == commit


def test_a_server_that_does_not_speak_tls(door: Door) -> None:
    url = f"https://127.0.0.1:{door.port}/scripts.git"
    assert "could not be reached" in refusal(errors.ServiceUnavailable, url, credentials=GIVEN)
