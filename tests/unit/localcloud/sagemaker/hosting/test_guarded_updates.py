"""Updates with a DeploymentConfig: which fleet serves during the shift, and what rolls an update back."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.localcloud.conftest import Cloud, eventually, refusal, variant_request

EVENT = "SageMaker Endpoint State Change"
DEPLOYMENT_EVENT = "SageMaker Endpoint Deployment State Change"


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def instances(value: int) -> dict[str, Any]:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def blue_green(kind: str, *, wait: int = 0, **policy: Any) -> dict[str, Any]:
    """A blue/green policy; sizes belong to its routing, the rest to the policy."""
    sizes = {name: policy.pop(name) for name in ("CanarySize", "LinearStepSize") if name in policy}
    routing = {"Type": kind, "WaitIntervalInSeconds": wait} | sizes
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing} | policy}


def rolling(size: dict[str, Any]) -> dict[str, Any]:
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": 0}}


def watched(*names: str) -> dict[str, Any]:
    return {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in names]}}


HALF = blue_green("CANARY", CanarySize=percent(50))
HALF_FOR_AN_HOUR = blue_green("CANARY", CanarySize=percent(50), wait=3600)


def update(cloud: Cloud, policy: dict[str, Any] | None = None, config: str = "second", **more: Any) -> None:
    cloud.sagemaker.update_endpoint(**request(policy, config), **more)


def refused(cloud: Cloud, policy: dict[str, Any] | None, config: str = "second", **more: Any) -> str:
    """The message that refuses an update."""
    return refusal(cloud.unchecked.update_endpoint, **request(policy, config), **more)


def request(policy: dict[str, Any] | None, config: str) -> dict[str, Any]:
    names = {"EndpointName": "lexline", "EndpointConfigName": config}
    return names | ({"DeploymentConfig": policy} if policy else {})


def invoke(cloud: Cloud) -> str:
    body = cloud.runtime.invoke_endpoint(EndpointName="lexline", Body=b"")["Body"].read()
    return str(body.decode().removesuffix("|"))


def served(cloud: Cloud, count: int = 20) -> dict[str, int]:
    """How many of these requests each model serves."""
    return dict(Counter(invoke(cloud) for _ in range(count)))


@pytest.fixture
def endpoint(cloud: Cloud) -> Cloud:
    """An endpoint of ten instances, and the config `second` to update it to; the alarm `errors` is OK."""
    cloud.config("first", InitialInstanceCount=10)
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    cloud.await_endpoint("InService")
    cloud.config("second", InitialInstanceCount=10)
    cloud.config("lone", InitialInstanceCount=1)
    cloud.host.alarms["errors"] = "OK"
    return cloud


@pytest.fixture
def stepwise(endpoint: Cloud) -> Iterator[Cloud]:
    """The same; updates that watch `errors` check the alarms once each time the test releases `looks`."""
    endpoint.host.looks = threading.Semaphore(0)
    yield endpoint
    for _ in range(50):
        endpoint.host.looks.release()


def baking(cloud: Cloud, active: int) -> str:
    """Wait until this many instances of the new fleet bake with requests; return the status message."""
    messages: list[str] = []

    def reached() -> bool:
        described = cloud.sagemaker.describe_endpoint(EndpointName="lexline")
        (variant,) = described.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])
        for stage in variant.get("VariantStatus", []):
            if stage["Status"] == "Baking" and variant["CurrentInstanceCount"] == active:
                messages.append(stage["StatusMessage"])
        return bool(messages)

    eventually(reached)
    return messages[0]


def step(cloud: Cloud) -> None:
    assert cloud.host.looks
    cloud.host.looks.release()


@pytest.mark.parametrize("size", [percent(30), instances(3)])
def test_a_canary_gets_its_share_and_then_everything(stepwise: Cloud, size: dict[str, Any]) -> None:
    canary = blue_green("CANARY", CanarySize=size, wait=300, TerminationWaitInSeconds=120)
    update(stepwise, canary | watched("errors"))
    eventually(lambda: len(stepwise.fleets.made) == 2)
    assert served(stepwise) == {"first": 20}
    step(stepwise)
    assert baking(stepwise, 3) == (
        "Baking for 300 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 3 "
        "instance(s)."
    )
    assert served(stepwise) == {"first": 14, "second": 6}
    step(stepwise)
    assert baking(stepwise, 10) == (
        "Baking for 120 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 10 "
        "instance(s)."
    )
    assert served(stepwise) == {"second": 20}
    described = stepwise.sagemaker.describe_endpoint(EndpointName="lexline")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", "first")
    assert not stepwise.fleets.made[0].stopped
    step(stepwise)
    assert stepwise.await_endpoint("InService")["EndpointConfigName"] == "second"
    eventually(lambda: stepwise.fleets.made[0].stopped)


@pytest.mark.parametrize(
    ("config", "policy", "steps"),
    [
        ("second", blue_green("LINEAR", LinearStepSize=percent(40)), (4, 8, 10)),
        ("second", rolling(instances(4)), (4, 8, 10)),
        ("six", blue_green("LINEAR", LinearStepSize=instances(2)), (2, 4, 6)),
    ],
    ids=["linear", "rolling", "thirds"],
)
def test_requests_shift_in_equal_steps(
    stepwise: Cloud, config: str, policy: dict[str, Any], steps: tuple[int, ...]
) -> None:
    stepwise.config("six", InitialInstanceCount=6)
    update(stepwise, policy | watched("errors"), config)
    for active in steps:
        step(stepwise)
        baking(stepwise, active)
        assert served(stepwise, steps[-1])[config] == active
    step(stepwise)
    assert stepwise.await_endpoint("InService")["EndpointConfigName"] == config


def test_each_stage_is_an_event(endpoint: Cloud) -> None:
    update(endpoint, blue_green("CANARY", CanarySize=percent(10), TerminationWaitInSeconds=5))
    endpoint.await_endpoint("InService")
    eventually(lambda: endpoint.events(EVENT, "EndpointStatus")[-2:] == ["UPDATING", "IN_SERVICE"])
    assert endpoint.events(DEPLOYMENT_EVENT, "EndpointStatus") == ["UPDATING"] * 5
    summaries = endpoint.events(DEPLOYMENT_EVENT, "PendingDeploymentSummary")
    stages = [summary["ProductionVariants"][0]["VariantStatus"][0] for summary in summaries]
    canary, full = "canary capacity of 1 instance(s).", "full capacity of 10 instance(s)."
    first = "Baking for 0 seconds (WaitIntervalInSeconds) with traffic enabled on "
    last = "Baking for 5 seconds (TerminationWaitInSeconds) with traffic enabled on "
    assert [(stage["Status"], stage["StatusMessage"]) for stage in stages] == [
        ("Creating", "Launching 10 instance(s)."),
        ("ActivatingTraffic", f"Activating traffic on {canary}"),
        ("Baking", first + canary),
        ("ActivatingTraffic", f"Activating traffic on {full}"),
        ("Baking", last + full),
    ]
    assert {summary["EndpointConfigName"] for summary in summaries} == {"second"}
    assert isinstance(stages[0]["StartTime"], int)


def rolled_back(cloud: Cloud) -> str:
    """The reason of an update that was rolled back: only the old fleet serves, and the new one has ended."""
    described = cloud.await_endpoint("InService")
    assert described["EndpointConfigName"] == "first"
    assert "PendingDeploymentSummary" not in described
    assert served(cloud) == {"first": 20}
    assert (cloud.fleets.made[0].stopped, cloud.fleets.made[1].stopped) == (False, True)
    eventually(lambda: len(cloud.events(EVENT, "EndpointStatus")) == 5)
    assert cloud.events(EVENT, "EndpointStatus")[2:] == ["UPDATING", "ROLLING_BACK", "IN_SERVICE"]
    return str(described["FailureReason"]).removeprefix("The update was rolled back because ")


def test_an_alarm_during_the_canary_rolls_the_update_back(stepwise: Cloud) -> None:
    stepwise.host.alarms["latency"] = "INSUFFICIENT_DATA"
    update(stepwise, HALF | watched("latency", "errors"))
    step(stepwise)
    baking(stepwise, 5)
    stepwise.host.alarms["errors"] = "ALARM"
    step(stepwise)
    assert rolled_back(stepwise) == 'of CloudWatch alarm "errors" in state ALARM.'


def test_an_alarm_after_the_shift_rolls_the_update_back_too(stepwise: Cloud) -> None:
    update(stepwise, blue_green("ALL_AT_ONCE", TerminationWaitInSeconds=300) | watched("errors"))
    step(stepwise)
    baking(stepwise, 10)
    assert served(stepwise) == {"second": 20}
    stepwise.host.alarms["errors"] = "ALARM"
    step(stepwise)
    assert "errors" in rolled_back(stepwise)


def test_alarms_are_checked_throughout_a_wait(endpoint: Cloud) -> None:
    endpoint.host.wait_scale = 1.0
    update(endpoint, HALF_FOR_AN_HOUR | watched("errors"))
    baking(endpoint, 5)
    endpoint.host.alarms["errors"] = "ALARM"
    assert "errors" in rolled_back(endpoint)


def test_an_alarm_before_the_shift_keeps_every_request_from_the_new_fleet(endpoint: Cloud) -> None:
    endpoint.host.alarms |= {"errors": "ALARM", "latency": "ALARM"}
    update(endpoint, blue_green("ALL_AT_ONCE") | watched("errors", "latency"))
    assert rolled_back(endpoint) == 'of CloudWatch alarms "errors", "latency" in state ALARM.'
    summaries = endpoint.events(DEPLOYMENT_EVENT, "PendingDeploymentSummary")
    stages = [summary["ProductionVariants"][0]["VariantStatus"][0]["Status"] for summary in summaries]
    assert stages == ["Creating", "Deleting"]


def test_an_alarm_that_does_not_exist_rolls_the_update_back(endpoint: Cloud) -> None:
    update(endpoint, watched("errors", "typo"))
    assert rolled_back(endpoint) == 'there is no CloudWatch alarm "typo".'


def test_the_execution_role_must_be_allowed_to_read_the_alarms(endpoint: Cloud) -> None:
    endpoint.host.unwatching = set(endpoint.host.roles)
    update(endpoint, watched("errors"))
    reason = rolled_back(endpoint)
    assert reason.startswith("its alarms cannot be watched: arn:aws:iam")
    assert reason.endswith("is not authorized to perform: cloudwatch:DescribeAlarms")


def test_an_update_out_of_time_is_rolled_back(endpoint: Cloud) -> None:
    linear = blue_green("LINEAR", LinearStepSize=percent(10), wait=100, MaximumExecutionTimeoutInSeconds=850)
    update(endpoint, linear)
    reason = rolled_back(endpoint)
    assert reason == "it took longer than the 850 seconds of MaximumExecutionTimeoutInSeconds."
    summaries = endpoint.events(DEPLOYMENT_EVENT, "PendingDeploymentSummary")
    assert max(each["ProductionVariants"][0]["CurrentInstanceCount"] for each in summaries) == 9


def test_an_internal_error_rolls_the_update_back(endpoint: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint.host, "alarms", None)
    update(endpoint, watched("errors"))
    assert rolled_back(endpoint).startswith("Internal error while deploying: ")


def test_a_request_to_the_new_fleet_is_answered_before_it_ends(stepwise: Cloud) -> None:
    stepwise.fleets.reset()
    update(stepwise, watched("errors"))
    step(stepwise)
    baking(stepwise, 10)
    new = stepwise.fleets.made[1]
    new.script.respond.clear()
    responses: list[str] = []
    thread = threading.Thread(target=lambda: responses.append(invoke(stepwise)))
    thread.start()
    eventually(lambda: new.busy == 1)
    stepwise.host.alarms["errors"] = "ALARM"
    step(stepwise)
    described = stepwise.await_endpoint("RollingBack")
    (variant,) = described["PendingDeploymentSummary"]["ProductionVariants"]
    assert variant["VariantStatus"][0]["StatusMessage"] == "Terminating 10 instance(s)."
    assert served(stepwise) == {"first": 20}
    assert not new.stopped
    message = refusal(stepwise.sagemaker.delete_endpoint, EndpointName="lexline")
    assert "Cannot update in-progress endpoint" in message
    new.script.respond.set()
    thread.join()
    assert responses == ["second"]
    assert "errors" in rolled_back(stepwise)


def test_after_a_rollback_the_endpoint_can_be_updated_again(endpoint: Cloud) -> None:
    endpoint.host.alarms["errors"] = "ALARM"
    update(endpoint, watched("errors"))
    rolled_back(endpoint)
    endpoint.host.alarms["errors"] = "OK"
    update(endpoint, RetainDeploymentConfig=True)
    described = endpoint.await_endpoint("InService")
    assert described["EndpointConfigName"] == "second"
    assert "FailureReason" not in described
    assert described["LastDeploymentConfig"] == watched("errors")


def test_an_update_that_waits_ends_with_the_cloud_and_both_fleets(endpoint: Cloud) -> None:
    endpoint.host.wait_scale = 1.0
    update(endpoint, HALF_FOR_AN_HOUR)
    baking(endpoint, 5)
    endpoint.service.close()
    assert [fleet.stopped for fleet in endpoint.fleets.made] == [True, True]


SHARE_OF_ALL = "of the variant's total instance count."


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (blue_green("CANARY"), "CanarySize is required"),
        (blue_green("ALL_AT_ONCE", CanarySize=percent(10)), "CanarySize is not allowed"),
        (
            blue_green("CANARY", CanarySize=percent(60)),
            f"Invalid CanarySize: 60%. Value must be less than or equal to 50% {SHARE_OF_ALL}",
        ),
        (blue_green("CANARY", CanarySize=instances(6)), "Invalid CanarySize: 6 of 10 instances."),
        (
            blue_green("LINEAR", LinearStepSize=percent(5)),
            f"Invalid LinearStepSize: 5%. Value must be 10-50% {SHARE_OF_ALL}",
        ),
        (blue_green("LINEAR", LinearStepSize=instances(6)), "Invalid LinearStepSize: 6 of 10 instances."),
        (rolling(percent(80)), "Invalid MaximumBatchSize: 80%. Value must be between 5% to 50%"),
        (blue_green("ALL_AT_ONCE") | rolling(instances(1)), "either BlueGreenUpdatePolicy or RollingUpdate"),
        (blue_green("ALL_AT_ONCE", wait=3601), "must have value less than or equal to 3600"),
        (blue_green("ALL_AT_ONCE", TerminationWaitInSeconds=3601), "less than or equal to 3600"),
        (blue_green("ALL_AT_ONCE", MaximumExecutionTimeoutInSeconds=599), "greater than or equal to 600"),
        (watched(*(f"alarm-{n}" for n in range(11))), "Member must have length less than or equal to 10"),
        ({"AutoRollbackConfiguration": {"Alarms": [{}]}}, "needs an AlarmName"),
    ],
)
def test_a_deployment_config_must_make_sense(endpoint: Cloud, policy: dict[str, Any], message: str) -> None:
    assert message in refused(endpoint, policy)
    described = endpoint.sagemaker.describe_endpoint(EndpointName="lexline")
    assert described["EndpointStatus"] == "InService"
    assert "LastDeploymentConfig" not in described


@pytest.mark.parametrize(
    "policy",
    [
        HALF,
        blue_green("CANARY", CanarySize=instances(1)),
        blue_green("LINEAR", LinearStepSize=percent(50)),
        rolling(percent(50)),
    ],
    ids=["canary", "canary of one", "linear", "rolling"],
)
def test_one_instance_cannot_take_a_part(endpoint: Cloud, policy: dict[str, Any]) -> None:
    message = refused(endpoint, policy, "lone")
    assert "a variant of 1 instance cannot take a part of the traffic. It needs at least 2" in message
    update(endpoint, policy, "lone", RetainAllVariantProperties=True)
    (variant,) = endpoint.await_endpoint("InService")["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 10


def test_a_retained_deployment_config_is_checked_again(endpoint: Cloud) -> None:
    update(endpoint, HALF)
    assert endpoint.await_endpoint("InService")["LastDeploymentConfig"] == HALF
    assert "at least 2" in refused(endpoint, None, "lone", RetainDeploymentConfig=True)
    update(endpoint, config="lone")
    assert "LastDeploymentConfig" not in endpoint.await_endpoint("InService")


def test_a_deployment_config_given_at_creation_can_be_retained(cloud: Cloud) -> None:
    cloud.config("second", InitialInstanceCount=2)
    cloud.sagemaker.create_endpoint(**request(HALF, "second"))
    assert cloud.await_endpoint("InService")["LastDeploymentConfig"] == HALF
    update(cloud, RetainDeploymentConfig=True)
    assert cloud.await_endpoint("InService")["LastDeploymentConfig"] == HALF


def test_with_guardrails_variants_keep_their_names(endpoint: Cloud) -> None:
    endpoint.config("renamed", VariantName="Other", InitialInstanceCount=10)
    message = refused(endpoint, HALF, "renamed")
    assert message.endswith("the same variant names as the old one: they are Other, and were AllTraffic.")
    update(endpoint, config="renamed")
    endpoint.await_endpoint("InService")


def test_several_variants_shift_together_but_do_not_roll(endpoint: Cloud) -> None:
    for config in ("pair", "other-pair"):
        variants = [
            variant_request("first", VariantName=name, InitialInstanceCount=count)
            for name, count in (("blue", 2), ("green", 4))
        ]
        endpoint.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=variants)
    update(endpoint, config="pair")
    endpoint.await_endpoint("InService")
    assert "several variants" in refused(endpoint, rolling(instances(1)), "other-pair")
    two = blue_green("CANARY", CanarySize=instances(2))
    assert "2 of 2 instances" in refused(endpoint, two, "other-pair")
    update(endpoint, blue_green("CANARY", CanarySize=instances(1)), "other-pair")
    assert endpoint.await_endpoint("InService")["EndpointConfigName"] == "other-pair"
