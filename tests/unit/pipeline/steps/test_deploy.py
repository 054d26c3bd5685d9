"""deploy: one endpoint for all runs, changed by the holder of the lease, never to an older run's model."""

import math
from typing import Any

import pytest

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
from serving import endpoint
from steps import deploy

NAME = "lexline--sotu-0123456789ab"
FORMER = "lexline--sotu-aaaaaaaaaaaa"
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/lexline"
CONFIG_ARN = f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/{NAME}"
NO_ENDPOINT = ("ValidationException", f'Could not find endpoint "{ARN}".')
IN_PROGRESS = ("ValidationException", f'Cannot update in-progress endpoint "{ARN}".')
ALARMS = ["lexline-5xx", "lexline-latency"]


class Deployment:
    """Announces, in the order of the step, what AWS is to be asked."""

    def __init__(self, stubbed: Any, described: Any, table: Any) -> None:
        self.stubbed, self.described, self.table = stubbed, described, table

    def waits(self, run: str, config: str = "") -> None:
        """Somebody waits on the endpoint; `config` is what SageMaker has accepted for them."""
        self.table.put(
            ARN, token="token-before", run=run, expires=1, **({"config": config} if config else {})
        )

    def endpoint(self, *args: Any, instances: int = 1, **more: Any) -> None:
        variant = {
            "VariantName": "AllTraffic",
            "CurrentInstanceCount": instances,
            "DesiredInstanceCount": instances,
        }
        answer = self.described.endpoint(*args, **{"ProductionVariants": [variant], **more})
        self.stubbed.answers("sagemaker", "describe_endpoint", answer, EndpointName="lexline")

    def serverless_endpoint(self, *args: Any, **more: Any) -> None:
        variant = {
            "VariantName": "AllTraffic",
            "CurrentServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 5},
        }
        self.endpoint(*args, ProductionVariants=[variant], **more)

    def no_endpoint(self) -> None:
        self.stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)

    def serving_tags(self, **more: str) -> None:
        """The tags of the former run's config."""
        tags = {"run": FORMER, "model": FORMER, "generation": "6", **more}
        arn = CONFIG_ARN.replace(NAME, FORMER)
        self.stubbed.answers("sagemaker", "list_tags", self.described.tags(**tags), ResourceArn=arn)

    def creates_config(self, previous: str = "", model: str = "", **variant: Any) -> None:
        resources = variant or {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        self.stubbed.answers(
            "sagemaker",
            "create_endpoint_config",
            {"EndpointConfigArn": CONFIG_ARN},
            EndpointConfigName=NAME,
            ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": NAME, **resources}],
            Tags=[
                {"Key": "lexline:run", "Value": NAME},
                {"Key": "lexline:model", "Value": NAME},
                {"Key": "lexline:dataset", "Value": "sotu"},
                {"Key": "lexline:fingerprint", "Value": "ab" * 32},
                {"Key": "lexline:identity", "Value": "12" * 32},
                {"Key": "lexline:test-perplexity", "Value": "208.3000"},
                {"Key": "lexline:generation", "Value": "7"},
                {"Key": "lexline:previous", "Value": previous},
                {"Key": "lexline:previous-model", "Value": model},
            ],
        )

    def replaces_former(self, **variant: Any) -> None:
        self.serving_tags()
        self.creates_config(previous=FORMER, model=FORMER, **variant)

    def former_config(self, instance_type: str = "ml.m5.large", instances: int = 1) -> None:
        config = self.described.config(FORMER)
        config["ProductionVariants"][0] |= {
            "ModelName": FORMER,
            "InstanceType": instance_type,
            "InitialInstanceCount": instances,
        }
        self.stubbed.answers("sagemaker", "describe_endpoint_config", config, EndpointConfigName=FORMER)

    def alarms_sound(self, *names: str) -> None:
        self.stubbed.answers(
            "cloudwatch",
            "describe_alarms",
            {"MetricAlarms": [{"AlarmName": name} for name in names]},
            AlarmNames=ALARMS,
            StateValue="ALARM",
        )

    def scaling_stops(self, *, there_was_any: bool = True) -> None:
        asked = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": "endpoint/lexline/variant/AllTraffic",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        operation = ("application-autoscaling", "deregister_scalable_target")
        if there_was_any:
            self.stubbed.answers(*operation, {}, **asked)
        else:
            self.stubbed.refuses(*operation, "ObjectNotFoundException", "No scalable target", **asked)

    def creates_endpoint(self) -> None:
        self.stubbed.answers(
            "sagemaker",
            "create_endpoint",
            {"EndpointArn": ARN},
            EndpointName="lexline",
            EndpointConfigName=NAME,
        )

    def updates_endpoint(self) -> None:
        self.stubbed.answers("sagemaker", "update_endpoint", {"EndpointArn": ARN})

    @property
    def update(self) -> dict[str, Any]:
        """What the endpoint was last updated with, but for its name and its config's, which are right."""
        asked = dict(self.stubbed.parameters["UpdateEndpoint"])
        assert (asked.pop("EndpointName"), asked.pop("EndpointConfigName")) == ("lexline", NAME)
        return asked


@pytest.fixture
def aws_is(stubbed: Any, described: Any, lease_held: Any) -> Deployment:
    return Deployment(stubbed, described, lease_held)


@pytest.fixture
def token(machine: Any, documents: Any) -> str:
    arn = machine.start("first", {})
    assert arn == documents.execution["id"]
    return str(machine.wait(arn))


@pytest.fixture
def event(documents: Any, token: str) -> dict[str, Any]:
    return {
        "token": token,
        "run": documents.run,
        "lease": documents.lease,
        "registered": documents.registered,
    }


@pytest.fixture
def heard(machine: Any, documents: Any) -> Any:
    """heard(): how the state's wait has ended; empty while it waits."""
    return lambda: machine.executions[documents.execution["id"]].heard


# --- creating and updating -----------------------------------------------------------------------


def test_the_first_run_creates_the_endpoint_with_its_token_stored_before(
    aws_is: Deployment, event: Any, context: Any, heard: Any
) -> None:
    aws_is.no_endpoint()
    aws_is.creates_config()
    aws_is.creates_endpoint()
    aws_is.endpoint("Creating")
    deploy.handler(event, context)
    calls = aws_is.stubbed.calls
    # The first write renews the lease.
    assert [call for call in calls if call in ("UpdateItem", "CreateEndpoint")] == [
        "UpdateItem",
        "UpdateItem",
        "CreateEndpoint",
        "UpdateItem",
    ]
    waits = aws_is.table.get(ARN)
    assert (waits["token"], waits["run"], waits["config"]) == (event["token"], NAME, NAME)
    assert heard() == ""


def test_a_later_run_updates_the_endpoint_and_remembers_what_it_replaces(
    aws_is: Deployment, event: Any, context: Any, heard: Any
) -> None:
    aws_is.endpoint(config=FORMER)
    aws_is.replaces_former()
    aws_is.former_config()
    aws_is.alarms_sound()
    aws_is.updates_endpoint()
    aws_is.endpoint("Updating", config=FORMER)
    deploy.handler(event, context)
    assert aws_is.update == {
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
    assert heard() == ""


@pytest.mark.parametrize("there_is_an_endpoint", [False, True])
def test_an_endpoint_that_is_serverless_takes_neither_steps_nor_alarms(
    aws_is: Deployment, event: Any, context: Any, there_is_an_endpoint: bool
) -> None:
    event["run"]["hosting"] = {"endpoint_type": "serverless", "serverless_memory_mb": 2048}
    config = {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
    if there_is_an_endpoint:
        aws_is.serverless_endpoint(config=FORMER)
        aws_is.replaces_former(**config)
        aws_is.updates_endpoint()
        aws_is.serverless_endpoint("Updating", config=FORMER)
    else:
        aws_is.no_endpoint()
        aws_is.creates_config(**config)
        aws_is.creates_endpoint()
        aws_is.endpoint("Creating")
    deploy.handler(event, context)
    if there_is_an_endpoint:
        assert aws_is.update == {}


def test_a_serverless_endpoint_becomes_real_time_by_a_plain_update(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.serverless_endpoint(config=FORMER)
    aws_is.replaces_former()
    aws_is.updates_endpoint()
    aws_is.serverless_endpoint("Updating", config=FORMER)
    deploy.handler(event, context)
    assert aws_is.update == {}


def test_a_real_time_endpoint_that_is_to_be_serverless_is_refused_before_anything_is_made(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    event["run"]["hosting"] = {"endpoint_type": "serverless"}
    aws_is.endpoint(config=FORMER)
    with pytest.raises(InvalidInput, match=r"hosting\.endpoint_type"):
        deploy.handler(event, context)


@pytest.mark.parametrize("status", ["InService", "Failed"])
def test_an_endpoint_that_no_run_has_made_is_neither_changed_nor_deleted(
    aws_is: Deployment, event: Any, context: Any, status: str
) -> None:
    aws_is.endpoint(status, config="by-hand")
    with pytest.raises(Misconfigured, match="by-hand"):
        deploy.handler(event, context)


def test_an_endpoint_with_another_variant_takes_a_plain_update(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    """With a DeploymentConfig, SageMaker refuses a variant of another name."""
    aws_is.endpoint(config=FORMER, ProductionVariants=[{"VariantName": "blue"}])
    aws_is.replaces_former()
    aws_is.updates_endpoint()
    aws_is.endpoint("Updating", config=FORMER)
    deploy.handler(event, context)
    assert aws_is.update == {}


# --- how many instances --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("former", "asked", "scaled_before", "scales", "retained"),
    [
        # What scaling, or somebody by hand, has made of the count stays, as long as the same is asked for.
        (2, 2, True, True, True),
        (2, 2, False, True, True),
        (2, 2, False, False, True),
        # Another count is asked for.
        (1, 2, False, False, False),
        (1, 2, True, True, False),
        # A fleet that scales no more would stay as large as it is.
        (2, 2, True, False, False),
    ],
)
def test_the_number_of_instances_is_kept_unless_another_is_asked_for(
    aws_is: Deployment,
    event: Any,
    context: Any,
    former: int,
    asked: int,
    scaled_before: bool,
    scales: bool,
    retained: bool,
) -> None:
    event["run"]["hosting"].update(instance_count=asked, max_instance_count=9 if scales else 0)
    aws_is.endpoint(config=FORMER, instances=8)
    aws_is.serving_tags(**({"scales": "2-9@300"} if scaled_before else {}))
    aws_is.creates_config(FORMER, FORMER, InstanceType="ml.m5.large", InitialInstanceCount=asked)
    aws_is.former_config(instances=former)
    aws_is.alarms_sound()
    aws_is.updates_endpoint()
    aws_is.endpoint("Updating", config=FORMER)
    deploy.handler(event, context)
    assert aws_is.update["RetainAllVariantProperties"] is retained
    routing = aws_is.update["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    # A quarter of the instances that the new fleet will have.
    assert routing["CanarySize"] == {"Type": "INSTANCE_COUNT", "Value": 2 if retained else 1}


@pytest.mark.parametrize("there_was_any", [False, True])
def test_a_fleet_of_another_instance_type_stops_scaling_first(
    aws_is: Deployment, event: Any, context: Any, there_was_any: bool
) -> None:
    """SageMaker refuses another instance type to a variant that scales."""
    aws_is.endpoint(config=FORMER)
    aws_is.replaces_former()
    aws_is.former_config(instance_type="ml.c5.large")
    aws_is.scaling_stops(there_was_any=there_was_any)
    aws_is.alarms_sound()
    aws_is.updates_endpoint()
    aws_is.endpoint("Updating", config=FORMER)
    deploy.handler(event, context)
    calls = aws_is.stubbed.calls
    assert calls.index("DeregisterScalableTarget") < calls.index("UpdateEndpoint")


def test_an_endpoint_whose_config_somebody_deleted_is_updated_all_the_same(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    gone = ("ValidationException", f'Could not find endpoint configuration "{FORMER}".')
    aws_is.endpoint(config=FORMER)
    aws_is.stubbed.refuses("sagemaker", "list_tags", *gone)
    aws_is.creates_config(previous=FORMER)
    aws_is.stubbed.refuses("sagemaker", "describe_endpoint_config", *gone)
    aws_is.scaling_stops()
    aws_is.alarms_sound()
    aws_is.updates_endpoint()
    aws_is.endpoint("Updating", config=FORMER)
    deploy.handler(event, context)
    assert aws_is.update["RetainAllVariantProperties"] is False


# --- how traffic moves ---------------------------------------------------------------------------


@pytest.mark.parametrize("watch_seconds", [0, 1, 120, 3600])
@pytest.mark.parametrize("instances", [*range(1, 13), 50, 99, 100, 1000])
@pytest.mark.parametrize("shifting", ["all_at_once", "canary", "linear"])
def test_every_deployment_config_is_within_sagemakers_limits(
    shifting: str, instances: int, watch_seconds: int
) -> None:
    """UpdateEndpoint's reference: a canary is at most half of the instances, a linear step a tenth to a half;
    a wait is at most an hour; the limit for it all is 10 minutes to 8 hours, and more than all the waits.
    """
    hosting = HostingResources(traffic_shifting=shifting, watch_seconds=watch_seconds)  # type: ignore[arg-type]
    policy = deploy.deployment_config(hosting, instances, ALARMS)["BlueGreenUpdatePolicy"]
    routing: Any = policy["TrafficRoutingConfiguration"]
    split = instances > 1 and shifting != "all_at_once"
    assert routing["Type"] == (shifting.upper() if split else "ALL_AT_ONCE")
    assert ("CanarySize" in routing, "LinearStepSize" in routing) == (
        split and shifting == "canary",
        split and shifting == "linear",
    )
    steps = 1
    if split:
        size = routing["CanarySize" if shifting == "canary" else "LinearStepSize"]
        assert size["Type"] == "INSTANCE_COUNT"
        assert size["Value"] >= 1
        assert 0.1 <= size["Value"] / instances <= 0.5
        steps = 2 if shifting == "canary" else math.ceil(instances / size["Value"])
        assert steps <= 4
    waits = (steps - 1) * routing["WaitIntervalInSeconds"] + policy["TerminationWaitInSeconds"]
    assert 600 <= policy["MaximumExecutionTimeoutInSeconds"] <= 28_800
    assert policy["MaximumExecutionTimeoutInSeconds"] >= waits + 3600


def test_each_step_and_the_end_of_the_old_fleet_are_waited_for_alike() -> None:
    hosting = HostingResources(traffic_shifting="linear", watch_seconds=300)
    policy = deploy.deployment_config(hosting, 4, ALARMS)["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == {
        "Type": "LINEAR",
        "WaitIntervalInSeconds": 300,
        "LinearStepSize": {"Type": "INSTANCE_COUNT", "Value": 1},
    }
    assert policy["TerminationWaitInSeconds"] == 300


@pytest.mark.parametrize(
    ("sounding", "watched"),
    [([], ALARMS), (["lexline-latency"], ["lexline-5xx"]), (ALARMS, None)],
)
def test_an_alarm_that_sounds_already_does_not_take_the_new_model_back(
    aws_is: Deployment, event: Any, context: Any, sounding: list[str], watched: list[str] | None
) -> None:
    """An endpoint that is overloaded, or whose model fails, could else never be mended."""
    aws_is.endpoint(config=FORMER)
    aws_is.replaces_former()
    aws_is.former_config()
    aws_is.alarms_sound(*sounding)
    aws_is.updates_endpoint()
    aws_is.endpoint("Updating", config=FORMER)
    deploy.handler(event, context)
    rollback = aws_is.update["DeploymentConfig"].get("AutoRollbackConfiguration")
    # SageMaker takes no empty list of alarms.
    assert rollback == (watched and {"Alarms": [{"AlarmName": name} for name in watched]})


# --- waiting -------------------------------------------------------------------------------------


def test_an_update_just_accepted_is_not_taken_for_one_that_was_reverted(
    aws_is: Deployment, event: Any, context: Any, heard: Any
) -> None:
    aws_is.endpoint(config=FORMER)
    aws_is.replaces_former()
    aws_is.former_config()
    aws_is.alarms_sound()
    aws_is.updates_endpoint()
    aws_is.endpoint("InService", config=FORMER)
    deploy.handler(event, context)
    assert heard() == ""


def test_an_endpoint_just_created_and_not_yet_to_be_seen_is_not_taken_for_one_that_was_deleted(
    aws_is: Deployment, event: Any, context: Any, heard: Any
) -> None:
    aws_is.no_endpoint()
    aws_is.creates_config()
    aws_is.creates_endpoint()
    aws_is.no_endpoint()
    deploy.handler(event, context)
    assert heard() == ""


def test_a_wait_that_timed_out_only_looks_again(
    aws_is: Deployment, event: Any, context: Any, heard: Any
) -> None:
    aws_is.waits(NAME, config=NAME)
    aws_is.endpoint("Updating", config=FORMER)
    aws_is.endpoint("Updating", config=FORMER)
    deploy.handler(event, context)
    assert "UpdateEndpoint" not in aws_is.stubbed.calls
    assert aws_is.table.get(ARN)["token"] == event["token"]
    assert heard() == ""


def test_an_endpoint_found_in_service_is_answered_at_once(
    aws_is: Deployment, event: Any, context: Any, heard: Any
) -> None:
    aws_is.waits(NAME, config=NAME)
    aws_is.endpoint("InService")
    aws_is.endpoint("InService")
    deploy.handler(event, context)
    assert heard() == "Success"
    assert aws_is.table.get(ARN) == {}


@pytest.mark.parametrize(
    ("status", "config", "error"),
    [("InService", FORMER, "UpdateReverted"), ("Failed", NAME, "EndpointFailed")],
)
def test_a_change_that_came_to_nothing_is_answered_at_once(
    aws_is: Deployment, event: Any, context: Any, heard: Any, status: str, config: str, error: str
) -> None:
    aws_is.waits(NAME, config=NAME)
    for _ in range(2):
        aws_is.endpoint(status, config=config, FailureReason="The primary container did not answer.")
    deploy.handler(event, context)
    assert heard() == error


def test_an_attempt_that_died_right_after_its_change_is_carried_on(
    aws_is: Deployment, event: Any, context: Any, heard: Any
) -> None:
    aws_is.waits(NAME)
    aws_is.endpoint("InService")
    aws_is.endpoint("InService")
    deploy.handler(event, context)
    assert heard() == "Success"


def test_the_config_of_an_earlier_attempt_learns_what_it_replaces_now(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.endpoint(config=FORMER)
    aws_is.serving_tags()
    message = f'Cannot create already existing endpoint configuration "{CONFIG_ARN}".'
    aws_is.stubbed.refuses("sagemaker", "create_endpoint_config", "ValidationException", message)
    aws_is.stubbed.answers(
        "sagemaker",
        "add_tags",
        {},
        ResourceArn=CONFIG_ARN,
        Tags=[
            {"Key": "lexline:generation", "Value": "7"},
            {"Key": "lexline:previous", "Value": FORMER},
            {"Key": "lexline:previous-model", "Value": FORMER},
        ],
    )
    aws_is.former_config()
    aws_is.alarms_sound()
    aws_is.updates_endpoint()
    aws_is.endpoint("Updating", config=FORMER)
    deploy.handler(event, context)


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
def test_a_change_under_way_is_waited_for_without_taking_a_token(
    aws_is: Deployment, event: Any, context: Any, status: str
) -> None:
    aws_is.waits(FORMER, config=FORMER)
    aws_is.endpoint(status, config=FORMER)
    aws_is.serving_tags()
    with pytest.raises(EndpointBusy, match=status):
        deploy.handler(event, context)
    assert aws_is.table.get(ARN)["token"] == "token-before"


@pytest.mark.parametrize("status", ["Failed", "UpdateRollbackFailed", "OutOfService"])
def test_a_broken_endpoint_is_deleted_to_be_created_anew(
    aws_is: Deployment, event: Any, context: Any, status: str
) -> None:
    aws_is.endpoint(status, config=FORMER)
    aws_is.serving_tags()
    aws_is.stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    with pytest.raises(EndpointBusy, match="being deleted"):
        deploy.handler(event, context)


# --- refusals ------------------------------------------------------------------------------------


def test_losing_the_race_for_the_endpoint_is_waiting_for_it(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.endpoint(config=FORMER)
    aws_is.replaces_former()
    aws_is.former_config()
    aws_is.alarms_sound()
    aws_is.stubbed.refuses("sagemaker", "update_endpoint", *IN_PROGRESS)
    with pytest.raises(EndpointBusy):
        deploy.handler(event, context)


def test_losing_the_race_to_create_the_endpoint_is_waiting_for_it(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.no_endpoint()
    aws_is.creates_config()
    message = f'Cannot create already existing endpoint "{ARN}".'
    aws_is.stubbed.refuses("sagemaker", "create_endpoint", "ValidationException", message)
    with pytest.raises(EndpointBusy):
        deploy.handler(event, context)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("ResourceLimitExceeded", CapacityUnavailable), ("ValidationException", RequestRefused)],
)
def test_a_refused_change_is_passed_on_and_not_taken_for_accepted(
    aws_is: Deployment, event: Any, context: Any, code: str, expected: type[Exception]
) -> None:
    aws_is.no_endpoint()
    aws_is.creates_config()
    aws_is.stubbed.refuses("sagemaker", "create_endpoint", code, "said AWS")
    with pytest.raises(expected, match="said AWS"):
        deploy.handler(event, context)
    assert "config" not in aws_is.table.get(ARN)


def test_a_model_that_sagemaker_does_not_see_yet_is_asked_for_again(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    """SageMaker reads what it has just stored with a delay, and says so at CreateEndpointConfig."""
    aws_is.no_endpoint()
    message = f'Could not find model "arn:aws:sagemaker:eu-west-1:111122223333:model/{NAME}".'
    aws_is.stubbed.refuses("sagemaker", "create_endpoint_config", "ValidationException", message)
    with pytest.raises(ServiceUnavailable, match="Could not find model"):
        deploy.handler(event, context)


@pytest.mark.parametrize("operation", ["create_endpoint", "update_endpoint"])
def test_a_config_that_sagemaker_does_not_see_yet_is_asked_for_again(
    aws_is: Deployment, event: Any, context: Any, operation: str
) -> None:
    if operation == "create_endpoint":
        aws_is.no_endpoint()
        aws_is.creates_config()
    else:
        aws_is.endpoint(config=FORMER)
        aws_is.replaces_former()
        aws_is.former_config()
        aws_is.alarms_sound()
    message = f'Could not find endpoint configuration "{CONFIG_ARN}".'
    aws_is.stubbed.refuses("sagemaker", operation, "ValidationException", message)
    with pytest.raises(ServiceUnavailable, match="Could not find endpoint configuration"):
        deploy.handler(event, context)


def test_a_model_of_a_later_lease_is_not_replaced(aws_is: Deployment, event: Any, context: Any) -> None:
    aws_is.endpoint(config=FORMER)
    aws_is.serving_tags(generation="8")
    with pytest.raises(LeaseLost, match=f"already serves {FORMER}"):
        deploy.handler(event, context)


def test_a_run_that_has_lost_its_lease_asks_for_nothing(aws_is: Deployment, event: Any, context: Any) -> None:
    event["lease"]["generation"] = 6
    with pytest.raises(LeaseLost, match="another run has it now"):
        deploy.handler(event, context)
    assert set(aws_is.stubbed.calls) == {"UpdateItem"}


def test_endpoint_tags_are_few_enough_for_one_page() -> None:
    """ListTags gives at least 50 at once, and a resource may have no more."""
    tags = [value for value in vars(endpoint).values() if str(value).startswith("lexline:")]
    assert 10 < len(tags) <= 50
    assert len(set(tags)) == len(tags)
