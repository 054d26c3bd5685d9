"""The account's quotas: instances of a type in training, on spot capacity and for endpoints.

AWS: each instance type has a quota for each use, and spot training has quotas apart from on-demand training.
Many are 0 in a new account. A request beyond a quota is refused with the sentence below; the names are those
of Service Quotas. An update of an endpoint starts new instances beside the present ones, so it needs a quota
for both.
https://docs.aws.amazon.com/general/latest/gr/sagemaker.html
https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
Here: 20 instances of each type for each use, and a serverless concurrency of 200. The environment variable
SAGEMAKER_QUOTAS, a JSON object of numbers by name, sets others. AWS's sentence for the serverless concurrency
is not documented, so its unit is a guess.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from localcloud.sagemaker.core.errors import ResourceLimitError

OPTION = "SAGEMAKER_QUOTAS"
INSTANCES = 20
CONCURRENCY = "Maximum total concurrency that can be allocated across all serverless endpoints"

Needs = Counter[str]
"""How much of each quota something needs, by the quota's name."""


class Quotas:
    """The limits of one account in one region. `limits` may be changed at any time."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = {CONCURRENCY: 200, **json.loads(os.environ.get(OPTION, "{}"))}

    def check(self, needs: Needs, used: Needs) -> None:
        """Raise ResourceLimitError if there is no room for the needs beside what is used."""
        for name, delta in needs.items():
            limit = self.limits.get(name, INSTANCES)
            if used[name] + delta > limit:
                raise ResourceLimitError(refusal(name, limit, used[name], delta))


def refusal(name: str, limit: int, used: int, delta: int) -> str:
    """Return SageMaker's sentence for a request beyond a quota."""
    unit = "Concurrency" if name == CONCURRENCY else "Instances"
    return (
        f"The account-level service limit '{name}' is {limit} {unit}, with current utilization of {used} "
        f"{unit} and a request delta of {delta} {unit}. Please use AWS Service Quotas to request an increase "
        "for this quota. If AWS Service Quotas is not available, contact AWS support to request an increase "
        "for this quota."
    )


def of_training_job(request: Mapping[str, Any]) -> Needs:
    """Return how much of each quota a CreateTrainingJob request needs."""
    spot = "spot " if request.get("EnableManagedSpotTraining", False) else ""
    resources = request["ResourceConfig"]
    return Counter({f"{resources['InstanceType']} for {spot}training job usage": resources["InstanceCount"]})


def of_variants(variants: Iterable[Mapping[str, Any]], instances: Mapping[str, int]) -> Needs:
    """Return how much of each quota production variants need.

    Args:
        variants: The variants of an endpoint config.
        instances: The number of instances of each variant, by its name.
    """
    needs: Needs = Counter()
    for variant in variants:
        if "ServerlessConfig" in variant:
            needs[CONCURRENCY] += variant["ServerlessConfig"]["MaxConcurrency"]
        else:
            needs[f"{variant['InstanceType']} for endpoint usage"] += instances[variant["VariantName"]]
    return needs
