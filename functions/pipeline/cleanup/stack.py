"""Delete everything that the pipeline created and CloudFormation does not know.

These are the endpoint, its configs and models, training jobs in progress, the model package group, and all
objects in the bucket except the uploads. Uploads are their owner's; CloudFormation does not delete a bucket
that holds them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from cleanup import objects, resources
from core import aws, environment, ownership
from core.errors import EndpointBusy, NotOwned, ServiceUnavailable
from core.logging import logger
from registry import model_packages
from serving import endpoint

_POLL_SECONDS = 5
# A function of a stopped execution may run this long, and create something.
_STILL_RUNNING_SECONDS = 30
_KEPT = "uploads/"


def delete_everything(deadline: float) -> list[str]:
    """Delete what the pipeline created; ignore what is deleted already.

    Args:
        deadline: the latest `time.monotonic()` at which to go on waiting.

    Returns:
        A sentence for each resource that has a name of this stack's runs but is not this stack's. It stays.

    Raises:
        PipelineError: something is not deleted yet; the message says what, and what to do.
    """
    name = environment.endpoint_name()
    if _stop_executions():
        time.sleep(_STILL_RUNNING_SECONDS)
    left: list[str] = []
    for job in resources.training_jobs(name, "InProgress"):
        with _leaving(left):
            resources.delete("training-job", job)
    with _leaving(left):
        _delete_endpoint(name, deadline)
    for kind, each in resources.list_resources(name):
        with _leaving(left):
            logger.info("Deleting", resource=f"{kind}/{each}")
            resources.delete(kind, each)
    with _leaving(left):
        _delete_registry(name)
    # A job writes into the bucket until it has stopped, so wait before emptying the bucket.
    _await_jobs(name, deadline)
    objects.delete_versions(environment.bucket(), kept=_KEPT, deadline=deadline)
    return list(dict.fromkeys(left))


@contextmanager
def _leaving(left: list[str]) -> Iterator[None]:
    """Note a resource that is not this stack's, and go on."""
    try:
        yield
    except NotOwned as error:
        left.append(str(error))
        logger.warning("A resource stays", reason=str(error))


def _stop_executions() -> bool:
    """Stop all executions in progress. Return whether there were any."""
    states = aws.stepfunctions()
    pages = states.get_paginator("list_executions").paginate(
        stateMachineArn=environment.state_machine_arn(), statusFilter="RUNNING"
    )
    running = [each["executionArn"] for page in pages for each in page["executions"]]
    for arn in running:
        states.stop_execution(executionArn=arn, error="StackDeleted", cause="The stack is being deleted.")
    return bool(running)


def _delete_endpoint(name: str, deadline: float) -> None:
    """Delete the endpoint and wait until it is deleted. An update in progress has to end first."""
    ownership.check("endpoint", name)
    while live := endpoint.describe(name):
        status = live["EndpointStatus"]
        if time.monotonic() > deadline:
            raise EndpointBusy(f"Endpoint {name} is still {status}. Delete the stack again in a few minutes.")
        if status in endpoint.SETTLED:
            resources.delete_endpoint(name)
        time.sleep(_POLL_SECONDS)


def _delete_registry(name: str) -> None:
    """Delete the model package group with all its versions."""
    if not ownership.check("model-package-group", name):
        return
    sagemaker = aws.sagemaker()
    # The list is complete before it is used: deleting during a paginated listing would move the pages.
    for package in list(model_packages.packages(name)):
        sagemaker.delete_model_package(ModelPackageName=package["ModelPackageArn"])
    with aws.allowing(aws.is_missing):
        sagemaker.delete_model_package_group(ModelPackageGroupName=name)


def _await_jobs(name: str, deadline: float) -> None:
    """Wait until the stopped training jobs have ended."""
    while jobs := resources.training_jobs(name, "Stopping"):
        if time.monotonic() > deadline:
            raise ServiceUnavailable(
                f"Training jobs are still stopping: {', '.join(jobs)}. Delete the stack again later."
            )
        time.sleep(_POLL_SECONDS)
