"""deploy: one endpoint for all runs, changed by the owner of the lease, and never to an older run's model."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.request import HostingResources
from core.errors import (
    CapacityUnavailable,
    EndpointBusy,
    InvalidInput,
    LeaseLost,
    Misconfigured,
    RequestRefused,
    ServiceUnavailable,
)
from steps import deploy
from tests.unit.pipeline.documents import ENDPOINT_ARN, FORMER, NAME, SAGEMAKER, Document, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.stubbed_aws import (
    EXISTS,
    IN_PROGRESS,
    NO_CONFIG,
    SERVERLESS,
    Described,
    ExpectedCalls,
    StubbedAws,
    config_arn,
    tag_list,
)

ALARMS = ["lexline-5xx", "lexline-latency"]
Deploys = Callable[[], str]


class Deployment(ExpectedCalls):
    """Announces the calls of the step, in their order."""

    def endpoint(self, *args: Any, instances: int = 1, **more: Any) -> None:
        """Announce a real-time endpoint with this many instances."""
        counts = {"CurrentInstanceCount": instances, "DesiredInstanceCount": instances}
        variants = [{"VariantName": "AllTraffic", **counts}]
        self.describe_endpoint(*args, **{"ProductionVariants": variants, **more})

    def serving_tags(self, **more: str) -> None:
        """Announce the tags of the former run's config."""
        self.list_tags(FORMER, run=FORMER, model=FORMER, **{"generation": "6", **more})

    def create_config(self, previous: str = "", model: str = "", **variant: Any) -> None:
        resources = variant or {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        self.stubbed.answers(
            "sagemaker",
            "create_endpoint_config",
            {"EndpointConfigArn": config_arn(NAME)},
            EndpointConfigName=NAME,
            ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": NAME, **resources}],
            Tags=tag_list(
                run=NAME,
                model=NAME,
                dataset="sotu",
                fingerprint="ab" * 32,
                identity="12" * 32,
                test_perplexity="208.3000",
                generation="7",
                previous=previous,
                previous_model=model,
            ),
        )

    def replace_former(self, **variant: Any) -> None:
        self.serving_tags()
        self.create_config(FORMER, FORMER, **variant)

    def former_config(self, instance_type: str = "ml.m5.large", instances: int = 1) -> None:
        variant = {"InstanceType": instance_type, "InitialInstanceCount": instances}
        self.describe_endpoint_config(FORMER, ModelName=FORMER, **variant)

    def alarms(self, *in_alarm: str) -> None:
        response = {"MetricAlarms": [{"AlarmName": name} for name in in_alarm]}
        asked = {"AlarmNames": ALARMS, "StateValue": "ALARM"}
        self.stubbed.answers("cloudwatch", "describe_alarms", response, **asked)

    def update(self, status: str = "Updating") -> None:
        """Announce UpdateEndpoint with any parameters, and the endpoint after it."""
        self.stubbed.answers("sagemaker", "update_endpoint", {"EndpointArn": ENDPOINT_ARN})
        self.endpoint(status, FORMER)

    def until_update(self, *in_alarm: str) -> None:
        """Announce what comes before UpdateEndpoint, for an endpoint that serves the former run."""
        self.endpoint(config=FORMER)
        self.replace_former()
        self.former_config()
        self.alarms(*in_alarm)

    def update_from_former(self, status: str = "Updating") -> None:
        self.until_update()
        self.update(status)

    @property
    def updated(self) -> dict[str, Any]:
        """UpdateEndpoint's parameters without the two names."""
        sent = dict(self.stubbed.parameters["UpdateEndpoint"])
        assert (sent.pop("EndpointName"), sent.pop("EndpointConfigName")) == ("lexline", NAME)
        return sent


@pytest.fixture
def aws(stubbed: StubbedAws, described: Described, lease_held: TableInMemory) -> Deployment:
    return Deployment(stubbed, described)


@pytest.fixture
def event(machine: ExecutionsInMemory, documents: Documents) -> Document:
    token = machine.wait(machine.start("first", {}))
    return {"token": token, **documents.input("run", "lease", "registered")}


@pytest.fixture
def deploys(
    event: Document, context: LambdaContext, machine: ExecutionsInMemory, documents: Documents
) -> Deploys:
    """deploys(): run the step, and return how the state's wait ended; empty while it waits."""

    def run() -> str:
        deploy.handler(event, context)
        return machine.heard(documents.execution["id"])

    return run


@pytest.fixture
def accepted(lease_held: TableInMemory) -> None:
    """SageMaker has accepted this run's change in an earlier attempt of the step."""
    lease_held.put(ENDPOINT_ARN, token="token-before", run=NAME, expires=1, config=NAME)


# --- creating and updating


def test_the_first_run_creates_the_endpoint_after_it_has_stored_its_token(
    aws: Deployment, deploys: Deploys, event: Document, lease_held: TableInMemory
) -> None:
    aws.no_endpoint()
    aws.create_config()
    aws.create_endpoint()
    aws.endpoint("Creating")
    assert deploys() == ""
    # The first write renews the lease, and the last one marks the change as accepted.
    writes = [call for call in aws.stubbed.calls if call in ("UpdateItem", "CreateEndpoint")]
    assert writes == ["UpdateItem", "UpdateItem", "CreateEndpoint", "UpdateItem"]
    item = lease_held.get(ENDPOINT_ARN)
    assert (item["token"], item["run"], item["config"]) == (event["token"], NAME, NAME)


def test_a_later_run_updates_the_endpoint(aws: Deployment, deploys: Deploys) -> None:
    aws.update_from_former()
    assert deploys() == ""
    assert aws.updated == {
        "RetainAllVariantProperties": True,
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 120,
                "MaximumExecutionTimeoutInSeconds": 3720,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in ALARMS]},
        },
    }


