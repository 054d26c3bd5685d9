"""Updates with a DeploymentConfig: who answers while the requests shift, and what takes an update back."""

import threading
from collections import Counter
from typing import Any

import pytest

from tests.unit.localcloud.conftest import Cloud, eventually, refusal, variant_request

EVENT = "SageMaker Endpoint State Change"
DEPLOYMENT_EVENT = "SageMaker Endpoint Deployment State Change"
NAMES = {"EndpointName": "lexline", "EndpointConfigName": "second"}


LONE = NAMES | {"EndpointConfigName": "lone"}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def instances(value: int) -> dict[str, Any]:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def blue_green(kind: str, *, wait: int = 0, **policy: Any) -> dict[str, Any]:
    """A blue/green policy; sizes belong to its routing, the rest to the policy."""
    sizes = {name: policy.pop(name) for name in ("CanarySize", "LinearStepSize") if name in policy}
    routing = {"Type": kind, "WaitIntervalInSeconds": wait} | sizes
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing} | policy}


def rolling(size: dict[str, Any], *, wait: int = 0) -> dict[str, Any]:
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait}}


def watched(*names: str) -> dict[str, Any]:
    return {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in names]}}


def ask(cloud: Cloud) -> str:
    return str(cloud.runtime.invoke_endpoint(EndpointName="lexline", Body=b"")["Body"].read().decode())


def answers(cloud: Cloud, count: int = 20) -> dict[str, int]:
    """How many of so many requests each model answered."""
    return dict(Counter(ask(cloud).removesuffix("|") for _ in range(count)))


@pytest.fixture
def endpoint(cloud: Cloud) -> Any:
    """An endpoint of ten instances, and the configuration `second` to update it to; alarm `errors` is OK."""
    cloud.config("first", InitialInstanceCount=10)
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    cloud.await_endpoint("InService")
    cloud.config("second", InitialInstanceCount=10)
    cloud.host.alarms["errors"] = "OK"
    return cloud


@pytest.fixture
def stepwise(endpoint: Cloud) -> Any:
    """The same; updates that watch `errors` go on by one look each time the test releases `host.looks`."""
    endpoint.host.looks = threading.Semaphore(0)
    yield endpoint
    for _ in range(50):
        endpoint.host.looks.release()


def pending(cloud: Cloud) -> dict[str, Any]:
    """The new fleet's one variant while it is updated."""
    described = cloud.sagemaker.describe_endpoint(EndpointName="lexline")
    (variant,) = described["PendingDeploymentSummary"]["ProductionVariants"]
    return dict(variant)


def baking(cloud: Cloud) -> int | None:
    """How many instances of the new fleet have traffic, once they bake."""
    described = cloud.sagemaker.describe_endpoint(EndpointName="lexline")
    if "PendingDeploymentSummary" not in described:
        return None
    (variant,) = described["PendingDeploymentSummary"]["ProductionVariants"]
    stages = [stage["Status"] for stage in variant.get("VariantStatus", [])]
    return int(variant["CurrentInstanceCount"]) if stages == ["Baking"] else None


# --- who answers ---


@pytest.mark.parametrize("size", [percent(30), instances(3)])
def test_a_canary_gets_its_share_and_then_everything(stepwise: Cloud, size: dict[str, Any]) -> None:
    config = blue_green("CANARY", CanarySize=size, wait=300, TerminationWaitInSeconds=120) | watched("errors")
    stepwise.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    eventually(lambda: len(stepwise.fleets.made) == 2)
    assert answers(stepwise) == {"first": 20}
    stepwise.host.looks.release()
    eventually(lambda: baking(stepwise) == 3)
    assert answers(stepwise) == {"first": 14, "second": 6}
    assert pending(stepwise)["VariantStatus"][0]["StatusMessage"] == (
        "Baking for 300 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 3 "
        "instance(s)."
    )
    stepwise.host.looks.release()
    eventually(lambda: baking(stepwise) == 10)
    assert answers(stepwise) == {"second": 20}
    assert pending(stepwise)["VariantStatus"][0]["StatusMessage"] == (
        "Baking for 120 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 10 "
        "instance(s)."
    )
    described = stepwise.sagemaker.describe_endpoint(EndpointName="lexline")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", "first")
    assert not stepwise.fleets.made[0].stopped
    stepwise.host.looks.release()
    assert stepwise.await_endpoint("InService")["EndpointConfigName"] == "second"
    eventually(lambda: stepwise.fleets.made[0].stopped)


