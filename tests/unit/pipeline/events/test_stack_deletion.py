"""stack_deletion: CloudFormation gets a response in every case, before the function ends."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from cleanup import stack
from core.errors import EndpointBusy
from events import stack_deletion
from tests.unit.pipeline.stubbed_aws import StubbedAws

STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/lexline/1"
Asks = Callable[..., dict[str, Any]]


class CloudFormation(http.server.ThreadingHTTPServer):
    """The URL that CloudFormation gives with a request; it keeps the responses and their headers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.received: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/response?signature=a"


class _Receiver(http.server.BaseHTTPRequestHandler):
    server: CloudFormation

    def do_PUT(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        # This is CloudFormation's limit.
        self.send_response(200 if len(raw) <= 4096 else 400)
        self.server.received.append((dict(self.headers), json.loads(raw)))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    with CloudFormation() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def asks(cloudformation: CloudFormation, context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> Asks:
    """asks(request, **fields): send the function CloudFormation's request, and return its response."""
    monkeypatch.setenv("no_proxy", "*")

    def request(type_: str = "Delete", **fields: Any) -> dict[str, Any]:
        event = {
            "RequestType": type_,
            "ResponseURL": cloudformation.url,
            "StackId": STACK,
            "RequestId": "request-1",
            "LogicalResourceId": "Leftovers",
            **fields,
        }
        stack_deletion.handler(event, context)
        ((_, response),) = cloudformation.received
        return response

    return request


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The deadlines of the deletions that were started; each succeeds."""
    started: list[float] = []
    monkeypatch.setattr(stack, "delete_everything", started.append)
    return started


def test_the_response_names_the_request(
    asks: Asks, cloudformation: CloudFormation, deadlines: list[float]
) -> None:
    assert asks("Create") == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": f"{STACK}/Leftovers",
        "StackId": STACK,
        "RequestId": "request-1",
        "LogicalResourceId": "Leftovers",
    }
    # The URL is signed for a request without a content type.
    assert cloudformation.received[0][0]["Content-Type"] == ""


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_created_or_updated_stack_deletes_nothing_and_keeps_the_resources_id(
    asks: Asks, deadlines: list[float], request_type: str
) -> None:
    """After another id, CloudFormation would delete the former resource, and so everything that serves."""
    response = asks(request_type, PhysicalResourceId="as-before")
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", "as-before")
    assert deadlines == []


def test_a_deleted_stack_deletes_everything_within_the_functions_time(
    asks: Asks, deadlines: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 5000.0)
    assert asks("Delete")["Status"] == "SUCCESS"
    # The context has 10 s left, and the function keeps a minute for its response.
    assert deadlines == [5000 + 10 - 60]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(EndpointBusy("It is busy."), "EndpointBusy: It is busy."), (KeyError("unexpected"), "KeyError: ")],
)
def test_every_error_is_a_response(
    asks: Asks, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(deadline: float) -> None:
        raise error

    monkeypatch.setattr(stack, "delete_everything", fail)
    response = asks()
    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(reason)
    assert response["Reason"].endswith(" See log stream 2026/03/01/[$LATEST]0f9a621d.")


def test_a_long_reason_fits_into_the_response(asks: Asks, stubbed: StubbedAws) -> None:
    message = "\u4e16\U0001f600" * 9000
    stubbed.refuses("stepfunctions", "list_executions", "AccessDeniedException", message)
    response = asks()
    assert response["Reason"].startswith("AccessDenied: ListExecutions: ")
    assert len(response["Reason"]) == 1000
