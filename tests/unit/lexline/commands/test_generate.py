import pytest

from lexline.aws.http_api import HttpApi
from tests.unit.lexline.conftest import Patch, run_lexline

pytestmark = pytest.mark.usefixtures("deployed")


@pytest.fixture(autouse=True)
def _api(patch: Patch) -> None:
    patch("aws.http_api.HttpApi.post", lambda api, path, body: {"text": f"{path} {sorted(body.items())}"})
    patch("aws.http_api.HttpApi.curl", "curl -H 'x-api-key: s3cr3t'")


def test_the_request_has_only_the_given_fields_and_the_text_is_printed() -> None:
    result = run_lexline("generate", "--words", "7", "--prompt", "My fellow")
    assert result.output == "/generate [('prompt', 'My fellow'), ('words', 7)]\n"
    result = run_lexline("generate", "--top-k", "40", "--top-p", "0.9")
    assert result.output == "/generate [('top_k', 40), ('top_p', 0.9)]\n"
    assert run_lexline("generate", "--cache").output == "/generate [('cache', True)]\n"


@pytest.mark.parametrize(
    ("given", "sent"), [("100", 100), ("100.0", 100), ("1e2", 100), ("-1", -1), ("100.5", 100.5)]
)
def test_a_whole_number_is_read_as_the_api_reads_it(given: str, sent: float) -> None:
    """The API checks the ranges, so that its message names them."""
    result = run_lexline("generate", "--words", given, "--seed", given, "--top-k", given)
    assert result.output == f"/generate [('seed', {sent}), ('top_k', {sent}), ('words', {sent})]\n"


@pytest.mark.parametrize("value", ["first", "nan", "inf", "1e999"])
@pytest.mark.parametrize("option", ["--words", "--seed", "--temperature", "--top-k", "--top-p"])
def test_a_value_that_is_no_number_is_named(option: str, value: str) -> None:
    result = run_lexline("generate", option, value)
    assert result.exit_code == 2
    assert f"'{option}': {value} is not a number." in result.output


def test_a_text_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpApi, "post", lambda *_: {"text": "a\x1b]0;title\x07 b\x9b31m\nc\td\u200c"})
    assert run_lexline("generate", color=True).output == "a]0;title b31m\nc\td\u200c\n"


def test_unknown_words_of_the_prompt_are_named_beside_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpApi, "post", lambda *_: {"text": "a b", "unknown_words": ["eels", "x\x1b]"]})
    result = run_lexline("generate")
    assert result.stdout == "a b\n"
    assert result.stderr == "The model does not know these words of the prompt: eels, x]\n"
    assert run_lexline("generate", "--json").stderr == ""


def test_the_key_is_printed_only_with_the_curl_command() -> None:
    assert "s3cr3t" not in run_lexline("generate").output
    assert run_lexline("generate", "--curl").output.startswith("$ curl -H 'x-api-key: s3cr3t'\n")


def test_log_probabilities_are_not_dropped_in_silence() -> None:
    result = run_lexline("generate", "--return-log-probabilities")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--return-log-probabilities needs --json" in result.stderr