@pytest.mark.parametrize(
    "config",
    [blue_green("LINEAR", LinearStepSize=percent(40)), rolling(instances(4))],
    ids=["linear", "rolling"],
)
def test_requests_shift_in_equal_steps(stepwise: Cloud, config: dict[str, Any]) -> None:
    stepwise.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config | watched("errors"))
    seen = []
    for active in (4, 8, 10):
        stepwise.host.looks.release()
        eventually(lambda active=active: baking(stepwise) == active)
        seen.append(answers(stepwise, 10).get("second"))
    assert seen == [4, 8, 10]
    stepwise.host.looks.release()
    assert stepwise.await_endpoint("InService")["EndpointConfigName"] == "second"


def test_three_steps_of_a_third_are_three(stepwise: Cloud) -> None:
    stepwise.config("six", InitialInstanceCount=6)
    config = blue_green("LINEAR", LinearStepSize=instances(2)) | watched("errors")
    stepwise.sagemaker.update_endpoint(
        EndpointName="lexline", EndpointConfigName="six", DeploymentConfig=config
    )
    for active in (2, 4, 6):
        stepwise.host.looks.release()
        eventually(lambda active=active: baking(stepwise) == active)
    stepwise.host.looks.release()
    stepwise.await_endpoint("InService")


def test_without_a_policy_all_requests_shift_at_once(stepwise: Cloud) -> None:
    stepwise.sagemaker.update_endpoint(**NAMES, DeploymentConfig=watched("errors"))
    stepwise.host.looks.release()
    eventually(lambda: baking(stepwise) == 10)
    assert answers(stepwise) == {"second": 20}
    stepwise.host.looks.release()
    assert stepwise.await_endpoint("InService")["EndpointConfigName"] == "second"


def test_each_stage_is_an_event(endpoint: Cloud) -> None:
    config = blue_green("CANARY", CanarySize=percent(10), TerminationWaitInSeconds=5)
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    endpoint.await_endpoint("InService")
    eventually(lambda: endpoint.events(EVENT, "EndpointStatus")[-2:] == ["UPDATING", "IN_SERVICE"])
    assert endpoint.events(DEPLOYMENT_EVENT, "EndpointStatus") == ["UPDATING"] * 5
    summaries = endpoint.events(DEPLOYMENT_EVENT, "PendingDeploymentSummary")
    stages = [summary["ProductionVariants"][0]["VariantStatus"][0] for summary in summaries]
    assert [(stage["Status"], stage["StatusMessage"]) for stage in stages] == [
        ("Creating", "Launching 10 instance(s)."),
        ("ActivatingTraffic", "Activating traffic on canary capacity of 1 instance(s)."),
        (
            "Baking",
            "Baking for 0 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 "
            "instance(s).",
        ),
        ("ActivatingTraffic", "Activating traffic on full capacity of 10 instance(s)."),
        (
            "Baking",
            "Baking for 5 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 10 "
            "instance(s).",
        ),
    ]
    assert {summary["EndpointConfigName"] for summary in summaries} == {"second"}
    assert isinstance(stages[0]["StartTime"], int)


def test_waits_are_waited(endpoint: Cloud) -> None:
    endpoint.host.wait_scale = 1.0
    config = blue_green("CANARY", CanarySize=percent(50), wait=3600)
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    eventually(lambda: baking(endpoint) == 5)
    with pytest.raises(AssertionError, match="waited in vain"):
        eventually(lambda: baking(endpoint) != 5, 0.5)
    endpoint.service.close()


# --- what takes an update back ---


