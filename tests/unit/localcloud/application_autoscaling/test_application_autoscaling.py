"""Scalable targets and policies of endpoint variants: kept and described, and heeded by SageMaker."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.localcloud.conftest import eventually

RESOURCE = "endpoint/lexline/variant/AllTraffic"
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": RESOURCE,
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
NAMED = (
    f"service namespace: sagemaker, resource ID: {RESOURCE}, "
    "scalable dimension: sagemaker:variant:DesiredInstanceCount"
)
LIMITS = {"MinCapacity": 1, "MaxCapacity": 3}
INVOCATIONS = "SageMakerVariantInvocationsPerInstance"
CONFIGURATION = {
    "TargetValue": 100.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": INVOCATIONS},
    "ScaleInCooldown": 300,
}
POLICY = TARGET | {
    "PolicyName": "invocations",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": CONFIGURATION,
}


def refusal(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture
def scaling(cloud: Cloud) -> Any:
    """A client of Application Auto Scaling beside an endpoint lexline in service."""
    cloud.endpoint("lexline", "first")
    return cloud.scaling


@pytest.fixture
def registered(scaling: Any) -> Any:
    """The same, the endpoint's variant registered with a policy."""
    scaling.register_scalable_target(**TARGET, **LIMITS)
    scaling.put_scaling_policy(**POLICY)
    return scaling


def targets(scaling: Any, **filters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", **filters)[
        "ScalableTargets"
    ]
    return found


def policies(scaling: Any, **filters: Any) -> list[str]:
    found = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", **filters)
    return [policy["PolicyName"] for policy in found["ScalingPolicies"]]


# --- targets ---


def test_a_target_is_described_as_it_was_registered(scaling: Any) -> None:
    arn = scaling.register_scalable_target(**TARGET, **LIMITS)["ScalableTargetARN"]
    assert arn.startswith("arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/")
    (target,) = targets(scaling)
    assert target.items() >= (TARGET | LIMITS | {"ScalableTargetARN": arn}).items()
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    assert set(target["SuspendedState"].values()) == {False}


def test_registering_again_changes_what_is_said_and_nothing_else(registered: Any) -> None:
    (before,) = targets(registered)
    registered.register_scalable_target(
        **TARGET, MaxCapacity=5, SuspendedState={"DynamicScalingInSuspended": True}
    )
    (after,) = targets(registered)
    assert after["SuspendedState"] == before["SuspendedState"] | {"DynamicScalingInSuspended": True}
    changed = {"MaxCapacity": 5, "SuspendedState": after["SuspendedState"]}
    assert after == before | changed
    assert policies(registered) == ["invocations"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ResourceId": "endpoint/nobody/variant/AllTraffic"},
            "No endpoint nobody serves a variant AllTraff",
        ),
        ({"ResourceId": "endpoint/lexline/variant/Other"}, "No endpoint lexline serves a variant Other"),
        ({"ResourceId": "endpoint/lexline"}, "Unsupported service namespace, resource type or scalable"),
        ({"ServiceNamespace": "ecs"}, "has the namespace sagemaker only"),
        ({"ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}, "with the dimension"),
        ({"MinCapacity": 4}, "Maximum capacity cannot be less than minimum capacity"),
        ({"MinCapacity": 0}, "MinCapacity must be at least 1"),
        ({"MaxCapacity": None}, "needs both MinCapacity and MaxCapacity"),
        ({"RoleARN": "arn:aws:iam::000000000000:role/mine"}, "leave RoleARN out"),
        ({"Tags": {"a": "b"}}, "Tags on scalable targets are not available"),
    ],
)
def test_what_cannot_be_registered_is_refused(scaling: Any, change: dict[str, Any], message: str) -> None:
    request = {name: value for name, value in (TARGET | LIMITS | change).items() if value is not None}
    code, said = refusal(scaling.register_scalable_target, **request)
    assert code == "ValidationException"
    assert message in said
    assert targets(scaling) == []


