from dataclasses import replace
from typing import Any

import pytest

from lexline.aws import quotas
from lexline.aws.target import Target
from tests.unit.lexline.conftest import Patch, Stubs, run_lexline
from tests.unit.lexline.pipeline import Run
from tests.unit.pipeline.documents import Documents

PARAMETERS = {
    "TrainingInstanceType": "ml.g5.xlarge",
    "TrainingInstanceCount": "2",
    "SpotTraining": "true",
    "EndpointType": "real-time",
    "HostingInstanceType": "ml.m5.large",
    "HostingInstanceCount": "1",
    "HostingMaxInstanceCount": "0",
    "ServerlessMaxConcurrency": "5",
}
SPOT = "ml.g5.xlarge for spot training job usage"
ON_DEMAND = "ml.g5.xlarge for training job usage"
HOSTING = "ml.m5.large for endpoint usage"
SERVERLESS = "Maximum total concurrency that can be allocated across all serverless endpoints"


def warnings(
    target: Target,
    stubs: Stubs,
    *pages: dict[str, float],
    parameters: dict[str, str] = PARAMETERS,
    run: dict[str, Any] | None = None,
) -> list[str]:
    """The warnings for a stack with these parameters, if Service Quotas returns these pages of values."""
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    stubs.returns("cloudformation", "describe_stacks", Stacks=[{"Parameters": given}])
    for number, page in enumerate(pages, 1):
        listed = [{"QuotaName": name, "QuotaCode": "L-1", "Value": value} for name, value in page.items()]
        more = {"NextToken": str(number)} if number < len(pages) else {}
        stubs.returns("service_quotas", "list_service_quotas", Quotas=listed, **more)
    return list(quotas.warnings(target, run or {}))


def test_no_word_is_said_about_quotas_that_are_large_enough(target: Target, stubs: Stubs) -> None:
    assert warnings(target, stubs, {SPOT: 2, ON_DEMAND: 0}, {HOSTING: 2}) == []


@pytest.mark.parametrize(
    ("name", "needed", "changed"),
    [
        (SPOT, 2, {}),
        (ON_DEMAND, 2, {"SpotTraining": "false"}),
        (HOSTING, 2, {}),
        (HOSTING, 8, {"HostingMaxInstanceCount": "4"}),
        (SERVERLESS, 5, {"EndpointType": "serverless"}),
    ],
)
def test_a_quota_that_is_too_small_is_named_with_the_command_that_raises_it(
    target: Target, stubs: Stubs, name: str, needed: int, changed: dict[str, str]
) -> None:
    limits = {SPOT: 99, ON_DEMAND: 99, HOSTING: 99, SERVERLESS: 99, name: needed - 1}
    (warning,) = warnings(target, stubs, limits, parameters={**PARAMETERS, **changed})
    assert f"The quota '{name}' is {needed - 1}, and " in warning
    assert f"needs {needed}." in warning
    assert f"--quota-code L-1 --desired-value {needed} --region us-east-1" in warning
    assert "https://us-east-1.console.aws.amazon.com/servicequotas/" in warning


@pytest.mark.parametrize(
    ("section", "settings", "name", "needed"),
    [
        ("training", {"instance_type": "ml.g5.12xlarge"}, "ml.g5.12xlarge for spot training job usage", 1),
        ("training", {"instance_count": 3, "spot": False}, "ml.m5.large for training job usage", 3),
        ("hosting", {"instance_type": "ml.c5.large"}, "ml.c5.large for endpoint usage", 2),
        ("hosting", {"endpoint_type": "serverless", "serverless_max_concurrency": 9}, SERVERLESS, 9),
    ],
)
def test_the_settings_of_a_run_count_in_place_of_the_stacks_parameters(
    target: Target, stubs: Stubs, section: str, settings: dict[str, Any], name: str, needed: int
) -> None:
    document = Documents().run
    document["training"].update(instance_type="ml.m5.large", instance_count=1, spot=True)
    document[section].update(settings)
    run = Run.model_validate(document).model_dump(mode="json")
    (warning,) = [each for each in warnings(target, stubs, {name: needed - 1}, run=run) if name in each]
    assert f"The quota '{name}' is {needed - 1}, and " in warning
    assert f"needs {needed}." in warning


def test_a_quota_that_is_not_shown_is_not_guessed(target: Target, stubs: Stubs) -> None:
    (warning,) = warnings(target, stubs, {SPOT: 2})
    assert warning == f"Service Quotas does not show the quota '{HOSTING}', so it was not checked."


def test_without_the_permission_the_deployment_goes_on_and_says_so(target: Target, stubs: Stubs) -> None:
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in PARAMETERS.items()]
    stubs.returns("cloudformation", "describe_stacks", Stacks=[{"Parameters": given}])
    stubs.service_quotas.add_client_error(
        "list_service_quotas", "AccessDeniedException", "not authorized: servicequotas:ListServiceQuotas", 400
    )
    (warning,) = quotas.warnings(target, {})
    assert "were not checked" in warning
    assert "servicequotas:ListServiceQuotas" in warning


def test_the_local_cloud_has_no_service_quotas(target: Target) -> None:
    assert list(quotas.warnings(replace(target, endpoint_url="http://127.0.0.1:4566"), {})) == []


@pytest.mark.usefixtures("deployed")
def test_up_shows_the_warnings(target: Target, patch: Patch) -> None:
    patch("aws.target.for_profile", target)
    patch("aws.sam.deploy", None)
    patch("aws.quotas.warnings", ["The quota 'ml.g5.xlarge for training job usage' is 0."])
    result = run_lexline("up", "--profile", "me")
    assert result.exit_code == 0
    assert "for training job usage' is 0." in result.output