def rolled_back(cloud: Cloud) -> str:
    """The reason of an update that was taken back: the old fleet serves alone, and the new one has ended."""
    described = cloud.await_endpoint("InService")
    assert described["EndpointConfigName"] == "first"
    assert "PendingDeploymentSummary" not in described
    assert answers(cloud) == {"first": 20}
    assert (cloud.fleets.made[0].stopped, cloud.fleets.made[1].stopped) == (False, True)
    eventually(lambda: len(cloud.events(EVENT, "EndpointStatus")) == 5)
    assert cloud.events(EVENT, "EndpointStatus")[2:] == ["UPDATING", "ROLLING_BACK", "IN_SERVICE"]
    return str(described["FailureReason"])


def test_an_alarm_during_the_canary_takes_the_update_back(stepwise: Cloud) -> None:
    config = blue_green("CANARY", CanarySize=percent(50), wait=300) | watched("latency", "errors")
    stepwise.host.alarms["latency"] = "INSUFFICIENT_DATA"
    stepwise.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    stepwise.host.looks.release()
    eventually(lambda: baking(stepwise) == 5)
    stepwise.host.alarms["errors"] = "ALARM"
    stepwise.host.looks.release()
    assert rolled_back(stepwise) == (
        'The update was rolled back because of CloudWatch alarm "errors" in state ALARM.'
    )


def test_an_alarm_after_the_shift_takes_the_update_back_too(stepwise: Cloud) -> None:
    config = blue_green("ALL_AT_ONCE", TerminationWaitInSeconds=300) | watched("errors")
    stepwise.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    stepwise.host.looks.release()
    eventually(lambda: baking(stepwise) == 10)
    assert answers(stepwise) == {"second": 20}
    stepwise.host.alarms["errors"] = "ALARM"
    stepwise.host.looks.release()
    assert "errors" in rolled_back(stepwise)


def test_alarms_are_watched_throughout_a_wait(endpoint: Cloud) -> None:
    endpoint.host.wait_scale = 1.0
    config = blue_green("CANARY", CanarySize=percent(50), wait=3600) | watched("errors")
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    eventually(lambda: baking(endpoint) == 5)
    endpoint.host.alarms["errors"] = "ALARM"
    assert "errors" in rolled_back(endpoint)


def test_an_alarm_that_is_there_before_keeps_every_request_from_the_new_fleet(endpoint: Cloud) -> None:
    endpoint.host.alarms["errors"] = endpoint.host.alarms["latency"] = "ALARM"
    config = blue_green("ALL_AT_ONCE") | watched("errors", "latency")
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    assert rolled_back(endpoint) == (
        'The update was rolled back because of CloudWatch alarms "errors", "latency" in state ALARM.'
    )
    summaries = endpoint.events(DEPLOYMENT_EVENT, "PendingDeploymentSummary")
    stages = [summary["ProductionVariants"][0]["VariantStatus"][0]["Status"] for summary in summaries]
    assert stages == ["Creating", "Deleting"]


def test_an_alarm_that_is_not_there_takes_the_update_back(endpoint: Cloud) -> None:
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=watched("errors", "typo"))
    assert rolled_back(endpoint) == (
        'The update was rolled back because there is no CloudWatch alarm "typo".'
    )


def test_the_execution_role_must_be_allowed_to_look_at_the_alarms(endpoint: Cloud) -> None:
    endpoint.host.unwatching = set(endpoint.host.roles)
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=watched("errors"))
    reason = rolled_back(endpoint)
    assert reason.startswith("The update was rolled back because its alarms cannot be watched: arn:aws:iam")
    assert reason.endswith("is not authorized to perform: cloudwatch:DescribeAlarms")


def test_an_update_out_of_time_is_taken_back(endpoint: Cloud) -> None:
    config = blue_green("LINEAR", LinearStepSize=percent(10), wait=100, MaximumExecutionTimeoutInSeconds=850)
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    assert rolled_back(endpoint) == (
        "The update was rolled back because it took longer than the 850 seconds of "
        "MaximumExecutionTimeoutInSeconds."
    )
    summaries = endpoint.events(DEPLOYMENT_EVENT, "PendingDeploymentSummary")
    counts = [summary["ProductionVariants"][0]["CurrentInstanceCount"] for summary in summaries]
    assert max(counts) == 9


def test_a_fault_of_our_own_takes_the_update_back(endpoint: Cloud) -> None:
    endpoint.host.alarms = None
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=watched("errors"))
    assert rolled_back(endpoint).startswith("Internal error while deploying: ")


