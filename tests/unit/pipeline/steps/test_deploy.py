"""deploy: one endpoint for all runs, changed by the owner of the lease, and never to an older run's model."""

import math
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.request import HostingResources
from core import errors
from steps import deploy
from tests.unit.pipeline.documents import (
    ENDPOINT_ARN,
    FORMER,
    NAME,
    OTHER,
    OTHER_STACK_ID,
    SAGEMAKER,
    STACK_ID,
    Documents,
)
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


class Deployment(ExpectedCalls):
    """Announces the calls of the step, in their order. `event` is its input, with a new task token."""

    def __init__(
        self, stubbed: StubbedAws, table: TableInMemory, machine: ExecutionsInMemory, context: LambdaContext
    ) -> None:
        super().__init__(stubbed, Described())
        self.table, self._machine, self._context = table, machine, context
        self._arn = machine.start("first", {})
        self.event = {"token": machine.wait(self._arn), **Documents().input("run", "lease", "registered")}

    def deploy(self) -> str:
        """Run the step, and return how the state's wait ended; empty while it waits."""
        deploy.handler(self.event, self._context)
        return self._machine.heard(self._arn)

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
                stack=STACK_ID,
                run=NAME,
                model=NAME,
                dataset="sotu",
                fingerprint="ab" * 32,
                identity="12" * 32,
                test_perplexity="208.3000",
                test_unknown_share="0.0210",
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
        parameters = {"AlarmNames": ALARMS, "StateValue": "ALARM"}
        self.stubbed.answers("cloudwatch", "describe_alarms", response, **parameters)

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
def deployment(
    stubbed: StubbedAws, lease_held: TableInMemory, machine: ExecutionsInMemory, context: LambdaContext
) -> Deployment:
    return Deployment(stubbed, lease_held, machine, context)


@pytest.fixture
def accepted(lease_held: TableInMemory) -> None:
    """SageMaker has accepted this run's change in an earlier attempt of the step."""
    lease_held.put(ENDPOINT_ARN, token="token-before", run=NAME, expires=1, config=NAME)


# --- creating and updating


def test_the_first_run_creates_the_endpoint_after_it_has_stored_its_token(deployment: Deployment) -> None:
    deployment.no_endpoint()
    deployment.create_config()
    deployment.create_endpoint()
    deployment.endpoint("Creating")
    assert deployment.deploy() == ""
    # The first write renews the lease, and the last one marks the change as accepted.
    writes = [call for call in deployment.stubbed.calls if call in ("UpdateItem", "CreateEndpoint")]
    assert writes == ["UpdateItem", "UpdateItem", "CreateEndpoint", "UpdateItem"]
    item = deployment.table.get(ENDPOINT_ARN)
    assert (item["token"], item["run"], item["config"]) == (deployment.event["token"], NAME, NAME)


def test_a_later_run_updates_the_endpoint(deployment: Deployment) -> None:
    deployment.update_from_former()
    assert deployment.deploy() == ""
    assert deployment.updated == {
        "RetainAllVariantProperties": True,
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 300,
                "MaximumExecutionTimeoutInSeconds": 3900,
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
    deployment: Deployment, requested: str, live: dict[str, Any]
) -> None:
    deployment.event["run"]["hosting"]["endpoint_type"] = requested
    deployment.describe_endpoint(config=FORMER, **live)
    deployment.replace_former(**({"ServerlessConfig": SERVERLESS} if requested == "serverless" else {}))
    deployment.update()
    deployment.deploy()
    assert deployment.updated == {}