@pytest.mark.parametrize(
    ("requested", "live"),
    [
        ("serverless", {"serverless": True}),
        ("real-time", {"serverless": True}),
        # With a DeploymentConfig, SageMaker refuses a variant with another name.
        ("real-time", {"ProductionVariants": [{"VariantName": "blue"}]}),
    ],
)
def test_some_endpoints_take_only_a_plain_update(
    aws: Deployment, deploys: Deploys, event: Document, requested: str, live: dict[str, Any]
) -> None:
    event["run"]["hosting"]["endpoint_type"] = requested
    aws.describe_endpoint(config=FORMER, **live)
    aws.replace_former(**({"ServerlessConfig": SERVERLESS} if requested == "serverless" else {}))
    aws.update()
    deploys()
    assert aws.updated == {}


@pytest.mark.parametrize(
    ("requested", "config", "error"),
    [("serverless", FORMER, InvalidInput), ("real-time", "lexline-foo", Misconfigured)],
)
def test_an_endpoint_that_the_run_may_not_update_is_refused_before_anything_is_created(
    aws: Deployment, deploys: Deploys, event: Document, requested: str, config: str, error: type[Exception]
) -> None:
    event["run"]["hosting"]["endpoint_type"] = requested
    aws.endpoint(config=config)
    with pytest.raises(error):
        deploys()


# --- how many instances