def test_a_request_the_new_fleet_has_is_answered_before_it_ends(stepwise: Cloud) -> None:
    stepwise.fleets.reset()
    stepwise.sagemaker.update_endpoint(**NAMES, DeploymentConfig=watched("errors"))
    stepwise.host.looks.release()
    eventually(lambda: baking(stepwise) == 10)
    new = stepwise.fleets.made[1]
    new.script.answer.clear()
    answered: list[str] = []
    asking = threading.Thread(target=lambda: answered.append(ask(stepwise)))
    asking.start()
    eventually(lambda: new.answering == 1)
    stepwise.host.alarms["errors"] = "ALARM"
    stepwise.host.looks.release()
    described = stepwise.await_endpoint("RollingBack")
    (variant,) = described["PendingDeploymentSummary"]["ProductionVariants"]
    assert variant["VariantStatus"][0]["StatusMessage"] == "Terminating 10 instance(s)."
    assert answers(stepwise) == {"first": 20}
    assert not new.stopped
    message = refusal(stepwise.sagemaker.delete_endpoint, EndpointName="lexline")
    assert "Cannot update in-progress endpoint" in message
    new.script.answer.set()
    asking.join()
    assert answered == ["second|"]
    assert "errors" in rolled_back(stepwise)


def test_after_a_rollback_the_endpoint_can_be_updated_again(endpoint: Cloud) -> None:
    endpoint.host.alarms["errors"] = "ALARM"
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=watched("errors"))
    rolled_back(endpoint)
    endpoint.host.alarms["errors"] = "OK"
    endpoint.sagemaker.update_endpoint(**NAMES, RetainDeploymentConfig=True)
    described = endpoint.await_endpoint("InService")
    assert described["EndpointConfigName"] == "second"
    assert "FailureReason" not in described
    assert described["LastDeploymentConfig"] == watched("errors")


def test_a_cloud_that_goes_down_ends_both_fleets(endpoint: Cloud) -> None:
    endpoint.host.wait_scale = 1.0
    config = blue_green("CANARY", CanarySize=percent(50), wait=3600)
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    eventually(lambda: baking(endpoint) == 5)
    endpoint.service.close()
    assert [fleet.stopped for fleet in endpoint.fleets.made] == [True, True]


# --- what is refused ---


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (blue_green("CANARY"), "CanarySize is required"),
        (blue_green("ALL_AT_ONCE", CanarySize=percent(10)), "CanarySize is not allowed"),
        (
            blue_green("CANARY", CanarySize=percent(60)),
            "Invalid CanarySize: 60%. Value must be less than or equal to 50% of the variant's total "
            "instance count.",
        ),
        (blue_green("CANARY", CanarySize=instances(6)), "Invalid CanarySize: 6 of 10 instances."),
        (
            blue_green("LINEAR", LinearStepSize=percent(5)),
            "Invalid LinearStepSize: 5%. Value must be 10-50% of the variant's total instance count.",
        ),
        (blue_green("LINEAR", LinearStepSize=instances(6)), "Invalid LinearStepSize: 6 of 10 instances."),
        (rolling(percent(80)), "Invalid MaximumBatchSize: 80%. Value must be between 5% to 50%"),
        (blue_green("ALL_AT_ONCE") | rolling(instances(1)), "either BlueGreenUpdatePolicy or RollingUpdate"),
        (blue_green("ALL_AT_ONCE", wait=3601), "Member must have value less than or equal to 3600"),
        (
            blue_green("ALL_AT_ONCE", TerminationWaitInSeconds=3601),
            "Member must have value less than or equal to 3600",
        ),
        (
            blue_green("ALL_AT_ONCE", MaximumExecutionTimeoutInSeconds=599),
            "Member must have value greater than or equal to 600",
        ),
        (watched(*(f"alarm-{n}" for n in range(11))), "Member must have length less than or equal to 10"),
        ({"AutoRollbackConfiguration": {"Alarms": [{}]}}, "needs an AlarmName"),
    ],
)
def test_a_deployment_configuration_must_make_sense(
    endpoint: Cloud, config: dict[str, Any], message: str
) -> None:
    assert message in refusal(endpoint.unchecked.update_endpoint, **NAMES, DeploymentConfig=config)
    described = endpoint.sagemaker.describe_endpoint(EndpointName="lexline")
    assert described["EndpointStatus"] == "InService"
    assert "LastDeploymentConfig" not in described


