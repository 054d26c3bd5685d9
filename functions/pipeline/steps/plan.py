"""Plan: turn an execution's input into a run with everything decided.

The deployment's defaults (the variable DEFAULTS, in the form of an execution's input) fill in what the input
leaves out.
"""

import json
from collections.abc import Mapping

from contracts.base import DATASET_NAMES, is_dataset_name, similar_dataset_name
from contracts.request import ExecutionInput, Upload
from contracts.run import PlanInput, Run
from core import environment, names
from core.errors import InvalidInput, NothingToDo
from core.logging import logger
from entry_point import parsed, step
from git_source.repository import address
from uploads.file_names import is_incidental

# The second marks executions that another state machine starts, and the console's first input is the first.
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-nested-workflows.html
_ADDED_BY_AWS = {"Comment", "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"}


@step(PlanInput)
def handler(given: PlanInput) -> Run:
    """Check the input and return the run."""
    request = execution_input(given.request, json.loads(environment.defaults()))
    if request.source:
        address(request.source.repo)
    endpoint = environment.endpoint_name()
    dataset = dataset_of(request.upload, environment.bucket()) if request.upload else request.dataset
    work, slug, subject = "deploy" if request.model else "train", dataset or names.DEPLOY, ""
    if request.teardown_of:
        work, slug, subject = "teardown", names.TEARDOWN, request.teardown_of.run
    elif request.cleanup_of:
        work, slug, subject = "cleanup", names.CLEANUP, request.cleanup_of.run
    name = names.run_name(endpoint, slug, given.execution.id)
    run = parsed(
        {
            **dict(request),
            "name": name,
            "endpoint": endpoint,
            "execution": given.execution,
            "work": work,
            "subject": subject or name,
            "dataset": dataset,
        },
        Run,
    )
    logger.set_correlation_id(run.name)
    return run


def execution_input(request: Mapping[str, object], defaults: Mapping[str, object]) -> ExecutionInput:
    """Return the request with the deployment's defaults for each field that it leaves out.

    The fields that AWS adds are ignored.

    Raises:
        InvalidInput: a field is wrong or unknown; the message names each.
    """
    document = dict(defaults)
    for field in request.keys() - _ADDED_BY_AWS:
        value, default = request[field], document.get(field)
        both_objects = isinstance(value, Mapping) and isinstance(default, Mapping)
        document[field] = {**default, **value} if both_objects else value  # type: ignore[dict-item]
    return parsed(document, ExecutionInput)


def dataset_of(upload: Upload, bucket: str) -> str:
    """Return the dataset of an uploaded object: the name of its folder under uploads/.

    Raises:
        InvalidInput: the object is not in a folder under uploads/ of the bucket, or the folder's name cannot
            be a dataset's.
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
    if not is_dataset_name(dataset):
        raise InvalidInput(
            f"upload.key: the folder {dataset!r} cannot be a dataset: {DATASET_NAMES}. Upload the file as "
            f"uploads/{similar_dataset_name(dataset)}/{file}, or with `lexline run`, which chooses a name."
        )
    if is_incidental(file):
        raise NothingToDo(f"{upload.key} is no corpus: hidden files, READMEs and licences are ignored.")
    return dataset
