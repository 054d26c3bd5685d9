"""The account's quotas of SageMaker that the stack's runs need.

Many quotas are 0 in a new account. A run finds that out only when it starts its training job, or creates its
endpoint after the training was paid for. So `lexline up` and `lexline run --dry-run` look first. The pipeline
itself does not, because a quota is found by its name only in a list of thousands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lexline.aws import client_errors
from lexline.aws.target import Target

_CONSOLE = "/servicequotas/home/services/sagemaker/quotas"
_PAGE = {"PageSize": 100}
"""The largest page. SageMaker has thousands of quotas."""
_SERVERLESS = "Maximum total concurrency that can be allocated across all serverless endpoints"

_FIELDS = {
    "TrainingInstanceType": ("training", "instance_type"),
    "TrainingInstanceCount": ("training", "instance_count"),
    "SpotTraining": ("training", "spot"),
    "EndpointType": ("hosting", "endpoint_type"),
    "HostingInstanceType": ("hosting", "instance_type"),
    "HostingInstanceCount": ("hosting", "instance_count"),
    "HostingMaxInstanceCount": ("hosting", "max_instance_count"),
    "ServerlessMaxConcurrency": ("hosting", "serverless_max_concurrency"),
}
"""The settings of a run that override the stack's parameters."""


def warnings(target: Target, run: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each quota that is too small for the stack's runs, or for one run.

    The sentence has the command to raise the quota.

    If Service Quotas cannot be read, yield a sentence that says so. On the local cloud, yield nothing.

    Args:
        target: The deployed stack.
        run: One run with everything decided, whose settings count in place of the stack's parameters; or {}
            for the runs that have no settings of their own.
    """
    if target.local:
        return
    (stack,) = target.cloudformation.describe_stacks(StackName=target.stack_name)["Stacks"]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    needs = _needs({**parameters, **_parameters_of(run)})
    try:
        found = _look_up(target, needs)
    except client_errors.ERRORS as error:
        yield f"The quotas of SageMaker were not checked. {client_errors.explain(error)[0]}"
        return
    for name, (needed, reason) in needs.items():
        if name not in found:
            yield f"Service Quotas does not show the quota '{name}', so it was not checked."
            continue
        limit, code = found[name]
        if limit < needed:
            place = f"--region {target.region} --profile {target.session.profile_name}"
            yield (
                f"The quota '{name}' is {limit:g}, and {reason} needs {needed}. A run that finds it too "
                "small fails with QuotaTooSmall. Raise it with\n"
                "  aws service-quotas request-service-quota-increase "
                f"--service-code sagemaker --quota-code {code} --desired-value {needed} {place}\n"
                f"or at https://{target.region}.console.aws.amazon.com{_CONSOLE}/{code}"
            )


def _parameters_of(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that a stack with the settings of a run would have."""
    return {
        parameter: str(run[section][name]).lower()
        for parameter, (section, name) in _FIELDS.items()
        if section in run
    }


def _needs(parameters: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """Return how much of each quota runs need and for what, by the quota's name, for a stack's parameters."""
    spot = "spot " if parameters["SpotTraining"] == "true" else ""
    training = f"{parameters['TrainingInstanceType']} for {spot}training job usage"
    needs = {training: (int(parameters["TrainingInstanceCount"]), "a training job")}
    if parameters["EndpointType"] == "serverless":
        needs[_SERVERLESS] = (int(parameters["ServerlessMaxConcurrency"]), "the endpoint")
    else:
        # An update starts the new instances before it ends the present ones.
        most = max(int(parameters["HostingInstanceCount"]), int(parameters["HostingMaxInstanceCount"]))
        hosting = f"{parameters['HostingInstanceType']} for endpoint usage"
        needs[hosting] = (2 * most, "an update, which starts its instances beside the present ones,")
    return needs


def _look_up(target: Target, names: Mapping[str, object]) -> dict[str, tuple[float, str]]:
    """Return the value and the code of each quota that Service Quotas shows, by its name."""
    found: dict[str, tuple[float, str]] = {}
    pages = target.service_quotas.get_paginator("list_service_quotas")
    for page in pages.paginate(ServiceCode="sagemaker", PaginationConfig=_PAGE):
        for quota in page["Quotas"]:
            if quota["QuotaName"] in names:
                found[quota["QuotaName"]] = (quota["Value"], quota["QuotaCode"])
        if len(found) == len(names):
            break
    return found
