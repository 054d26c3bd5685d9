"""alarm: the topic gets a message about an alarm that went off."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from events import alarm
from tests.unit.pipeline.documents import ENVIRONMENT
from tests.unit.pipeline.stubbed_aws import StubbedAws

# An event as CloudWatch sends it, without most fields that are not read.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
REASON = "Threshold Crossed: 1 datapoint [1.0] was not less than the threshold (1.0)."
EVENT: dict[str, Any] = {
    "detail-type": "CloudWatch Alarm State Change",
    "detail": {
        "alarmName": "lexline-run-failed",
        "configuration": {"description": "A run\nfailed.", "metrics": [{"id": "m1", "returnData": True}]},
        "state": {"value": "ALARM", "reason": REASON, "timestamp": "2026-03-01T17:04:40.989+0000"},
    },
}


def test_the_message_has_the_alarms_description_and_reason(
    stubbed: StubbedAws, context: LambdaContext
) -> None:
    stubbed.answers(
        "sns",
        "publish",
        {"MessageId": "1"},
        TopicArn=ENVIRONMENT["TOPIC_ARN"],
        Subject="Lexline: lexline-run-failed alarm",
        Message=f"Alarm lexline-run-failed: A run failed.\n\n{REASON}",
        MessageAttributes={
            "event": {"DataType": "String", "StringValue": "alarm"},
            "status": {"DataType": "String", "StringValue": "Alarm"},
        },
    )
    assert alarm.handler(EVENT, context) == {}