@pytest.mark.parametrize(
    "config",
    [
        blue_green("CANARY", CanarySize=percent(50)),
        blue_green("CANARY", CanarySize=instances(1)),
        blue_green("LINEAR", LinearStepSize=percent(50)),
        rolling(percent(50)),
    ],
    ids=["canary", "canary of one", "linear", "rolling"],
)
def test_one_instance_cannot_take_a_part(endpoint: Cloud, config: dict[str, Any]) -> None:
    endpoint.config("lone", InitialInstanceCount=1)
    message = refusal(endpoint.sagemaker.update_endpoint, **LONE, DeploymentConfig=config)
    assert "a variant of 1 instance cannot take a part of the traffic. It needs at least 2" in message
    endpoint.sagemaker.update_endpoint(**LONE, DeploymentConfig=config, RetainAllVariantProperties=True)
    (variant,) = endpoint.await_endpoint("InService")["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 10


def test_a_retained_configuration_is_checked_again(endpoint: Cloud) -> None:
    config = blue_green("CANARY", CanarySize=percent(50))
    endpoint.sagemaker.update_endpoint(**NAMES, DeploymentConfig=config)
    assert endpoint.await_endpoint("InService")["LastDeploymentConfig"] == config
    endpoint.config("lone", InitialInstanceCount=1)
    assert "at least 2" in refusal(endpoint.sagemaker.update_endpoint, **LONE, RetainDeploymentConfig=True)
    endpoint.sagemaker.update_endpoint(**LONE)
    assert "LastDeploymentConfig" not in endpoint.await_endpoint("InService")


def test_a_configuration_given_at_creation_can_be_retained(cloud: Cloud) -> None:
    cloud.config("first", InitialInstanceCount=2)
    config = blue_green("CANARY", CanarySize=percent(50))
    cloud.sagemaker.create_endpoint(
        EndpointName="lexline", EndpointConfigName="first", DeploymentConfig=config
    )
    assert cloud.await_endpoint("InService")["LastDeploymentConfig"] == config
    cloud.sagemaker.update_endpoint(
        EndpointName="lexline", EndpointConfigName="first", RetainDeploymentConfig=True
    )
    assert cloud.await_endpoint("InService")["LastDeploymentConfig"] == config


def test_with_guardrails_variants_keep_their_names(endpoint: Cloud) -> None:
    endpoint.config("renamed", VariantName="Other", InitialInstanceCount=10)
    renamed = NAMES | {"EndpointConfigName": "renamed"}
    config = blue_green("CANARY", CanarySize=percent(50))
    message = refusal(endpoint.sagemaker.update_endpoint, **renamed, DeploymentConfig=config)
    assert message.endswith("the same variant names as the old one: they are Other, and were AllTraffic.")
    endpoint.sagemaker.update_endpoint(**renamed)
    endpoint.await_endpoint("InService")


def test_several_variants_shift_together_but_do_not_roll(endpoint: Cloud) -> None:
    for config in ("pair", "other-pair"):
        variants = [
            variant_request("first", VariantName=name, InitialInstanceCount=count)
            for name, count in (("blue", 2), ("green", 4))
        ]
        endpoint.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=variants)
    endpoint.sagemaker.update_endpoint(EndpointName="lexline", EndpointConfigName="pair")
    endpoint.await_endpoint("InService")
    names = NAMES | {"EndpointConfigName": "other-pair"}
    update = endpoint.sagemaker.update_endpoint
    assert "several variants" in refusal(update, **names, DeploymentConfig=rolling(instances(1)))
    config = blue_green("CANARY", CanarySize=instances(2))
    assert "2 of 2 instances" in refusal(update, **names, DeploymentConfig=config)
    update(**names, DeploymentConfig=blue_green("CANARY", CanarySize=instances(1)))
    assert endpoint.await_endpoint("InService")["EndpointConfigName"] == "other-pair"
