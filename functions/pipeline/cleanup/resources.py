"""What the runs of an endpoint have made in SageMaker and CloudFormation does not know of: training jobs,
endpoint configs and models, told by their names.
"""

from __future__ import annotations

from typing import Literal

from core import aws, names
from serving import endpoint
from training import training_job

Kind = Literal["training-job", "endpoint-config", "model"]


def made(endpoint_name: str) -> list[tuple[Kind, str]]:
    """All of it, jobs only while they run, as `(kind, name)`: what uses a thing before what is used.

    Listed to the end, so that deleting does not move the pages.
    """
    sagemaker, prefix = aws.sagemaker(), names.prefix(endpoint_name)
    found: list[tuple[Kind, str]] = [
        ("training-job", name) for name in training_jobs(endpoint_name, "InProgress")
    ]
    for configs in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
        found += [("endpoint-config", each["EndpointConfigName"]) for each in configs["EndpointConfigs"]]
    for models in sagemaker.get_paginator("list_models").paginate(NameContains=prefix):
        found += [("model", each["ModelName"]) for each in models["Models"]]
    # NameContains is not "begins with".
    return [(kind, name) for kind, name in found if name.startswith(prefix)]


def training_jobs(endpoint_name: str, status: Literal["InProgress", "Stopping"]) -> list[str]:
    """The runs' jobs in a status."""
    prefix = names.prefix(endpoint_name)
    pages = aws.sagemaker().get_paginator("list_training_jobs")
    return [
        job["TrainingJobName"]
        for page in pages.paginate(NameContains=prefix, StatusEquals=status)
        for job in page["TrainingJobSummaries"]
        if job["TrainingJobName"].startswith(prefix)
    ]


def remove(kind: Kind, name: str) -> None:
    """Have it gone; a job is told to stop."""
    if kind == "training-job":
        training_job.stop(name)
    elif kind == "endpoint-config":
        endpoint.delete_config(name)
    else:
        endpoint.delete_model(name)
