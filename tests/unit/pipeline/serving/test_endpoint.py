"""endpoint: how SageMaker's description is read, and which endpoints a run may update."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.run import Run
from contracts.serving import Deployed
from core.errors import EndpointFailed, InvalidInput, Misconfigured, NotOwned, UpdateReverted
from serving import endpoint
from tests.unit.pipeline.documents import ENDPOINT_ARN, FORMER, NAME, OTHER_STACK_ID, Documents
from tests.unit.pipeline.stubbed_aws import Described, ExpectedCalls, Owners, StubbedAws


@pytest.fixture
def run(documents: Documents) -> Callable[..., Run]:
    """run(**hosting): the documents' run, with these fields of its hosting."""

    def made(**hosting: Any) -> Run:
        documents.run["hosting"].update(hosting)
        return Run.model_validate(documents.run)

    return made


@pytest.mark.parametrize("instances", [0, 3])
def test_an_endpoint_in_service_with_the_config_is_deployed(described: Described, instances: int) -> None:
    variants = [{"VariantName": "AllTraffic", "CurrentInstanceCount": instances}]
    live = (
        described.endpoint(serverless=True)
        if not instances
        else described.endpoint(ProductionVariants=variants)
    )
    assert endpoint.outcome(live, NAME) == Deployed(  # type: ignore[arg-type]
        endpoint="lexline", arn=ENDPOINT_ARN, config=NAME, instance_count=instances
    )


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_a_change_in_progress_has_no_outcome(described: Described, status: str) -> None:
    assert endpoint.outcome(described.endpoint(status), NAME) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "config", "error", "message"),
    [
        ("Failed", NAME, EndpointFailed, "Endpoint lexline is Failed: No response to the ping."),
        ("UpdateRollbackFailed", NAME, EndpointFailed, "UpdateRollbackFailed: No response"),
        ("OutOfService", NAME, EndpointFailed, "OutOfService: No response"),
        ("Deleting", NAME, EndpointFailed, "was deleted during the deployment"),
        ("InService", FORMER, UpdateReverted, f"still serves {FORMER}. No response to the ping."),
    ],
)
def test_a_failed_change_is_an_error_with_sagemakers_reason(
    described: Described, status: str, config: str, error: type[Exception], message: str
) -> None:
    live = described.endpoint(status, config, FailureReason="No response to the ping.")
    outcome = endpoint.outcome(live, NAME)  # type: ignore[arg-type]
    assert isinstance(outcome, error)
    assert message in str(outcome)


def test_an_endpoint_that_does_not_exist_any_more_has_failed() -> None:
    assert isinstance(endpoint.outcome(None, NAME), EndpointFailed)


# --- which endpoints a run may update


def test_a_real_time_endpoint_cannot_become_serverless_and_the_error_says_what_to_do(
    run: Callable[..., Run], described: Described, expect: ExpectedCalls
) -> None:
    expect.list_tags(FORMER)
    live: Any = described.endpoint(config=FORMER)
    with pytest.raises(InvalidInput, match=r"hosting\.endpoint_type: endpoint lexline is real") as raised:
        endpoint.check_can_take(run(endpoint_type="serverless"), live)
    # The input that the error recommends.
    message = str(raised.value)
    recommended = json.loads(message[message.index("{") : message.rindex("}") + 1])
    assert recommended == {"teardown_of": {"run": FORMER}}


@pytest.mark.parametrize(
    ("requested", "status", "serverless"),
    [
        ("real-time", "InService", False),
        ("real-time", "InService", True),
        ("serverless", "InService", True),
        # A failed endpoint is deleted first, and a new one may have either type.
        ("serverless", "Failed", False),
    ],
)
def test_every_other_change_of_type_is_possible(
    run: Callable[..., Run],
    described: Described,
    expect: ExpectedCalls,
    requested: str,
    status: str,
    serverless: bool,
) -> None:
    expect.list_tags(FORMER)
    live: Any = described.endpoint(status, FORMER, serverless=serverless)
    endpoint.check_can_take(run(endpoint_type=requested), live)


@pytest.mark.parametrize("status", ["InService", "Failed"])
@pytest.mark.parametrize("config", ["by-hand", "lexline-foo", "lexline-2--sotu-0123456789ab", ""])
def test_an_endpoint_that_no_run_created_is_refused(
    run: Callable[..., Run], described: Described, status: str, config: str
) -> None:
    """The roles allow access only to configs whose names begin with `lexline--`."""
    live: Any = described.endpoint(status, config)
    with pytest.raises(Misconfigured, match=rf"{config}, which no run created\. .* another EndpointName"):
        endpoint.check_can_take(run(), live)


@pytest.mark.parametrize(
    ("resource", "exists"),
    [
        ("endpoint/lexline", True),
        ("model-package-group/lexline", True),
        ("model-package-group/lexline", False),
    ],
)
def test_an_endpoint_or_registry_of_another_stack_is_refused(
    run: Callable[..., Run],
    described: Described,
    expect: ExpectedCalls,
    owners: Owners,
    resource: str,
    exists: bool,
) -> None:
    """The registry may be another's even if there is no endpoint."""
    if exists:
        expect.list_tags(FORMER)
    live: Any = described.endpoint("Failed", FORMER) if exists else None
    owners.belongs_to(resource, OTHER_STACK_ID)
    with pytest.raises(NotOwned, match=rf"{resource} belongs to the stack lexline-two"):
        endpoint.check_can_take(run(), live)


def test_only_an_endpoint_that_exists_has_an_owner(run: Callable[..., Run], owners: Owners) -> None:
    """DescribeEndpoint says whether it exists. ListTags might return no tags for one that does not."""
    owners.belongs_to("endpoint/lexline", None)
    assert endpoint.check_can_take(run(), None) == {}


# --- resources that do not exist


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ValidationException", f'Could not find endpoint "{ENDPOINT_ARN}".'),
        ("ValidationException", "Requested resource not found."),
        ("ValidationException", "Endpoint lexline does not exist."),
        ("ResourceNotFound", "Gone."),
    ],
)
def test_sagemaker_says_in_many_ways_that_an_endpoint_does_not_exist(
    stubbed: StubbedAws, code: str, message: str
) -> None:
    stubbed.refuses("sagemaker", "describe_endpoint", code, message)
    assert endpoint.describe("lexline") is None


def test_a_config_that_does_not_exist_has_no_variant(expect: ExpectedCalls) -> None:
    expect.no_endpoint_config()
    assert endpoint.variant(NAME) is None


def test_other_errors_are_raised(stubbed: StubbedAws) -> None:
    for operation in ("describe_endpoint", "describe_endpoint_config"):
        stubbed.refuses("sagemaker", operation, "AccessDeniedException", "Not allowed.")
    with pytest.raises(ClientError, match="Not allowed"):
        endpoint.describe("lexline")
    with pytest.raises(ClientError, match="Not allowed"):
        endpoint.config_exists(NAME)