def test_a_variant_is_registered_once_its_endpoint_is_in_service(cloud: Cloud) -> None:
    cloud.config("first")
    cloud.fleets.script.ready.clear()
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    register = cloud.scaling.register_scalable_target
    assert "once its endpoint is InService" in refusal(register, **TARGET, **LIMITS)[1]
    cloud.fleets.script.ready.set()
    cloud.await_endpoint("InService")
    register(**TARGET, **LIMITS)


def test_serverless_and_burstable_variants_do_not_scale(cloud: Cloud) -> None:
    cloud.config("burstable", InstanceType="ml.t2.medium")
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="burstable")
    cloud.await_endpoint("InService")
    register = cloud.scaling.register_scalable_target
    assert "You cannot register a variant with ml.t2.medium" in refusal(register, **TARGET, **LIMITS)[1]
    cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    eventually(lambda: not cloud.sagemaker.list_endpoints()["Endpoints"])
    cloud.model("serverless")
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "serverless",
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1},
    }
    cloud.sagemaker.create_endpoint_config(EndpointConfigName="serverless", ProductionVariants=[variant])
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="serverless")
    cloud.await_endpoint("InService")
    assert "is serverless: it has no instances to scale" in refusal(register, **TARGET, **LIMITS)[1]


def test_targets_are_found_by_namespace_resource_and_dimension(registered: Any) -> None:
    dimension = TARGET["ScalableDimension"]
    assert len(targets(registered, ResourceIds=[RESOURCE], ScalableDimension=dimension)) == 1
    assert targets(registered, ResourceIds=["endpoint/other/variant/AllTraffic"]) == []
    assert registered.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"] == []
    describe = registered.describe_scalable_targets
    code, message = refusal(describe, ServiceNamespace="sagemaker", ScalableDimension=dimension)
    assert (code, "name those as well" in message) == ("ValidationException", True)
    code, _ = refusal(describe, ServiceNamespace="sagemaker", NextToken="mine")
    assert code == "InvalidNextTokenException"
    assert "between 1 and 50" in refusal(describe, ServiceNamespace="sagemaker", MaxResults=51)[1]


def test_deregistering_takes_the_policies_along(registered: Any) -> None:
    registered.deregister_scalable_target(**TARGET)
    assert targets(registered) == []
    missing = ("ObjectNotFoundException", f"No scalable target registered for {NAMED}")
    assert refusal(registered.deregister_scalable_target, **TARGET) == missing
    registered.register_scalable_target(**TARGET, **LIMITS)
    assert policies(registered) == []


# --- policies ---


def test_a_policy_is_described_as_it_was_put(registered: Any) -> None:
    arn = registered.put_scaling_policy(**POLICY)["PolicyARN"]
    (policy,) = registered.describe_scaling_policies(**TARGET)["ScalingPolicies"]
    assert policy.items() >= (POLICY | {"PolicyARN": arn, "Alarms": []}).items()
    assert arn.endswith(f":resource/sagemaker/{RESOURCE}:policyName/invocations")
    changed = CONFIGURATION | {"TargetValue": 50.0}
    again = registered.put_scaling_policy(**POLICY | {"TargetTrackingScalingPolicyConfiguration": changed})
    assert again["PolicyARN"] == arn
    (policy,) = registered.describe_scaling_policies(**TARGET)["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == changed


def test_a_policy_needs_its_target(scaling: Any) -> None:
    missing = ("ObjectNotFoundException", f"No scalable target registered for {NAMED}")
    assert refusal(scaling.put_scaling_policy, **POLICY) == missing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PolicyType": "StepScaling"}, "PolicyType TargetTrackingScaling only, not StepScaling"),
        ({"PolicyType": None}, "A new scaling policy needs a PolicyType"),
        ({"TargetTrackingScalingPolicyConfiguration": None}, "needs a TargetTrackingScalingPolicyConfig"),
        ({"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 1.0}}, "needs either a Predefined"),
        (
            {"TargetTrackingScalingPolicyConfiguration": CONFIGURATION | {"TargetValue": 1e300}},
            "TargetValue must be between",
        ),
        (
            {
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 1.0,
                    "PredefinedMetricSpecification": {
                        "PredefinedMetricType": "ECSServiceAverageCPUUtilization"
                    },
                }
            },
            "ECSServiceAverageCPUUtilization is no metric of a SageMaker variant",
        ),
        ({}, "Only one TargetTrackingScaling policy for a given metric specification is allowed."),
    ],
)
def test_a_policy_that_cannot_work_is_refused(registered: Any, change: dict[str, Any], message: str) -> None:
    asked = POLICY | {"PolicyName": "second"} | change
    request = {name: value for name, value in asked.items() if value is not None}
    code, said = refusal(registered.put_scaling_policy, **request)
    assert code == "ValidationException"
    assert message in said
    assert policies(registered) == ["invocations"]


