"""The routes of the HTTP API, called through Chalice's own test client."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

import app as api
from chalicelib import endpoint
from chalicelib.endpoint import Endpoint
from tests.unit.api.conftest import ORIGINS, Api
from tests.unit.api.model_endpoint import MODEL, ServedApi

ACCOUNT_ARN = "arn:aws:sagemaker:us-east-1:123456789012"
RUN = "lexline--sotu-0123456789ab"
MADE = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECRET = f"{ACCOUNT_ARN}:endpoint/lexline Traceback (most recent call last)"


def describe(stubbed_api: Api, status: str) -> None:
    """Let SageMaker describe an endpoint of this status; without a status there is none."""
    if not status:
        message = f'Could not find endpoint "{ACCOUNT_ARN}:endpoint/lexline".'
        stubbed_api.sagemaker.add_client_error("describe_endpoint", "ValidationException", message, 400)
        return
    times = {"CreationTime": MADE, "LastModifiedTime": MADE}
    names = {"EndpointName": "lexline", "EndpointArn": f"{ACCOUNT_ARN}:endpoint/lexline"}
    described = {**names, **times, "EndpointConfigName": RUN, "EndpointStatus": status}
    stubbed_api.sagemaker.add_response("describe_endpoint", described, {"EndpointName": "lexline"})


# --- what it returns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (
            {"seed": 111, "temperature": 2.0, "words": 3, "prompt": "My fellow"},
            {"seed": 111, "temperature": 2.0, "words": 3, "prompt": "My fellow"},
        ),
        (
            {"seed": 1, "words": 2, "top_k": 40, "top_p": 0.9},
            {"seed": 1, "temperature": 1.0, "words": 2, "top_k": 40, "top_p": 0.9},
        ),
        # Models without a prompt accept the request, too.
        ({"seed": 1, "words": 2, "prompt": ""}, {"seed": 1, "temperature": 1.0, "words": 2}),
        ({}, None),
        (b"", None),
    ],
)
def test_generate_sends_the_fields_and_returns_text_words_seed_and_model(
    stubbed_api: Api, body: Any, sent: dict[str, Any] | None
) -> None:
    generated = {"text": "citizens of the", "words": 3, "seed": 111, "model": RUN, "unknown_words": ["of"]}
    stubbed_api.expect_invocation({**generated, "temperature": 2.0}, sent)
    response = stubbed_api.post(body)
    assert (response.status_code, response.json_body) == (200, generated)


def test_only_a_request_with_newer_fields_has_more_in_its_response(served_api: ServedApi) -> None:
    first = {"text", "words", "seed", "model", "unknown_words"}
    assert served_api.ok("/generate", words=3, top_k=5, prompt="Anna", seed=1).keys() == first
    more = {"tokens", "finish_reason", "prompt_tokens"}
    assert served_api.ok("/generate", words=3, min_p=0.1).keys() == first | more
    assert served_api.ok("/generate", words=3, n=1).keys() == first | more | {"texts"}
    asked = served_api.ok("/generate", words=3, return_log_probabilities=True, alternatives=2)
    assert asked.keys() == first | more | {"log_probabilities"}
    (entry, *_) = asked["log_probabilities"]
    assert entry.keys() == {"word", "start", "end", "log_probability", "known", "alternatives"}


def test_score_returns_the_models_scores(served_api: ServedApi) -> None:
    scores = served_api.ok("/score", text="Anna wants Zyxgrv.", alternatives=1)
    assert scores["unknown_words"] == ["Zyxgrv"]
    assert (scores["tokens"], scores["model"]) == (4, MODEL)
    for body, field in (({}, "text"), ({"text": ""}, "text"), ({"text": "a", "words": 3}, "words")):
        refused = served_api.post("/score", **body)
        assert refused.status_code == 400
        assert [error["field"] for error in refused.json_body["errors"]] == [field]
    refused = served_api.post("/score", text=" ")
    assert refused.json_body == {"code": "invalid_request", "message": "text has no words."}


def test_with_a_cache_both_routes_say_so_to_the_model(served_api: ServedApi) -> None:
    text = "Anna wants tea. " * 9
    plain, cached = (served_api.ok("/score", text=text, **how) for how in ({}, {"cache": True}))
    assert cached.keys() - plain.keys() == {"cache_perplexity", "cache_log_probability"}
    assert {name: cached[name] for name in plain} == plain
    without = [served_api.ok("/generate", words=3, seed=1, **how) for how in ({}, {"cache": False})]
    assert without[0] == without[1]
    assert served_api.ok("/generate", words=30, cache=True, seed=1)["finish_reason"] == "length"
    assert [body.get("cache") for body in served_api.runtime.bodies[-5:]] == [None, True, None, None, True]
    refused = served_api.post("/score", text="Anna", cache=1)
    assert [error["field"] for error in refused.json_body["errors"]] == ["cache"]


def test_health_does_not_call_sagemaker(stubbed_api: Api) -> None:
    response = stubbed_api.http.get("/health")
    assert (response.status_code, response.json_body) == (200, {"status": "ok"})


def test_model_describes_the_model_that_serves(stubbed_api: Api) -> None:
    describe(stubbed_api, "Updating")
    arn = f"{ACCOUNT_ARN}:endpoint-config/{RUN}"
    variants = [{"VariantName": "AllTraffic", "ModelName": RUN}]
    config = {"EndpointConfigArn": arn, "ProductionVariants": variants, "CreationTime": MADE}
    name = {"EndpointConfigName": RUN}
    stubbed_api.sagemaker.add_response("describe_endpoint_config", {**name, **config}, name)
    tags = {"lexline:run": RUN, "lexline:dataset": "sotu", "lexline:test-perplexity": "208.3"}
    tags["lexline:test-unknown-share"] = "0.021"
    listed = {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    stubbed_api.sagemaker.add_response("list_tags", listed, {"ResourceArn": arn})
    assert stubbed_api.http.get("/model").json_body == {
        "endpoint": "lexline",
        "status": "Updating",
        "model": RUN,
        "dataset": "sotu",
        "perplexity": 208.3,
        "unknown_share": 0.021,
        "since": "2026-11-23T12:00:00+00:00",
    }


# --- errors of the caller ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        *((body, "", 400, "invalid_request") for body in (b"{", b"[1]", b'"text"', b"[" * 60_000)),
        ({"prompt": "x" * 1_100_000}, "", 413, "body_too_large"),
        (b"{}", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    stubbed_api: Api, body: Any, content_type: str, status: int, code: str
) -> None:
    response = stubbed_api.post(body, content_type or "application/json")
    assert (response.status_code, response.json_body["code"]) == (status, code)


def test_broken_utf_8_is_named(stubbed_api: Api) -> None:
    response = stubbed_api.post(b'{"prompt": "caf\xe9"}')
    assert response.status_code == 400
    assert response.json_body["message"] == "The body is not UTF-8: the byte at offset 15 is invalid."


def test_another_method_is_405_and_says_which_are_allowed(stubbed_api: Api) -> None:
    response = stubbed_api.http.get("/generate")
    assert (response.status_code, response.json_body["code"]) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/health", "/model"])
def test_head_is_answered_like_get(stubbed_api: Api, path: str) -> None:
    for method in ("GET", "HEAD"):
        if path == "/model":
            describe(stubbed_api, "")
        response = stubbed_api.http.request(method, path)
        assert response.status_code == (404 if path == "/model" else 200)


def test_a_request_that_the_model_refuses_is_400_with_its_message(stubbed_api: Api) -> None:
    sentence = "prompt has no word that is in the model's vocabulary."
    fields = {"OriginalStatusCode": 400, "OriginalMessage": f"{sentence}\nTraceback (most recent"}
    stubbed_api.runtime.add_client_error(
        "invoke_endpoint", "ModelError", f"See {ACCOUNT_ARN}", 424, modeled_fields=fields
    )
    response = stubbed_api.post({"prompt": "Zyxgrv"})
    assert response.status_code == 400
    assert response.json_body == {"code": "invalid_request", "message": sentence}


# --- errors of the endpoint --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aws_code", "http_status", "status", "code", "message"),
    [
        ("ThrottlingException", 400, 429, "throttled", ""),
        ("ModelNotReadyException", 429, 503, "model_unavailable", ""),
        ("ServiceUnavailable", 503, 503, "model_unavailable", ""),
        ("InternalFailure", 500, 503, "model_unavailable", ""),
        ("InternalDependencyException", 530, 503, "model_unavailable", ""),
        ("ValidationException", 400, 502, "model_unreachable", ""),
        ("AccessDeniedException", 403, 500, "not_permitted", "sagemaker:InvokeEndpoint"),
    ],
)
def test_sagemaker_errors_are_translated_without_their_internals(
    stubbed_api: Api, aws_code: str, http_status: int, status: int, code: str, message: str
) -> None:
    stubbed_api.runtime.add_client_error("invoke_endpoint", aws_code, SECRET, http_status)
    response = stubbed_api.post({})
    assert (response.status_code, response.json_body["code"]) == (status, code)
    assert set(response.json_body) == {"code", "message"}
    assert message in response.json_body["message"]
    assert (int(response.headers.get("Retry-After", 0)) > 0) == (status in (429, 503))
    assert "arn:" not in response.body.decode()
    assert "Traceback" not in response.body.decode()


@pytest.mark.parametrize(
    ("original", "status", "code"),
    [
        # The container restarts, or did not respond.
        *((original, 503, "model_unavailable") for original in (0, 408, 429, 502, 503, 504)),
        # The model's own refusals and failures.
        *((original, 400, "invalid_request") for original in (400, 415, 422)),
        *((original, 424, "model_failed") for original in (500, 507)),
    ],
)
def test_a_status_of_the_models_container_becomes_one_that_says_whose_turn_it_is(
    stubbed_api: Api, original: int, status: int, code: str
) -> None:
    fields = {"OriginalStatusCode": original, "OriginalMessage": "The model says."}
    stubbed_api.runtime.add_client_error("invoke_endpoint", "ModelError", SECRET, 424, modeled_fields=fields)
    response = stubbed_api.post({})
    assert (response.status_code, response.json_body["code"]) == (status, code)
    assert (int(response.headers.get("Retry-After", 0)) > 0) == (status == 503)


@pytest.mark.parametrize(
    ("endpoint_status", "status", "code"),
    [
        ("", 404, "no_endpoint"),
        ("Deleting", 404, "no_endpoint"),
        ("Failed", 502, "model_unreachable"),
        ("InService", 503, "model_unavailable"),
        ("Creating", 503, "deploying"),
    ],
)
def test_an_endpoint_that_cannot_serve_says_why(
    stubbed_api: Api, endpoint_status: str, status: int, code: str
) -> None:
    # SageMaker returns this for an endpoint that does not exist, and for one that does not serve yet.
    stubbed_api.runtime.add_client_error("invoke_endpoint", "ValidationError", SECRET, 400)
    describe(stubbed_api, endpoint_status)
    response = stubbed_api.post({})
    assert (response.status_code, response.json_body["code"]) == (status, code)
    assert (int(response.headers.get("Retry-After", 0)) > 0) == (status == 503)


# --- an endpoint none of whose instances takes requests ------------------------------------------------


class StillClock:
    """The module `time` as the API sees it: only its own sleep moves the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StillClock:
    """A clock, and a stack whose requests wait for 15 seconds."""
    clock = StillClock()
    monkeypatch.setattr(endpoint, "time", clock)
    monkeypatch.setenv("WAIT_SECONDS", "15")
    return clock


