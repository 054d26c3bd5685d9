"""What CloudFormation asks when the stack is deleted: remove what the pipeline made and CloudFormation does
not know. Of a creation or an update there is nothing to do.

Gone are the endpoint, its configs and models, training jobs that run, the model packages, and everything in
the bucket but what was uploaded: that is its owner's, and a bucket that still holds it is not deleted.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import aws
import endpoint
import settings
import training_job
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError, WaiterError
from errors import EndpointBusy, translated
from step import logger

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import WaiterConfigTypeDef

# The endpoint may be in the middle of an update, which is to end first; then deleting takes a minute or two.
# Both waits and the rest have to fit into the function's 900 s.
_LOOK_SECONDS, _LOOKS = 10, 40
_KEPT = "uploads/"
_LONGEST_REASON = 1000


@logger.inject_lambda_context(correlation_id_path="RequestId", clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Answers CloudFormation whatever happens: without an answer it would wait for an hour."""
    status, reason = "SUCCESS", ""
    try:
        if event["RequestType"] == "Delete":
            with translated():
                remove_everything()
    except Exception as error:
        logger.exception("Not everything is removed")
        status, reason = (
            "FAILED",
            f"{type(error).__name__}: {error} See log stream {context.log_stream_name}.",
        )
    _answer(event, status, reason[:_LONGEST_REASON])


def remove_everything() -> None:
    """Remove what the pipeline made; what is gone already is no error."""
    name = settings.endpoint_name()
    _stop_executions()
    _delete_endpoint(name)
    sagemaker, prefix = aws.sagemaker(), f"{name}-"
    for kind, each in _made(prefix):
        logger.info("Removing", kind=kind, name=each)
        if kind == "training-job":
            training_job.stop(each)
        elif kind == "endpoint-config":
            endpoint.delete_config(each)
        elif kind == "model":
            endpoint.delete_model(each)
        else:
            sagemaker.delete_model_package(ModelPackageName=each)
    try:
        sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    except ClientError as error:
        if not aws.is_missing(error):
            raise
    _empty(settings.bucket())


def _stop_executions() -> None:
    states = aws.stepfunctions()
    pages = states.get_paginator("list_executions").paginate(
        stateMachineArn=settings.state_machine_arn(), statusFilter="RUNNING"
    )
    for execution in [each for page in pages for each in page["executions"]]:
        states.stop_execution(
            executionArn=execution["executionArn"], error="StackDeleted", cause="The stack is being deleted."
        )


def _delete_endpoint(name: str) -> None:
    sagemaker = aws.sagemaker()
    patience: WaiterConfigTypeDef = {"Delay": _LOOK_SECONDS, "MaxAttempts": _LOOKS}
    live = endpoint.describe(name)
    if live is None:
        return
    if live["EndpointStatus"] not in {*endpoint.SETTLED, "Deleting"}:
        try:
            sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=patience)
        except WaiterError:
            # It has failed, or is still not done: deleting will tell.
            logger.info("The endpoint did not come into service", endpoint=name)
    endpoint.delete(name)
    try:
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=patience)
    except WaiterError as error:
        raise EndpointBusy(
            f"Endpoint {name} could not be deleted within {_LOOK_SECONDS * _LOOKS} s. Delete the stack again "
            "once no update of it is under way."
        ) from error


def _made(prefix: str) -> Iterator[tuple[str, str]]:
    """What the runs made, as `(kind, name)`; listed to the end, for the deleting goes on meanwhile."""
    sagemaker = aws.sagemaker()
    yield from [
        ("training-job", job["TrainingJobName"])
        for page in sagemaker.get_paginator("list_training_jobs").paginate(
            NameContains=prefix, StatusEquals="InProgress"
        )
        for job in page["TrainingJobSummaries"]
        if job["TrainingJobName"].startswith(prefix)
    ]
    yield from [
        ("endpoint-config", config["EndpointConfigName"])
        for page in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix)
        for config in page["EndpointConfigs"]
        if config["EndpointConfigName"].startswith(prefix)
    ]
    yield from [
        ("model", model["ModelName"])
        for page in sagemaker.get_paginator("list_models").paginate(NameContains=prefix)
        for model in page["Models"]
        if model["ModelName"].startswith(prefix)
    ]
    try:
        yield from [
            ("model-package", package["ModelPackageArn"])
            for page in sagemaker.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=prefix.removesuffix("-")
            )
            for package in page["ModelPackageSummaryList"]
        ]
    except ClientError as error:
        if not aws.is_missing(error):
            raise


def _empty(bucket: str) -> None:
    """Delete every version of every object but the uploads."""
    s3 = aws.s3()
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
            if not each["Key"].startswith(_KEPT)
        ]
        if versions:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})  # type: ignore[typeddict-item]


def _answer(event: dict[str, Any], status: str, reason: str) -> None:
    """CloudFormation waits for a PUT to an address that only it and this function know."""
    document = {
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": event.get("PhysicalResourceId") or event["LogicalResourceId"],
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
