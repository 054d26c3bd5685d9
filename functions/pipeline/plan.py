"""The first step: turn an execution's input into a Run with everything decided.

The deployment's defaults (the DEFAULTS variable, shaped like the execution input) are laid under the input.
An upload is claimed, because EventBridge may deliver the same event twice, and training twice costs money.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import aws
import names
import settings
from botocore.exceptions import ClientError
from contracts import ExecutionInput, PlanInput, Run, Upload
from errors import InvalidInput, NothingToDo, code_of
from pydantic import ValidationError
from step import logger, sentence, step

# EventBridge's duplicates come within minutes; later, the same input is a person's wish to run again.
_CLAIM_SECONDS = 15 * 60


@step(PlanInput)
def handler(given: PlanInput) -> Run:
    asked = execution_input(given.request, json.loads(settings.defaults()))
    dataset = dataset_of(asked.upload, settings.bucket()) if asked.upload else asked.dataset
    endpoint = settings.endpoint_name()
    try:
        run = Run(
            name=names.run_name(endpoint, str(dataset), given.execution.id),
            endpoint=endpoint,
            execution=given.execution,
            **{**dict(asked), "dataset": dataset},
        )
    except ValidationError as error:
        raise InvalidInput(sentence(error)) from error
    logger.set_correlation_id(run.name)
    if run.upload:
        _claim(run.upload, run)
    return run


def execution_input(request: Mapping[str, object], defaults: Mapping[str, object]) -> ExecutionInput:
    """The request over the deployment's defaults, field by field. Raises InvalidInput naming the fields."""
    document = dict(defaults)
    for field, value in request.items():
        default = document.get(field)
        both_objects = isinstance(value, Mapping) and isinstance(default, Mapping)
        document[field] = {**default, **value} if both_objects else value  # type: ignore[dict-item]
    try:
        return ExecutionInput.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(sentence(error)) from error


def dataset_of(upload: Upload, bucket: str) -> str:
    """The dataset an uploaded object belongs to: the folder right under uploads/.

    Raises InvalidInput for an object that is in no such folder, NothingToDo for a folder's own marker object.
    """
    root, _, rest = upload.key.partition("/")
    dataset, _, file = rest.partition("/")
    if upload.bucket != bucket or root != "uploads" or not dataset:
        raise InvalidInput(
            f"upload.key: s3://{upload.bucket}/{upload.key} is not under s3://{bucket}/uploads/<dataset>/"
        )
    if upload.key.endswith("/"):
        raise NothingToDo(f"{upload.key} is a folder; upload a text file or an archive into it.")
    if not file:
        raise InvalidInput(
            f"upload.key: {upload.key} is in no dataset's folder; upload it as uploads/<dataset>/{dataset}"
        )
    return dataset


def _claim(upload: Upload, run: Run) -> None:
    """Take this version of the object for `run`, or raise NothingToDo if another run has just taken it."""
    if not upload.version_id:
        # Without a version two uploads of the same bytes look alike; better to train twice than not at all.
        return
    now = int(time.time())
    try:
        aws.dynamodb().put_item(
            TableName=settings.table(),
            Item={
                "resource": {"S": f"s3://{upload.bucket}/{upload.key}?versionId={upload.version_id}"},
                "run": {"S": run.name},
                "expires": {"N": str(now + _CLAIM_SECONDS)},
            },
            ConditionExpression="attribute_not_exists(#resource) OR #run = :run OR #expires < :now",
            ExpressionAttributeNames={"#resource": "resource", "#run": "run", "#expires": "expires"},
            ExpressionAttributeValues={":run": {"S": run.name}, ":now": {"N": str(now)}},
        )
    except ClientError as error:
        if code_of(error) != "ConditionalCheckFailedException":
            raise
        raise NothingToDo(
            f"The arrival of {upload.key} was announced twice and another run has it already. To run again, "
            f'start an execution with {{"dataset": "{run.dataset}"}}.'
        ) from error
