"""Plan: turn an execution's input into a run with everything decided.

The deployment's defaults (the variable DEFAULTS, in the form of an execution's input) fill in what the input
leaves out.
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
    """Check the input and return the run."""
    request = execution_input(given.request, json.loads(environment.defaults()))
    if request.source:
        address(request.source.repo)
    endpoint = environment.endpoint_name()
    dataset = dataset_of(request.upload, environment.bucket()) if request.upload else request.dataset
    work: dict[str, Any]
    if request.teardown_of:
        work = {"work": "teardown", "subject": request.teardown_of.run}
        slug = names.TEARDOWN
    elif request.cleanup_of:
        work = {"work": "cleanup", "subject": request.cleanup_of.run}
        slug = names.CLEANUP
    else:
        work = {"work": "deploy" if request.model else "train"}
        slug = dataset or names.DEPLOY
    name = names.run_name(endpoint, slug, given.execution.id)
    try:
        run = Run.model_validate(
            {
                "subject": name,
                **dict(request),
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
    """Return the request with the deployment's defaults for each field that it leaves out.

    Raises:
        InvalidInput: a field is wrong or unknown; the message names each.
    """
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
    """Return the dataset of an uploaded object: the name of its folder under uploads/.

    Raises:
        InvalidInput: the object is not in a folder under uploads/ of the bucket.
        NothingToDo: the object's name says that it is no corpus: a folder's marker, a README, a licence, a
            hidden file.
    """
    root, _, rest = upload.key.partition("/")
    dataset, _, file = rest.partition("/")
    if upload.bucket != bucket or root != "uploads" or not dataset:
        raise InvalidInput(
            f"upload.key: s3://{upload.bucket}/{upload.key} is not under s3://{bucket}/uploads/<dataset>/. "
            "Upload the file there."
        )
    if upload.key.endswith("/"):
        raise NothingToDo(f"{upload.key} is a folder. Upload a text file or an archive into it.")
    if not file:
        raise InvalidInput(
            f"upload.key: {upload.key} is not in a dataset's folder. "
            f"Upload it as uploads/<dataset>/{dataset}."
        )
    if is_incidental(file):
        raise NothingToDo(f"{upload.key} is no corpus: hidden files, READMEs and licences are ignored.")
    return dataset
