"""alarm: an alarm that goes off is told of on the topic, the point in the first line."""

from typing import Any

from events import alarm

# As CloudWatch sends it, without what is not read.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
EVENT: dict[str, Any] = {
    "version": "0",
    "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
    "detail-type": "CloudWatch Alarm State Change",
    "source": "aws.cloudwatch",
    "account": "111122223333",
    "time": "2026-03-01T17:04:40Z",
    "region": "eu-west-1",
    "resources": ["arn:aws:cloudwatch:eu-west-1:111122223333:alarm:lexline-run-failed"],
    "detail": {
        "alarmName": "lexline-run-failed",
        "configuration": {"description": "A run\nfailed.", "metrics": [{"id": "m1", "returnData": True}]},
        "previousState": {"value": "OK", "reason": "Threshold Crossed: ...", "timestamp": "..."},
        "state": {
            "value": "ALARM",
            "reason": "Threshold Crossed: 1 datapoint [1.0] was not less than the threshold (1.0).",
            "timestamp": "2026-03-01T17:04:40.989+0000",
        },
    },
}


def test_people_are_told_what_the_alarm_stands_for_and_what_set_it_off(
    stubbed: Any, context: Any, variables: Any
) -> None:
    stubbed.answers(
        "sns",
        "publish",
        {"MessageId": "1"},
        TopicArn=variables["TOPIC_ARN"],
        Subject="Lexline: lexline-run-failed alarm",
        Message=(
            "Alarm lexline-run-failed: A run failed.\n\n"
            "Threshold Crossed: 1 datapoint [1.0] was not less than the threshold (1.0)."
        ),
        MessageAttributes={
            "event": {"DataType": "String", "StringValue": "alarm"},
            "status": {"DataType": "String", "StringValue": "Alarm"},
        },
    )
    assert alarm.handler(EVENT, context) == {}
