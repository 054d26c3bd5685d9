"""List and delete the SageMaker resources that the runs of an endpoint created.

Resources are recognised by their names, which begin with `names.prefix(endpoint)`. Whatever their names, only
this stack's own are deleted: for all others, the functions here raise NotOwned.
"""

from typing import Literal, NoReturn

from core import aws, names, ownership
from core.errors import EndpointBusy
from core.logging import logger
from training import training_job

Kind = Literal["training-job", "endpoint-config", "model"]


def list_resources(endpoint: str) -> list[tuple[Kind, str]]:
    """Return the endpoint's configs, models and training jobs in progress, as `(kind, name)`.

    A resource comes before those that it uses, so the list can be deleted in its order. It is complete before
    it is returned: deleting during a paginated listing would move the pages.
    """
    sagemaker, prefix = aws.sagemaker(), names.prefix(endpoint)
    found: list[tuple[Kind, str]] = [("training-job", name) for name in training_jobs(endpoint, "InProgress")]
    for configs in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
        found += [("endpoint-config", each["EndpointConfigName"]) for each in configs["EndpointConfigs"]]
    for models in sagemaker.get_paginator("list_models").paginate(NameContains=prefix):
        found += [("model", each["ModelName"]) for each in models["Models"]]
    # NameContains also finds the prefix in the middle of a name.
    return [(kind, name) for kind, name in found if name.startswith(prefix)]


def training_jobs(endpoint: str, status: Literal["InProgress", "Stopping"]) -> list[str]:
    """Return the names of the endpoint's training jobs that have this status."""
    prefix = names.prefix(endpoint)
    pages = aws.sagemaker().get_paginator("list_training_jobs")
    return [
        job["TrainingJobName"]
        for page in pages.paginate(NameContains=prefix, StatusEquals=status)
        for job in page["TrainingJobSummaries"]
        if job["TrainingJobName"].startswith(prefix)
    ]


def delete(kind: Kind, name: str) -> None:
    """Delete the resource. Training jobs cannot be deleted, so stop the job."""
    if kind == "training-job":
        training_job.stop(name)
    elif kind == "endpoint-config":
        delete_config(name)
    else:
        delete_model(name)


def delete_endpoint(name: str) -> None:
    """Start deleting the endpoint, which takes minutes. Do nothing if it is deleted or being deleted."""
    if not ownership.check("endpoint", name):
        return
    with aws.allowing(aws.is_missing, aws.is_in_progress):
        aws.sagemaker().delete_endpoint(EndpointName=name)
        logger.info("Endpoint is being deleted", endpoint=name)


def delete_endpoint_and_retry(name: str) -> NoReturn:
    """Start deleting the endpoint, and raise EndpointBusy so that the state machine retries the step."""
    delete_endpoint(name)
    raise EndpointBusy(f"Endpoint {name} is being deleted.")


def delete_config_and_model(run: str) -> list[str]:
    """Delete the run's endpoint config and model, which no endpoint may use.

    Returns:
        The resources that existed, as `<kind>/<name>`.
    """
    deleted = [f"endpoint-config/{run}"] if delete_config(run) else []
    return [*deleted, *([f"model/{run}"] if delete_model(run) else [])]


def delete_config(name: str) -> bool:
    """Delete an endpoint config, which the caller knows to be unused. Return whether it existed."""
    if not ownership.check("endpoint-config", name):
        return False
    return aws.or_none(lambda: aws.sagemaker().delete_endpoint_config(EndpointConfigName=name)) is not None


def delete_model(name: str) -> bool:
    """Delete a model that no endpoint config uses. Return whether it existed."""
    if not ownership.check("model", name):
        return False
    return aws.or_none(lambda: aws.sagemaker().delete_model(ModelName=name)) is not None