def test_policies_are_found_by_name_and_deleted(registered: Any) -> None:
    concurrent = {
        "TargetValue": 4.0,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
        },
    }
    second = {"PolicyName": "concurrency", "TargetTrackingScalingPolicyConfiguration": concurrent}
    registered.put_scaling_policy(**POLICY | second)
    assert set(policies(registered)) == {"invocations", "concurrency"}
    assert policies(registered, PolicyNames=["concurrency"]) == ["concurrency"]
    assert policies(registered, ResourceId="endpoint/other/variant/AllTraffic") == []
    pages = registered.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="sagemaker", PaginationConfig={"PageSize": 1}
    )
    assert [len(page["ScalingPolicies"]) for page in pages] == [1, 1]
    registered.delete_scaling_policy(**TARGET, PolicyName="invocations")
    assert policies(registered) == ["concurrency"]
    missing = (
        "ObjectNotFoundException",
        f"No scaling policy found for {NAMED}, policy name: invocations",
    )
    assert refusal(registered.delete_scaling_policy, **TARGET, PolicyName="invocations") == missing


# --- what endpoints make of it ---


def test_a_targets_instance_type_stays_while_its_model_may_change(cloud: Cloud, registered: Any) -> None:
    cloud.config("larger", InstanceType="ml.m5.xlarge")
    update = cloud.sagemaker.update_endpoint
    assert refusal(update, EndpointName="Lexline", EndpointConfigName="larger") == (
        "ValidationException",
        'The variant(s) "[AllTraffic]" must be deregistered as scalable targets with AWS Auto Scaling before '
        "they can be removed or have their instance type updated.",
    )
    cloud.config("renamed", VariantName="Other")
    assert "must be deregistered" in refusal(update, EndpointName="lexline", EndpointConfigName="renamed")[1]
    cloud.config("second")
    update(EndpointName="lexline", EndpointConfigName="second")
    assert cloud.await_endpoint("InService")["EndpointConfigName"] == "second"
    registered.deregister_scalable_target(**TARGET)
    update(EndpointName="lexline", EndpointConfigName="larger")


def test_an_endpoint_takes_its_targets_along(cloud: Cloud, registered: Any) -> None:
    cloud.endpoint("other", "second")
    other = TARGET | {"ResourceId": "endpoint/other/variant/AllTraffic"}
    registered.register_scalable_target(**other, **LIMITS)
    cloud.sagemaker.delete_endpoint(EndpointName="Lexline")
    assert [target["ResourceId"] for target in targets(registered)] == [other["ResourceId"]]
    code, _ = refusal(registered.register_scalable_target, **TARGET, **LIMITS)
    assert code == "ValidationException"


# --- who may ---

CALLER = "AKIACALLER"
ARN = "arn:aws:sagemaker:us-east-1:000000000000"
SCALABLE = "arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/*"


