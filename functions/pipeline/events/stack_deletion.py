"""CloudFormation's custom resource: delete everything that the pipeline created when the stack is deleted.

The function does nothing when the stack is created or updated.
"""

import json
import time
import urllib.request
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cleanup import stack
from core.errors import translated
from core.logging import logger

# Time that is left for the response before Lambda ends the function.
_SPARE_SECONDS = 60
# CloudFormation accepts a response of at most 4,096 bytes.
_LONGEST_REASON = 1000


@logger.inject_lambda_context(correlation_id_path="RequestId", clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Respond to CloudFormation in every case: without a response it would wait for an hour."""
    status, reason = "SUCCESS", ""
    try:
        if event["RequestType"] == "Delete":
            seconds = context.get_remaining_time_in_millis() / 1000 - _SPARE_SECONDS
            with translated():
                left = stack.delete_everything(time.monotonic() + seconds)
                reason = f"Not of this stack, so left as they are: {' '.join(left)}" if left else ""
    except Exception as error:
        logger.exception("Not everything is deleted")
        status = "FAILED"
        reason = f"{type(error).__name__}: {error} See log stream {context.log_stream_name}."
    _respond(event, status, reason)


def _respond(event: dict[str, Any], status: str, reason: str) -> None:
    """Send the response to the URL in the event, which only CloudFormation and this function know.

    crhelper 2.0.12 would do this, but it uses HTTPS only, so it cannot respond to the local cloud; it sleeps
    for up to two minutes after a deletion, and retries without end.
    """
    document = {
        "Status": status,
        "Reason": reason.encode("ascii", "replace").decode()[:_LONGEST_REASON],
        "PhysicalResourceId": event.get("PhysicalResourceId")
        or f"{event['StackId']}/{event['LogicalResourceId']}",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    request = urllib.request.Request(  # noqa: S310 - the URL is CloudFormation's
        event["ResponseURL"],
        data=json.dumps(document).encode(),
        # The URL is signed for a request without a content type.
        headers={"Content-Type": ""},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310
        logger.info("Responded to CloudFormation", status=status)
