"""Names and ARNs, all derived from the execution, so that a retried step finds what it created before."""

import hashlib
import re
from typing import Literal

from contracts.run import Run

ArnKind = Literal["training-job", "model", "endpoint-config", "endpoint", "model-package-group"]

# These stand for the dataset in the names of runs that have no dataset.
DEPLOY, TEARDOWN, CLEANUP = "deploy", "teardown", "cleanup"


def prefix(endpoint: str) -> str:
    """Return the beginning of the names of all resources of the endpoint's runs.

    No other endpoint's names begin so: an endpoint's name has no two hyphens in a row
    (contracts.base.EndpointName). This tells the resources of `lexline` from those of `lexline-2`. If two
    stacks were given the same `EndpointName`, only the tag tells theirs apart (core.ownership).
    """
    return f"{endpoint}--"


def run_name(endpoint: str, dataset: str, execution_id: str) -> str:
    """Return the run's name: at most 63 characters of [a-z0-9-], which is SageMaker's limit.

    The name begins with the endpoint's name, which the IAM policies match, and ends with 12 hexadecimal
    digits of the SHA-256 of the execution's ARN.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")[:18].strip("-")
    return f"{prefix(endpoint)}{slug}-{hashlib.sha256(execution_id.encode()).hexdigest()[:12]}"


def arn(run: Run, kind: ArnKind, name: str) -> str:
    """Return the ARN of a SageMaker resource in the execution's partition, region and account."""
    return beside(run.execution.id, kind, name)


def beside(sibling_arn: str, kind: ArnKind, name: str) -> str:
    """Return the ARN of a SageMaker resource in the partition, region and account of another ARN."""
    _, partition, _, region, account, *_ = sibling_arn.split(":")
    return f"arn:{partition}:sagemaker:{region}:{account}:{kind}/{name}"
