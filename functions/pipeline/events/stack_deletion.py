"""What CloudFormation asks when the stack is deleted: remove what the pipeline made and CloudFormation does
not know. Of a creation or an update there is nothing to do.

Gone are the endpoint, its configs and models, training jobs that run, the model packages, and everything in
the bucket but what was uploaded: that is its owner's, and a bucket that still holds it is not deleted.
"""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from cleanup import resources
from core import aws, environment
from core.errors import EndpointBusy, RequestRefused, ServiceUnavailable, translated
from core.logging import logger
from serving import endpoint

_LOOK_SECONDS = 5
# Of the time Lambda gives, what is left for the answer.
_SPARE_SECONDS = 60
# As long as a function of an execution that was stopped may still be at work, and make something.
_STILL_AT_WORK_SECONDS = 30
_KEPT = "uploads/"
# CloudFormation takes an answer of at most 4,096 bytes.
_LONGEST_REASON = 1000


@logger.inject_lambda_context(correlation_id_path="RequestId", clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Answers CloudFormation whatever happens: without an answer it would wait for an hour."""
    status, reason = "SUCCESS", ""
    try:
        if event["RequestType"] == "Delete":
            seconds = context.get_remaining_time_in_millis() / 1000 - _SPARE_SECONDS
            with translated():
                remove_everything(time.monotonic() + seconds)
    except Exception as error:
        logger.exception("Not everything is removed")
        status, reason = (
            "FAILED",
            f"{type(error).__name__}: {error} See log stream {context.log_stream_name}.",
        )
    _answer(event, status, reason)


def remove_everything(deadline: float) -> None:
    """Remove what the pipeline made; what is gone already is no error.

    Raises an error that says what is still to be done when time.monotonic() is past `deadline`.
    """
    name = environment.endpoint_name()
    if _stop_executions():
        time.sleep(_STILL_AT_WORK_SECONDS)
    for job in resources.training_jobs(name, "InProgress"):
        resources.remove("training-job", job)
    _delete_endpoint(name, deadline)
    for kind, each in resources.made(name):
        logger.info("Removing", removed=f"{kind}/{each}")
        resources.remove(kind, each)
    _delete_registry(name)
    # Until they have stopped, jobs write into the bucket.
    _await_jobs(name, deadline)
    _empty(environment.bucket(), deadline)


def _stop_executions() -> bool:
    """Whether there were any to stop."""
    states = aws.stepfunctions()
    pages = states.get_paginator("list_executions").paginate(
        stateMachineArn=environment.state_machine_arn(), statusFilter="RUNNING"
    )
    running = [each["executionArn"] for page in pages for each in page["executions"]]
    for arn in running:
        states.stop_execution(executionArn=arn, error="StackDeleted", cause="The stack is being deleted.")
    return bool(running)


def _delete_endpoint(name: str, deadline: float) -> None:
    """Delete the endpoint and wait until it is gone; an update that is under way has to end first."""
    while live := endpoint.describe(name):
        status, config = live["EndpointStatus"], live.get("EndpointConfigName", "")
        if not config.startswith(f"{name}-"):
            logger.warning("The endpoint is not of a run's making and stays", endpoint=name, config=config)
            return
        if time.monotonic() > deadline:
            raise EndpointBusy(f"Endpoint {name} is still {status}. Delete the stack again in some minutes.")
        if status in endpoint.SETTLED:
            endpoint.delete(name)
        time.sleep(_LOOK_SECONDS)


def _delete_registry(name: str) -> None:
    """Delete the model package group with every version in it."""
    sagemaker = aws.sagemaker()
    try:
        packages = [
            package["ModelPackageArn"]
            for page in sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=name)
            for package in page["ModelPackageSummaryList"]
        ]
        for arn in packages:
            sagemaker.delete_model_package(ModelPackageName=arn)
        sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    except ClientError as error:
        if not aws.is_missing(error):
            raise


def _await_jobs(name: str, deadline: float) -> None:
    """Wait for the jobs that were told to stop."""
    while jobs := resources.training_jobs(name, "Stopping"):
        if time.monotonic() > deadline:
            raise ServiceUnavailable(
                f"Training jobs are still stopping: {', '.join(jobs)}. Delete the stack again in minutes."
            )
        time.sleep(_LOOK_SECONDS)


def _empty(bucket: str, deadline: float) -> None:
    """Delete every version of every object but the uploads."""
    s3 = aws.s3()
    # A page has up to 1,000 versions, and so many may be deleted at once.
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
            if not each["Key"].startswith(_KEPT)
        ]
        if not versions:
            continue
        if time.monotonic() > deadline:
            raise ServiceUnavailable(
                f"Bucket {bucket} is not empty yet. Delete the stack again for the rest."
            )
        answer = s3.delete_objects(
            Bucket=bucket,
            Delete={"Objects": versions, "Quiet": True},  # type: ignore[typeddict-item]
        )
        if errors := answer.get("Errors"):
            refused = errors[0]
            raise RequestRefused(
                f"DeleteObjects: s3://{bucket}/{refused.get('Key')}: {refused.get('Message')} "
                f"({refused.get('Code')})"
            )


def _answer(event: dict[str, Any], status: str, reason: str) -> None:
    """CloudFormation waits for a PUT to an address that only it and this function know."""
    document = {
        "Status": status,
        "Reason": reason.encode("ascii", "replace").decode()[:_LONGEST_REASON],
        "PhysicalResourceId": event.get("PhysicalResourceId")
        or f"{event['StackId']}/{event['LogicalResourceId']}",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    request = urllib.request.Request(  # noqa: S310 - the address is CloudFormation's
        event["ResponseURL"],
        data=json.dumps(document).encode(),
        # The address is signed for a request without a content type.
        headers={"Content-Type": ""},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310
        logger.info("Answered CloudFormation", status=status)