@pytest.mark.parametrize(
    ("former", "requested", "scaled_before", "scales", "retained"),
    [
        # Keep the count that scaling or a person has set, if the same count is requested again.
        (2, 2, True, True, True),
        (2, 2, False, True, True),
        (2, 2, False, False, True),
        # Another count is requested.
        (1, 2, False, False, False),
        (1, 2, True, True, False),
        # Without scaling, the endpoint would keep the count that scaling has set.
        (2, 2, True, False, False),
    ],
)
def test_the_instance_count_is_kept_unless_another_is_requested(
    aws: Deployment,
    deploys: Deploys,
    event: Document,
    former: int,
    requested: int,
    scaled_before: bool,
    scales: bool,
    retained: bool,
) -> None:
    event["run"]["hosting"].update(instance_count=requested, max_instance_count=9 if scales else 0)
    aws.endpoint(config=FORMER, instances=8)
    aws.serving_tags(**({"scales": "2-9@300"} if scaled_before else {}))
    aws.create_config(FORMER, FORMER, InstanceType="ml.m5.large", InitialInstanceCount=requested)
    aws.former_config(instances=former)
    aws.alarms()
    aws.update()
    deploys()
    assert aws.updated["RetainAllVariantProperties"] is retained
    routing = aws.updated["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    # A quarter of the instances that the endpoint will have.
    assert routing["CanarySize"] == {"Type": "INSTANCE_COUNT", "Value": 2 if retained else 1}


@pytest.mark.parametrize("scales", [False, True])
def test_scaling_stops_before_the_instance_type_changes(
    aws: Deployment, deploys: Deploys, scales: bool
) -> None:
    """SageMaker refuses another instance type for a variant that scales."""
    aws.endpoint(config=FORMER)
    aws.replace_former()
    aws.former_config("ml.c5.large")
    aws.stop_scaling(scales=scales)
    aws.alarms()
    aws.update()
    deploys()
    calls = aws.stubbed.calls
    assert calls.index("DeregisterScalableTarget") < calls.index("UpdateEndpoint")


def test_an_endpoint_whose_config_was_deleted_is_updated(aws: Deployment, deploys: Deploys) -> None:
    aws.endpoint(config=FORMER)
    aws.stubbed.refuses("sagemaker", "list_tags", *NO_CONFIG)
    aws.create_config(previous=FORMER)
    aws.no_endpoint_config(FORMER)
    aws.stop_scaling()
    aws.alarms()
    aws.update()
    deploys()
    assert aws.updated["RetainAllVariantProperties"] is False


# --- how traffic shifts


@pytest.mark.parametrize("watch_seconds", [0, 1, 120, 3600])
@pytest.mark.parametrize("instances", [*range(1, 13), 50, 99, 100, 1000])
@pytest.mark.parametrize("shifting", ["all_at_once", "canary", "linear"])
def test_every_deployment_config_is_within_sagemakers_limits(
    shifting: Any, instances: int, watch_seconds: int
) -> None:
    """By UpdateEndpoint's reference, a canary is at most half of the instances, and a linear step a tenth to
    a half. A wait is at most an hour. The limit for all is 10 minutes to 8 hours, and exceeds the waits.
    """
    hosting = HostingResources(traffic_shifting=shifting, watch_seconds=watch_seconds)
    policy = deploy.deployment_config(hosting, instances, ALARMS)["BlueGreenUpdatePolicy"]
    routing: Any = policy["TrafficRoutingConfiguration"]
    in_steps = instances > 1 and shifting != "all_at_once"
    assert routing["Type"] == (shifting.upper() if in_steps else "ALL_AT_ONCE")
    assert ("CanarySize" in routing) == (in_steps and shifting == "canary")
    assert ("LinearStepSize" in routing) == (in_steps and shifting == "linear")
    steps = 1
    if in_steps:
        size = routing["CanarySize" if shifting == "canary" else "LinearStepSize"]
        assert size["Type"] == "INSTANCE_COUNT"
        assert size["Value"] >= 1
        assert 0.1 <= size["Value"] / instances <= 0.5
        steps = 2 if shifting == "canary" else math.ceil(instances / size["Value"])
        assert steps <= 4
        assert routing["WaitIntervalInSeconds"] == policy["TerminationWaitInSeconds"] == watch_seconds
    waits = (steps - 1) * routing["WaitIntervalInSeconds"] + policy["TerminationWaitInSeconds"]
    assert 600 <= policy["MaximumExecutionTimeoutInSeconds"] <= 28_800
    assert policy["MaximumExecutionTimeoutInSeconds"] >= waits + 3600


@pytest.mark.parametrize(("in_alarm", "watched"), [(["lexline-latency"], ["lexline-5xx"]), (ALARMS, None)])
def test_an_alarm_that_is_in_alarm_already_does_not_roll_the_update_back(
    aws: Deployment, deploys: Deploys, in_alarm: list[str], watched: list[str] | None
) -> None:
    """Otherwise an endpoint that is overloaded, or whose model fails, could never be repaired."""
    aws.until_update(*in_alarm)
    aws.update()
    deploys()
    rollback = aws.updated["DeploymentConfig"].get("AutoRollbackConfiguration")
    # SageMaker refuses an empty list of alarms.
    assert rollback == (watched and {"Alarms": [{"AlarmName": name} for name in watched]})


# --- waiting


@pytest.mark.parametrize("exists", [False, True])
def test_a_change_that_was_accepted_a_moment_ago_has_no_outcome_yet(
    aws: Deployment, deploys: Deploys, exists: bool
) -> None:
    """DescribeEndpoint still returns the former state: the former config, or no endpoint."""
    if exists:
        aws.update_from_former("InService")
    else:
        aws.no_endpoint()
        aws.create_config()
        aws.create_endpoint()
        aws.no_endpoint()
    assert deploys() == ""


@pytest.mark.usefixtures("accepted")
@pytest.mark.parametrize(
    ("status", "config", "heard"),
    [
        ("Updating", FORMER, ""),
        ("InService", NAME, "Success"),
        ("InService", FORMER, "UpdateReverted"),
        ("Failed", NAME, "EndpointFailed"),
    ],
)
def test_a_retried_step_changes_nothing_and_completes_its_token_when_the_endpoint_has_settled(
    aws: Deployment,
    deploys: Deploys,
    event: Document,
    lease_held: TableInMemory,
    status: str,
    config: str,
    heard: str,
) -> None:
    for _ in range(2):
        aws.endpoint(status, config)
    assert deploys() == heard
    assert lease_held.get(ENDPOINT_ARN).get("token") == (None if heard else event["token"])


def test_an_attempt_that_ended_right_after_its_change_is_continued(
    aws: Deployment, deploys: Deploys, lease_held: TableInMemory
) -> None:
    lease_held.put(ENDPOINT_ARN, token="token-before", run=NAME, expires=1)
    for _ in range(2):
        aws.endpoint("InService")
    assert deploys() == "Success"


def test_the_config_of_an_earlier_attempt_gets_new_tags_on_what_it_replaces(
    aws: Deployment, deploys: Deploys
) -> None:
    aws.endpoint(config=FORMER)
    aws.serving_tags()
    aws.stubbed.refuses("sagemaker", "create_endpoint_config", *EXISTS)
    aws.add_tags(generation="7", previous=FORMER, previous_model=FORMER)
    aws.former_config()
    aws.alarms()
    aws.update()
    deploys()


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
def test_another_change_in_progress_is_waited_for_without_replacing_its_token(
    aws: Deployment, deploys: Deploys, lease_held: TableInMemory, status: str
) -> None:
    lease_held.put(ENDPOINT_ARN, token="token-before", run=FORMER, expires=1, config=FORMER)
    aws.endpoint(status, FORMER)
    aws.serving_tags()
    with pytest.raises(EndpointBusy, match=status):
        deploys()
    assert lease_held.get(ENDPOINT_ARN)["token"] == "token-before"


@pytest.mark.parametrize("status", ["Failed", "UpdateRollbackFailed", "OutOfService"])
def test_a_failed_endpoint_is_deleted_so_that_the_next_attempt_creates_it(
    aws: Deployment, deploys: Deploys, status: str
) -> None:
    aws.endpoint(status, FORMER)
    aws.serving_tags()
    aws.delete_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        deploys()


# --- refusals


@pytest.mark.parametrize(
    ("operation", "refusal", "error"),
    [
        ("create_endpoint", EXISTS, EndpointBusy),
        ("update_endpoint", IN_PROGRESS, EndpointBusy),
        # SageMaker does not find yet what was created a moment ago.
        ("create_endpoint", NO_CONFIG, ServiceUnavailable),
        ("update_endpoint", NO_CONFIG, ServiceUnavailable),
        ("create_endpoint", ("ResourceLimitExceeded", "said AWS"), CapacityUnavailable),
        ("create_endpoint", ("ValidationException", "said AWS"), RequestRefused),
    ],
)
def test_a_refused_change_is_an_error_and_not_accepted(
    aws: Deployment,
    deploys: Deploys,
    lease_held: TableInMemory,
    operation: str,
    refusal: tuple[str, str],
    error: type[Exception],
) -> None:
    if operation == "create_endpoint":
        aws.no_endpoint()
        aws.create_config()
    else:
        aws.until_update()
    aws.stubbed.refuses("sagemaker", operation, *refusal)
    with pytest.raises(error):
        deploys()
    assert "config" not in lease_held.get(ENDPOINT_ARN)


def test_a_model_that_sagemaker_does_not_find_yet_is_retried(aws: Deployment, deploys: Deploys) -> None:
    """SageMaker's reads are eventually consistent."""
    aws.no_endpoint()
    message = f'Could not find model "{SAGEMAKER}:model/{NAME}".'
    aws.stubbed.refuses("sagemaker", "create_endpoint_config", "ValidationException", message)
    with pytest.raises(ServiceUnavailable, match="Could not find model"):
        deploys()


def test_a_model_with_a_newer_generation_is_not_replaced(aws: Deployment, deploys: Deploys) -> None:
    aws.endpoint(config=FORMER)
    aws.serving_tags(generation="8")
    with pytest.raises(LeaseLost, match=f"already serves {FORMER}"):
        deploys()
