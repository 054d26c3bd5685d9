"""The first step: turn an execution's input into a Run with everything decided.

The deployment's defaults (the DEFAULTS variable, shaped like the execution input) are laid under the input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from contracts.request import ExecutionInput, Upload
from contracts.run import PlanInput, Run
from core import environment, names
from core.errors import InvalidInput, NothingToDo
from core.logging import logger
from core.text import sentence
from entry_point import step
from git_source.repository import address
from uploads.file_names import is_incidental


@step(PlanInput)
def handler(given: PlanInput) -> Run:
    asked = execution_input(given.request, json.loads(environment.defaults()))
    if asked.source:
        address(asked.source.repo)
    endpoint = environment.endpoint_name()
    dataset = dataset_of(asked.upload, environment.bucket()) if asked.upload else asked.dataset
    work: dict[str, Any]
    if asked.teardown_of:
        work = {"work": "teardown", "subject": asked.teardown_of.run}
        slug = names.TEARDOWN
    elif asked.cleanup_of:
        work = {"work": "cleanup", "subject": asked.cleanup_of.run}
        slug = names.CLEANUP
    else:
        work = {"work": "deploy" if asked.model else "train"}
        slug = dataset or names.DEPLOY
    name = names.run_name(endpoint, slug, given.execution.id)
    try:
        run = Run.model_validate(
            {
                "subject": name,
                **dict(asked),
                **work,
                "name": name,
                "endpoint": endpoint,
                "execution": given.execution,
                "dataset": dataset,
            }
        )
    except ValidationError as error:
        raise InvalidInput(sentence(error)) from error
    logger.set_correlation_id(run.name)
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

    Raises InvalidInput for an object that is in no such folder, NothingToDo for what is no corpus by its
    name: a folder's own marker object, a README, a licence, a hidden file.
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
    if is_incidental(file):
        raise NothingToDo(f"{upload.key} is no corpus: hidden files, READMEs and licences never are.")
    return dataset