@pytest.mark.parametrize(
    ("requested", "config", "error"),
    [
        ("serverless", FORMER, errors.InvalidInput),
        ("real-time", "lexline-foo", errors.Misconfigured),
        ("real-time", OTHER, errors.NotOwned),
    ],
)
def test_an_endpoint_that_the_run_may_not_update_is_refused_before_anything_is_created(
    deployment: Deployment, requested: str, config: str, error: type[Exception]
) -> None:
    deployment.event["run"]["hosting"]["endpoint_type"] = requested
    deployment.endpoint(config=config)
    if config != "lexline-foo":
        deployment.list_tags(config, stack=STACK_ID if config == FORMER else OTHER_STACK_ID)
    with pytest.raises(error):
        deployment.deploy()


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
    deployment: Deployment, former: int, requested: int, scaled_before: bool, scales: bool, retained: bool
) -> None:
    deployment.event["run"]["hosting"].update(instance_count=requested, max_instance_count=9 if scales else 0)
    deployment.endpoint(config=FORMER, instances=8)
    deployment.serving_tags(**({"scales": "2-9@300"} if scaled_before else {}))
    deployment.create_config(FORMER, FORMER, InstanceType="ml.m5.large", InitialInstanceCount=requested)
    deployment.former_config(instances=former)
    deployment.alarms()
    deployment.update()
    deployment.deploy()
    assert deployment.updated["RetainAllVariantProperties"] is retained
    routing = deployment.updated["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    # A quarter of the instances that the endpoint will have.
    assert routing["CanarySize"] == {"Type": "INSTANCE_COUNT", "Value": 2 if retained else 1}


@pytest.mark.parametrize("scales", [False, True])
def test_scaling_stops_before_the_instance_type_changes(deployment: Deployment, scales: bool) -> None:
    """SageMaker refuses another instance type for a variant that scales."""
    deployment.endpoint(config=FORMER)
    deployment.replace_former()
    deployment.former_config("ml.c5.large")
    deployment.stop_scaling(scales=scales)
    deployment.alarms()
    deployment.update()
    deployment.deploy()
    calls = deployment.stubbed.calls
    assert calls.index("DeregisterScalableTarget") < calls.index("UpdateEndpoint")


def test_an_endpoint_whose_config_was_deleted_is_updated(deployment: Deployment) -> None:
    deployment.endpoint(config=FORMER)
    deployment.stubbed.refuses("sagemaker", "list_tags", *NO_CONFIG)
    deployment.create_config(previous=FORMER)
    deployment.no_endpoint_config(FORMER)
    deployment.stop_scaling()
    deployment.alarms()
    deployment.update()
    deployment.deploy()
    assert deployment.updated["RetainAllVariantProperties"] is False


# --- how traffic shifts


@pytest.mark.parametrize("watch_seconds", [0, 180, 300, 3600])
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
    deployment: Deployment, in_alarm: list[str], watched: list[str] | None
) -> None:
    """Otherwise an endpoint that is overloaded, or whose model fails, could never be repaired."""
    deployment.until_update(*in_alarm)
    deployment.update()
    deployment.deploy()
    rollback = deployment.updated["DeploymentConfig"].get("AutoRollbackConfiguration")
    # SageMaker refuses an empty list of alarms.
    assert rollback == (watched and {"Alarms": [{"AlarmName": name} for name in watched]})


# --- waiting


@pytest.mark.parametrize("exists", [False, True])
def test_a_change_that_was_accepted_a_moment_ago_has_no_outcome_yet(
    deployment: Deployment, exists: bool
) -> None:
    """DescribeEndpoint still returns the former state: the former config, or no endpoint."""
    if exists:
        deployment.update_from_former("InService")
    else:
        deployment.no_endpoint()
        deployment.create_config()
        deployment.create_endpoint()
        deployment.no_endpoint()
    assert deployment.deploy() == ""


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
    deployment: Deployment, status: str, config: str, heard: str
) -> None:
    for _ in range(2):
        deployment.endpoint(status, config)
    assert deployment.deploy() == heard
    assert deployment.table.get(ENDPOINT_ARN).get("token") == (None if heard else deployment.event["token"])


def test_an_attempt_that_ended_right_after_its_change_is_continued(deployment: Deployment) -> None:
    deployment.table.put(ENDPOINT_ARN, token="token-before", run=NAME, expires=1)
    for _ in range(2):
        deployment.endpoint("InService")
    assert deployment.deploy() == "Success"


