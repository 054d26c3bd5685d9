"""sns_messages: the subject is for a mailbox, the first line is the point, and every message can be sent."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.events import Swept
from contracts.run import Run
from reporting import sns_messages
from tests.unit.pipeline.documents import FORMER, NAME, Documents
from tests.unit.pipeline.stubbed_aws import StubbedAws

LIMIT = 262_144
Sent = Callable[[], dict[str, Any]]


@pytest.fixture
def sent(stubbed: StubbedAws) -> Sent:
    """sent(): the parameters of the message that was published."""
    stubbed.answers("sns", "publish", {"MessageId": "1"})
    return lambda: stubbed.parameters["Publish"]


def first_line(message: dict[str, Any]) -> str:
    return str(message["Message"].partition("\n")[0])


@pytest.mark.parametrize(
    ("work", "more", "task"),
    [
        ("train", {}, "trains a model on dataset sotu for endpoint lexline."),
        ("deploy", {"model": "previous", "dataset": None}, "deploys model previous to endpoint lexline."),
        (
            "teardown",
            {"subject": FORMER, "dataset": None},
            f"tears down endpoint lexline, which run {FORMER} deployed.",
        ),
        (
            "cleanup",
            {"subject": FORMER, "dataset": None},
            f"deletes what run {FORMER} left unfinished at endpoint lexline.",
        ),
    ],
)
def test_a_run_says_that_it_begins_and_its_task(
    sent: Sent, documents: Documents, variables: dict[str, str], work: str, more: Any, task: str
) -> None:
    documents.run.update(work=work, **more)
    sns_messages.started(Run.model_validate(documents.run))
    assert sent() == {
        "TopicArn": variables["TOPIC_ARN"],
        "Subject": f"Lexline: {NAME} started",
        "Message": f"Run {NAME} has started. It {task}\n\nExecution: {documents.execution['id']}",
        "MessageAttributes": {
            "event": {"DataType": "String", "StringValue": "started"},
            "status": {"DataType": "String", "StringValue": "Started"},
        },
    }


def test_an_idle_check_publishes_nothing(stubbed: StubbedAws, documents: Documents) -> None:
    documents.run.update(work="teardown", teardown_of={"run": NAME, "when_idle": "PT1H"}, dataset=None)
    sns_messages.started(Run.model_validate(documents.run))
    assert stubbed.calls == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            {"orphans": ["model/a", "model/b"], "removed": True, "foreign": [], "started": []},
            "Sweep: 2 resources belong to no run (deleted): model/a, model/b.",
        ),
        (
            {"orphans": ["model/a"], "removed": False, "foreign": [], "started": []},
            "Sweep: 1 resource belongs to no run (not deleted: parameter Sweep is report): model/a.",
        ),
        (
            {"orphans": [], "removed": True, "foreign": [], "started": ["arn:a"]},
            "Sweep: Executions started in place of missed events: arn:a.",
        ),
        (
            {"orphans": [], "removed": True, "foreign": ["model/a belongs to no stack."], "started": []},
            "Sweep: Not of this stack, so left as they are: model/a belongs to no stack.",
        ),
    ],
)
def test_the_sweep_says_what_it_found_and_did(sent: Sent, found: Any, line: str) -> None:
    sns_messages.swept(Swept.model_validate(found))
    assert first_line(sent()) == line
    assert json.loads(sent()["Message"].partition("\n\n")[2]) == found
    assert sent()["Subject"] == "Lexline: sweep swept"
    assert sent()["MessageAttributes"]["event"]["StringValue"] == "swept"


def test_a_sweep_of_thousands_can_be_sent(sent: Sent) -> None:
    orphans = [f"endpoint-config/lexline--{'x' * 50}-{number:012x}" for number in range(9000)]
    sns_messages.swept(Swept(orphans=orphans, removed=True, foreign=[], started=[]))
    message = sent()["Message"]
    assert len(message.encode()) <= LIMIT
    assert message.endswith("The message is cut here: Amazon SNS allows 262,144 bytes.")
    assert first_line(sent()).startswith("Sweep: 9000 resources belong to no run (deleted): endpoint-config/")
    assert len(first_line(sent())) <= 2000


@pytest.mark.parametrize("work", ["train", "teardown"])
def test_every_subject_is_one_that_sns_takes(sent: Sent, documents: Documents, work: str) -> None:
    """Publish's reference: no line breaks, less than 100 characters. Runs' names have up to 63."""
    documents.run.update(name=f"{'a' * 62}b", subject="c", work=work)
    sns_messages.started(Run.model_validate(documents.run))
    subject = sent()["Subject"]
    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) < 100


def test_the_first_line_is_one_line(sent: Sent) -> None:
    sns_messages._publish("failed", NAME, "Failed: a\n  trace\r\nof lines", "{}")
    assert sent()["Message"] == "Failed: a trace of lines\n\n{}"