def refuse(stubbed_api: Api, original: int) -> None:
    """Let the endpoint refuse one request, itself (0) or with a status of its container."""
    if original == 0:
        stubbed_api.runtime.add_client_error("invoke_endpoint", "ServiceUnavailable", SECRET, 503)
        return
    fields = {"OriginalStatusCode": original, "OriginalMessage": "Not now."}
    stubbed_api.runtime.add_client_error("invoke_endpoint", "ModelError", SECRET, 424, modeled_fields=fields)


def test_a_request_waits_while_no_instance_takes_it(stubbed_api: Api, clock: StillClock) -> None:
    for original in (502, 503, 0):
        refuse(stubbed_api, original)
    generated = {"text": "citizens", "words": 1, "seed": 111, "model": RUN, "unknown_words": []}
    stubbed_api.expect_invocation(generated)
    response = stubbed_api.post({"seed": 111})
    assert (response.status_code, response.json_body) == (200, generated)
    assert len(clock.pauses) == 3


def test_the_wait_has_an_end_and_the_caller_gets_the_error(stubbed_api: Api, clock: StillClock) -> None:
    invocations = 0

    def refuse_all(**_: object) -> None:
        nonlocal invocations
        invocations += 1
        raise refused

    refused = ClientError(
        {"Error": {"Code": "ServiceUnavailable"}, "ResponseMetadata": {"HTTPStatusCode": 503}},  # type: ignore[typeddict-item]
        "InvokeEndpoint",
    )
    runtime: Any = SimpleNamespace(invoke_endpoint=refuse_all)
    stubbed_api.endpoint = replace(stubbed_api.endpoint, runtime=runtime, late_runtime=runtime)
    response = stubbed_api.post({})
    assert (response.status_code, response.json_body["code"]) == (503, "model_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert 13 <= sum(clock.pauses) <= 15
    assert invocations < 20


@pytest.mark.parametrize("original", [408, 429, 500, 504])
def test_a_request_does_not_wait_for_a_model_that_may_have_worked_on_it(
    stubbed_api: Api, clock: StillClock, original: int
) -> None:
    refuse(stubbed_api, original)
    assert stubbed_api.post({}).status_code in (424, 503)
    assert clock.pauses == []


def test_a_request_that_has_waited_leaves_less_time_for_the_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    connected = Endpoint.connect("lexline", 15)
    seconds = [client.meta.config.read_timeout for client in (connected.runtime, connected.late_runtime)]
    assert seconds == [25, 10]


@pytest.mark.parametrize("failure", [ReadTimeoutError, ConnectTimeoutError, EndpointConnectionError])
def test_an_endpoint_that_does_not_respond_is_503_with_a_time_to_retry(
    stubbed_api: Api, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    def time_out(**_: object) -> None:
        raise failure(endpoint_url="https://runtime.sagemaker", error="timed out")  # type: ignore[call-arg]

    monkeypatch.setattr(stubbed_api.endpoint.runtime, "invoke_endpoint", time_out)
    response = stubbed_api.post({})
    assert (response.status_code, response.json_body["code"]) == (503, "model_unavailable")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("returned", [b"<html>", b"[]", b'{"text": "x"}', b"null"])
def test_a_response_that_is_not_the_models_is_502(stubbed_api: Api, returned: bytes) -> None:
    stubbed_api.expect_invocation(returned)
    response = stubbed_api.post({})
    assert (response.status_code, response.json_body["code"]) == (502, "model_unreachable")


# --- from web pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin", [*ORIGINS, "https://other.example", "https://a.example.other.example", "null", ""]
)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/model", 404),
        ("GET", "/generate", 405),
        ("OPTIONS", "/generate", 204),
    ],
)
def test_only_pages_of_an_allowed_origin_may_read_responses_and_errors(
    stubbed_api: Api, origin: str, method: str, path: str, status: int
) -> None:
    if path == "/model":
        describe(stubbed_api, "")
    response = api.app({**proxied(path, httpMethod=method), "headers": {"Origin": origin}}, None)
    assert response["statusCode"] == status
    headers = response["headers"]
    assert headers.get("Access-Control-Allow-Origin") == (origin if origin in ORIGINS else None)
    assert ("X-Api-Key" in headers.get("Access-Control-Allow-Headers", "")) == (origin in ORIGINS)
    assert headers["Vary"] == "Origin"


