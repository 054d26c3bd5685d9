"""Problems reach people: alarms through the results topic, unhandled events through a queue."""

import contextlib
import json
from typing import Any

from tests.e2e.command import lexline
from tests.queues import Queue
from tests.stack import DeployedStack
from tests.waiting import wait_until

ALARM = "lexline-api-errors"


def test_an_alarm_is_published_on_the_results_topic(stack: DeployedStack) -> None:
    cloudwatch, queue = stack.cloud.client("cloudwatch"), Queue(stack.cloud.client)
    subscription = queue.subscribe(stack.outputs["TopicArn"], {"event": ["alarm"]})
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason=f"It is {state}.")
    message = queue.wait_for(1)[0]
    stack.cloud.client("sns").unsubscribe(SubscriptionArn=subscription)
    queue.delete()
    assert message["Subject"] == f"Lexline: {ALARM} alarm"
    assert message["Message"].startswith(f"Alarm {ALARM}: ")
    assert "It is ALARM." in message["Message"]
    assert message["MessageAttributes"]["event"]["Value"] == "alarm"
    cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue="OK", StateReason="It was a test.")


def test_an_event_that_a_function_fails_on_three_times_goes_to_a_queue(stack: DeployedStack) -> None:
    event: dict[str, object] = {"resources": []}
    queue, sqs = stack.resources()["FailedEvents"], stack.cloud.client("sqs")
    stack.cloud.client("lambda").invoke(
        FunctionName="lexline-callback", InvocationType="Event", Payload=json.dumps(event).encode()
    )

    def received() -> dict[str, Any] | None:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            body: dict[str, Any] = json.loads(message["Body"])
            if body["requestPayload"] == event:
                return body
        return None

    body = wait_until(received, "the event in the queue")
    assert body["requestContext"]["approximateInvokeCount"] == 3
    assert body["responsePayload"]["errorType"] == "InvalidInput"


def test_the_command_survives_executions_that_others_have_started(stack: DeployedStack) -> None:
    client = stack.cloud.client("stepfunctions")
    for number, text in enumerate(("[1]", '"x"', "7", "null", "{bad", '{"upload": {"key": 7, "etag": []}}')):
        # Step Functions refuses what is no JSON.
        with contextlib.suppress(client.exceptions.InvalidExecutionInput):
            client.start_execution(
                stateMachineArn=stack.outputs["StateMachineArn"], name=f"by-hand_{number}.x", input=text
            )
    for command in ("status", "status by-hand_0.x", "report", "cost", "logs", "models", "logs by-hand_1.x"):
        result = lexline(stack, *command.split())
        assert result.returncode in (0, 1), command
        assert "Traceback" not in result.stdout + result.stderr, command
        assert result.stdout or result.stderr.startswith("Error: "), command