@pytest.mark.parametrize(
    ("call", "parameters", "action"),
    [
        ("deregister_scalable_target", TARGET, "DeregisterScalableTarget"),
        ("put_scaling_policy", POLICY, "PutScalingPolicy"),
        ("delete_scaling_policy", TARGET | {"PolicyName": "invocations"}, "DeleteScalingPolicy"),
        ("describe_scalable_targets", {"ServiceNamespace": "sagemaker"}, "DescribeScalableTargets"),
        ("describe_scaling_policies", {"ServiceNamespace": "sagemaker"}, "DescribeScalingPolicies"),
    ],
)
def test_the_action_on_the_target_is_needed_and_enough(
    cloud: Cloud, registered: Any, call: str, parameters: dict[str, Any], action: str
) -> None:
    code, message = refusal(getattr(cloud.caller_scaling, call), **parameters)
    assert code == "AccessDeniedException"
    assert f"application-autoscaling:{action} on resource: " in message
    resource = "*" if action.startswith("Describe") else SCALABLE
    cloud.host.policies[CALLER] = [(f"application-autoscaling:{action}", resource)]
    getattr(cloud.caller_scaling, call)(**parameters)


def test_registering_needs_what_scaling_will_do(cloud: Cloud, scaling: Any) -> None:
    own = ("application-autoscaling:RegisterScalableTarget", SCALABLE)
    needs = [
        ("sagemaker:DescribeEndpoint", f"{ARN}:endpoint/lexline"),
        ("sagemaker:DescribeEndpointConfig", f"{ARN}:endpoint-config/first"),
        ("sagemaker:UpdateEndpointWeightsAndCapacities", f"{ARN}:endpoint/lexline"),
        ("cloudwatch:PutMetricAlarm", "*"),
        ("cloudwatch:DescribeAlarms", "*"),
        ("cloudwatch:DeleteAlarms", "*"),
    ]
    register = cloud.caller_scaling.register_scalable_target
    cloud.host.policies[CALLER] = needs
    assert refusal(register, **TARGET, **LIMITS)[0] == "AccessDeniedException"
    for missing in needs:
        cloud.host.policies[CALLER] = [own, *(need for need in needs if need != missing)]
        code, message = refusal(register, **TARGET, **LIMITS)
        assert code == "ValidationException"
        assert f"{missing[0]} on resource: {missing[1]}" in message
    assert targets(scaling) == []
    cloud.host.policies[CALLER] = [own, *needs]
    register(**TARGET, **LIMITS)


def test_deleting_a_scaled_endpoint_needs_to_deregister(cloud: Cloud, registered: Any) -> None:
    delete = ("sagemaker:DeleteEndpoint", f"{ARN}:endpoint/lexline")
    cloud.host.policies[CALLER] = [delete]
    code, message = refusal(cloud.caller.delete_endpoint, EndpointName="lexline")
    assert code == "ValidationException"
    assert "does not have application-autoscaling:DeregisterScalableTarget permission" in message
    assert len(targets(registered)) == 1
    cloud.host.policies[CALLER] = [delete, ("application-autoscaling:DeregisterScalableTarget", SCALABLE)]
    cloud.caller.delete_endpoint(EndpointName="lexline")
    assert targets(registered) == []


# --- requests ---


def test_an_operation_that_is_not_here_is_refused_with_those_that_are(cloud: Cloud) -> None:
    code, message = refusal(
        cloud.scaling.describe_scaling_activities, ServiceNamespace="sagemaker", MaxResults=1
    )
    assert code == "UnknownOperationException"
    assert "The local Application Auto Scaling does not have DescribeScalingActivities" in message
    assert "RegisterScalableTarget" in message


def test_requests_are_held_against_the_model(cloud: Cloud) -> None:
    code, message = refusal(cloud.scaling.describe_scalable_targets, ServiceNamespace="sage")
    assert code == "ValidationException"
    assert message.startswith("1 validation error detected: Value 'sage' at 'serviceNamespace' failed to")
