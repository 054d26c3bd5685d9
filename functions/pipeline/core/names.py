"""Names and ARNs, all computed from the execution, so that a step tried again finds what it already made."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from contracts.run import Run

Kind = Literal["training-job", "model", "endpoint-config", "endpoint"]

# What stands for the dataset in the names of runs that are about none.
DEPLOY, TEARDOWN, CLEANUP = "deploy", "teardown", "cleanup"


def prefix(endpoint: str) -> str:
    """What the names of an endpoint's runs begin with, and those of no other endpoint.

    An endpoint's name has no two hyphens in a row (contracts.EndpointName). So what `lexline` made is told
    from what `lexline-2` made, which may belong to another stack.
    """
    return f"{endpoint}--"


def run_name(endpoint: str, dataset: str, execution_id: str) -> str:
    """The run's name: at most 63 characters of [a-z0-9-], as many as SageMaker takes.

    It starts with the endpoint's name, which is what the IAM policies match on, and ends with 12 hex digits
    of the execution ARN's SHA-256.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")[:18].strip("-")
    return f"{prefix(endpoint)}{slug}-{hashlib.sha256(execution_id.encode()).hexdigest()[:12]}"


def arn(run: Run, kind: Kind, name: str) -> str:
    """The ARN of a SageMaker resource in the execution's own partition, region and account."""
    return beside(run.execution.id, kind, name)


def beside(other: str, kind: Kind, name: str) -> str:
    """The ARN of a SageMaker resource in the partition, region and account of another ARN."""
    _, partition, _, region, account, *_ = other.split(":")
    return f"arn:{partition}:sagemaker:{region}:{account}:{kind}/{name}"