# --- in any case -------------------------------------------------------------------------------------


def test_a_bug_is_500_in_the_same_format(stubbed_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "parse_generate", lambda body: 1 / 0)
    response = stubbed_api.post({})
    assert response.status_code == 500
    assert response.json_body == {
        "code": "internal_server_error",
        "message": "Something went wrong inside the API.",
    }


def proxied(path: str, **context: str) -> dict[str, Any]:
    """Return the event of a request, by default GET, as API Gateway's proxy integration sends it."""
    missing = dict.fromkeys(("multiValueQueryStringParameters", "pathParameters", "stageVariables", "body"))
    request = {"resourcePath": path, "path": path, "httpMethod": "GET", **context}
    return {**missing, "headers": {}, "requestContext": request}


@pytest.mark.usefixtures("stubbed_api")
def test_a_path_that_only_the_gateway_has_is_404() -> None:
    response = api.app(proxied("/{proxy+}"), None)
    assert (response["statusCode"], json.loads(response["body"])["code"]) == (404, "not_found")


def test_every_log_line_has_the_request_id_of_the_caller(
    stubbed_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(api.logger.registered_handler, "stream", log)
    describe(stubbed_api, "")
    response = api.app(proxied("/model", requestId="b3c5a0f2"), None)
    assert (response["statusCode"], json.loads(response["body"])["code"]) == (404, "no_endpoint")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["correlation_id"] for line in lines] == ["b3c5a0f2"]
