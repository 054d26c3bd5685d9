from collections.abc import Callable
from typing import Any

from botocore.stub import Stubber

from lexline.joblog import LogReader
from lexline.target import Target

Stub = Callable[[Any], Stubber]
GROUP = "/aws/sagemaker/TrainingJobs"
STREAM = "job/algo-1-1"


def page(token: str, *lines: tuple[int, str]) -> dict[str, Any]:
    return {
        "events": [{"timestamp": when, "message": text} for when, text in lines],
        "nextForwardToken": token,
        "nextBackwardToken": "b/0",
    }


def streams(stubber: Stubber) -> None:
    stubber.add_response(
        "describe_log_streams",
        {"logStreams": [{"logStreamName": STREAM}]},
        {"logGroupName": GROUP, "logStreamNamePrefix": "job/"},
    )


def test_each_reading_goes_on_where_the_last_one_ended(target: Target, stub: Stub) -> None:
    logs = stub(target.logs)
    reader = LogReader(target.logs, GROUP, "job/")
    first = {"logGroupName": GROUP, "logStreamName": STREAM, "startFromHead": True}
    streams(logs)
    logs.add_response("get_log_events", page("f/1", (2000, "two\n"), (1000, "one")), first)
    logs.add_response("get_log_events", page("f/1"), {**first, "nextToken": "f/1"})
    assert [line.text for line in reader.new()] == ["one", "two"]
    streams(logs)
    logs.add_response("get_log_events", page("f/2", (3000, "three")), {**first, "nextToken": "f/1"})
    logs.add_response("get_log_events", page("f/2"), {**first, "nextToken": "f/2"})
    assert [line.text for line in reader.new()] == ["three"]


def test_a_log_that_is_not_there_yet_is_empty(target: Target, stub: Stub) -> None:
    stub(target.logs).add_client_error("describe_log_streams", "ResourceNotFoundException", "no group", 400)
    assert LogReader(target.logs, GROUP, "job/").new() == []