def test_the_config_of_an_earlier_attempt_gets_new_tags_on_what_it_replaces(deployment: Deployment) -> None:
    deployment.endpoint(config=FORMER)
    deployment.serving_tags()
    deployment.stubbed.refuses("sagemaker", "create_endpoint_config", *EXISTS)
    deployment.add_tags(generation="7", previous=FORMER, previous_model=FORMER)
    deployment.former_config()
    deployment.alarms()
    deployment.update()
    deployment.deploy()


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
def test_another_change_in_progress_is_waited_for_without_replacing_its_token(
    deployment: Deployment, status: str
) -> None:
    deployment.table.put(ENDPOINT_ARN, token="token-before", run=FORMER, expires=1, config=FORMER)
    deployment.endpoint(status, FORMER)
    deployment.serving_tags()
    with pytest.raises(errors.EndpointBusy, match=status):
        deployment.deploy()
    assert deployment.table.get(ENDPOINT_ARN)["token"] == "token-before"


@pytest.mark.parametrize("status", ["Failed", "UpdateRollbackFailed", "OutOfService"])
def test_a_failed_endpoint_is_deleted_so_that_the_next_attempt_creates_it(
    deployment: Deployment, status: str
) -> None:
    deployment.endpoint(status, FORMER)
    deployment.serving_tags()
    deployment.delete_endpoint()
    with pytest.raises(errors.EndpointBusy, match="being deleted"):
        deployment.deploy()


# --- refusals


@pytest.mark.parametrize(
    ("operation", "refusal", "error"),
    [
        ("create_endpoint", EXISTS, errors.EndpointBusy),
        ("update_endpoint", IN_PROGRESS, errors.EndpointBusy),
        # SageMaker does not find yet what was created a moment ago.
        ("create_endpoint", NO_CONFIG, errors.ServiceUnavailable),
        ("update_endpoint", NO_CONFIG, errors.ServiceUnavailable),
        ("create_endpoint", ("ResourceLimitExceeded", "said AWS"), errors.CapacityUnavailable),
        ("create_endpoint", ("ValidationException", "said AWS"), errors.RequestRefused),
    ],
)
def test_a_refused_change_is_an_error_and_not_accepted(
    deployment: Deployment, operation: str, refusal: tuple[str, str], error: type[Exception]
) -> None:
    if operation == "create_endpoint":
        deployment.no_endpoint()
        deployment.create_config()
    else:
        deployment.until_update()
    deployment.stubbed.refuses("sagemaker", operation, *refusal)
    with pytest.raises(error):
        deployment.deploy()
    assert "config" not in deployment.table.get(ENDPOINT_ARN)


@pytest.mark.parametrize(
    ("kept", "quota", "error"),
    [
        # The present instance and the new one need a quota of two, however long the run waits.
        (("ml.m5.large", 1), 1, errors.QuotaTooSmall),
        (("ml.m5.large", 1), 2, errors.CapacityUnavailable),
        (("ml.m4.xlarge", 1), 1, errors.CapacityUnavailable),
    ],
)
def test_an_update_needs_a_quota_for_the_present_instances_too(
    deployment: Deployment, kept: tuple[str, int], quota: int, error: type[Exception]
) -> None:
    said = (
        f"The account-level service limit 'ml.m5.large for endpoint usage' is {quota} Instances, with "
        f"current utilization of {quota} Instances and a request delta of 1 Instances."
    )
    deployment.until_update()
    deployment.stubbed.refuses("sagemaker", "update_endpoint", "ResourceLimitExceeded", said)
    deployment.former_config(*kept)
    with pytest.raises(error, match="for endpoint usage"):
        deployment.deploy()


def test_a_model_that_sagemaker_does_not_find_yet_is_retried(deployment: Deployment) -> None:
    """SageMaker's reads are eventually consistent."""
    deployment.no_endpoint()
    message = f'Could not find model "{SAGEMAKER}:model/{NAME}".'
    deployment.stubbed.refuses("sagemaker", "create_endpoint_config", "ValidationException", message)
    with pytest.raises(errors.ServiceUnavailable, match="Could not find model"):
        deployment.deploy()


def test_a_model_with_a_newer_generation_is_not_replaced(deployment: Deployment) -> None:
    deployment.endpoint(config=FORMER)
    deployment.serving_tags(generation="8")
    with pytest.raises(errors.LeaseLost, match=f"already serves {FORMER}"):
        deployment.deploy()
