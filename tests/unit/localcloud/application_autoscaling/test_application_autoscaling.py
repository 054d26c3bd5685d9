"""Scalable targets and policies of endpoint variants, and how SageMaker treats variants that are targets."""

from typing import Any

import pytest

from tests.unit.localcloud.conftest import ARN, CALLER, Cloud, eventually, refusal

RESOURCE = "endpoint/lexline/variant/AllTraffic"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
TARGET = {"ServiceNamespace": "sagemaker", "ResourceId": RESOURCE, "ScalableDimension": DIMENSION}
NAMED = f"service namespace: sagemaker, resource ID: {RESOURCE}, scalable dimension: {DIMENSION}"
LIMITS = {"MinCapacity": 1, "MaxCapacity": 3}
REGISTER = TARGET | LIMITS
NOT_FOUND = "ObjectNotFoundException"


def tracking(metric: str = "SageMakerVariantInvocationsPerInstance", value: float = 100.0) -> dict[str, Any]:
    return {"TargetValue": value, "PredefinedMetricSpecification": {"PredefinedMetricType": metric}}


POLICY = TARGET | {
    "PolicyName": "invocations",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": tracking() | {"ScaleInCooldown": 300},
}


@pytest.fixture
def scaling(cloud: Cloud) -> Any:
    """A client of Application Auto Scaling; the endpoint lexline is in service."""
    cloud.endpoint("lexline", "first")
    return cloud.scaling


@pytest.fixture
def registered(scaling: Any) -> Any:
    """The same, with the endpoint's variant registered and a policy on it."""
    scaling.register_scalable_target(**REGISTER)
    scaling.put_scaling_policy(**POLICY)
    return scaling


def targets(scaling: Any, **filters: Any) -> list[dict[str, Any]]:
    found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", **filters)
    return list(found["ScalableTargets"])


def policies(scaling: Any, **filters: Any) -> list[str]:
    found = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", **filters)
    return [policy["PolicyName"] for policy in found["ScalingPolicies"]]


def given(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if value is not None}


def test_a_target_is_described_as_it_was_registered(scaling: Any) -> None:
    arn = scaling.register_scalable_target(**REGISTER)["ScalableTargetARN"]
    assert arn.startswith("arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/")
    (target,) = targets(scaling)
    assert target.items() >= (REGISTER | {"ScalableTargetARN": arn}).items()
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    assert set(target["SuspendedState"].values()) == {False}


def test_registering_again_changes_the_given_members_only(registered: Any) -> None:
    (before,) = targets(registered)
    suspended = {"DynamicScalingInSuspended": True}
    registered.register_scalable_target(**TARGET, MaxCapacity=5, SuspendedState=suspended)
    (after,) = targets(registered)
    state = before["SuspendedState"] | suspended
    assert after == before | {"MaxCapacity": 5, "SuspendedState": state}
    assert policies(registered) == ["invocations"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ResourceId": "endpoint/nobody/variant/AllTraffic"}, "No endpoint nobody serves a variant AllTra"),
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
def test_an_invalid_target_is_refused(scaling: Any, change: dict[str, Any], message: str) -> None:
    assert message in refusal(scaling.register_scalable_target, **given(REGISTER | change))
    assert targets(scaling) == []


def test_a_variant_is_registered_once_its_endpoint_is_in_service(cloud: Cloud) -> None:
    cloud.config("first")
    cloud.fleets.script.ready.clear()
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    register = cloud.scaling.register_scalable_target
    assert "once its endpoint is InService" in refusal(register, **REGISTER)
    cloud.fleets.script.ready.set()
    cloud.await_endpoint("InService")
    register(**REGISTER)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            {"InstanceType": "ml.t2.medium", "InitialInstanceCount": 1},
            "You cannot register a variant with ml.t2.medium",
        ),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}},
            "is serverless: it has no instances to scale",
        ),
    ],
)
def test_serverless_and_burstable_variants_do_not_scale(
    cloud: Cloud, variant: dict[str, Any], message: str
) -> None:
    cloud.model("m")
    variants = [{"VariantName": "AllTraffic", "ModelName": "m"} | variant]
    cloud.sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=variants)
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="c")
    cloud.await_endpoint("InService")
    assert message in refusal(cloud.scaling.register_scalable_target, **REGISTER)


def test_targets_are_found_by_namespace_resource_and_dimension(registered: Any) -> None:
    assert len(targets(registered, ResourceIds=[RESOURCE], ScalableDimension=DIMENSION)) == 1
    assert targets(registered, ResourceIds=["endpoint/other/variant/AllTraffic"]) == []
    describe = registered.describe_scalable_targets
    assert describe(ServiceNamespace="ecs")["ScalableTargets"] == []
    all_of = {"ServiceNamespace": "sagemaker"}
    assert "name those as well" in refusal(describe, **all_of, ScalableDimension=DIMENSION)
    assert "Invalid" in refusal(describe, "InvalidNextTokenException", **all_of, NextToken="mine")
    assert "between 1 and 50" in refusal(describe, **all_of, MaxResults=51)


def test_deregistering_deletes_the_policies_too(registered: Any) -> None:
    registered.deregister_scalable_target(**TARGET)
    assert targets(registered) == []
    missing = f"No scalable target registered for {NAMED}"
    assert refusal(registered.deregister_scalable_target, NOT_FOUND, **TARGET) == missing
    assert refusal(registered.put_scaling_policy, NOT_FOUND, **POLICY) == missing
    registered.register_scalable_target(**REGISTER)
    assert policies(registered) == []


def test_a_policy_is_described_as_it_was_put(registered: Any) -> None:
    arn = registered.put_scaling_policy(**POLICY)["PolicyARN"]
    (policy,) = registered.describe_scaling_policies(**TARGET)["ScalingPolicies"]
    assert policy.items() >= (POLICY | {"PolicyARN": arn, "Alarms": []}).items()
    assert arn.endswith(f":resource/sagemaker/{RESOURCE}:policyName/invocations")
    changed = {"TargetTrackingScalingPolicyConfiguration": tracking(value=50.0)}
    assert registered.put_scaling_policy(**POLICY | changed)["PolicyARN"] == arn
    (policy,) = registered.describe_scaling_policies(**TARGET)["ScalingPolicies"]
    assert policy.items() >= changed.items()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PolicyType": "StepScaling"}, "PolicyType TargetTrackingScaling only, not StepScaling"),
        ({"PolicyType": None}, "A new scaling policy needs a PolicyType"),
        ({"TargetTrackingScalingPolicyConfiguration": None}, "needs a TargetTrackingScalingPolicyConfig"),
        ({"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 1.0}}, "needs either a Predefined"),
        ({"TargetTrackingScalingPolicyConfiguration": tracking(value=1e300)}, "TargetValue must be between"),
        (
            {"TargetTrackingScalingPolicyConfiguration": tracking("ECSServiceAverageCPUUtilization")},
            "ECSServiceAverageCPUUtilization is no metric of a SageMaker variant",
        ),
        ({}, "Only one TargetTrackingScaling policy for a given metric specification is allowed."),
    ],
)
def test_an_invalid_policy_is_refused(registered: Any, change: dict[str, Any], message: str) -> None:
    request = given(POLICY | {"PolicyName": "second"} | change)
    assert message in refusal(registered.put_scaling_policy, **request)
    assert policies(registered) == ["invocations"]


def test_policies_are_found_by_name_and_deleted(registered: Any) -> None:
    concurrent = tracking("SageMakerVariantConcurrentRequestsPerModelHighResolution")
    second = {"PolicyName": "concurrency", "TargetTrackingScalingPolicyConfiguration": concurrent}
    registered.put_scaling_policy(**POLICY | second)
    assert set(policies(registered)) == {"invocations", "concurrency"}
    assert policies(registered, PolicyNames=["concurrency"]) == ["concurrency"]
    assert policies(registered, ResourceId="endpoint/other/variant/AllTraffic") == []
    paginator = registered.get_paginator("describe_scaling_policies")
    pages = paginator.paginate(ServiceNamespace="sagemaker", PaginationConfig={"PageSize": 1})
    assert [len(page["ScalingPolicies"]) for page in pages] == [1, 1]
    first = TARGET | {"PolicyName": "invocations"}
    registered.delete_scaling_policy(**first)
    assert policies(registered) == ["concurrency"]
    message = refusal(registered.delete_scaling_policy, NOT_FOUND, **first)
    assert message == f"No scaling policy found for {NAMED}, policy name: invocations"


def test_a_targets_instance_type_stays_while_its_model_may_change(cloud: Cloud, registered: Any) -> None:
    cloud.config("larger", InstanceType="ml.m5.xlarge")
    cloud.config("renamed", VariantName="Other")
    update = cloud.sagemaker.update_endpoint
    for config in ("larger", "renamed"):
        assert refusal(update, EndpointName="Lexline", EndpointConfigName=config) == (
            'The variant(s) "[AllTraffic]" must be deregistered as scalable targets with AWS Auto Scaling '
            "before they can be removed or have their instance type updated."
        )
    cloud.config("second")
    update(EndpointName="lexline", EndpointConfigName="second")
    assert cloud.await_endpoint("InService")["EndpointConfigName"] == "second"
    registered.deregister_scalable_target(**TARGET)
    update(EndpointName="lexline", EndpointConfigName="larger")


def test_a_deleted_endpoint_loses_its_targets(cloud: Cloud, registered: Any) -> None:
    cloud.endpoint("other", "second")
    other = REGISTER | {"ResourceId": "endpoint/other/variant/AllTraffic"}
    registered.register_scalable_target(**other)
    cloud.sagemaker.delete_endpoint(EndpointName="Lexline")
    assert [target["ResourceId"] for target in targets(registered)] == [other["ResourceId"]]
    assert "No endpoint lexline" in refusal(registered.register_scalable_target, **REGISTER)
    eventually(lambda: len(cloud.sagemaker.list_endpoints()["Endpoints"]) == 1)


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
    message = refusal(getattr(cloud.caller_scaling, call), "AccessDeniedException", **parameters)
    assert f"application-autoscaling:{action} on resource: " in message
    resource = "*" if action.startswith("Describe") else SCALABLE
    cloud.host.policies[CALLER] = [(f"application-autoscaling:{action}", resource)]
    getattr(cloud.caller_scaling, call)(**parameters)


def test_registering_needs_the_permissions_of_scaling(cloud: Cloud, scaling: Any) -> None:
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
    refusal(register, "AccessDeniedException", **REGISTER)
    for missing in needs:
        cloud.host.policies[CALLER] = [own, *(need for need in needs if need != missing)]
        assert f"{missing[0]} on resource: {missing[1]}" in refusal(register, **REGISTER)
    assert targets(scaling) == []
    cloud.host.policies[CALLER] = [own, *needs]
    register(**REGISTER)


def test_deleting_a_scaled_endpoint_needs_to_deregister(cloud: Cloud, registered: Any) -> None:
    delete = ("sagemaker:DeleteEndpoint", f"{ARN}:endpoint/lexline")
    cloud.host.policies[CALLER] = [delete]
    message = refusal(cloud.caller.delete_endpoint, EndpointName="lexline")
    assert "does not have application-autoscaling:DeregisterScalableTarget permission" in message
    assert len(targets(registered)) == 1
    cloud.host.policies[CALLER] = [delete, ("application-autoscaling:DeregisterScalableTarget", SCALABLE)]
    cloud.caller.delete_endpoint(EndpointName="lexline")
    assert targets(registered) == []


def test_unknown_operations_and_invalid_requests_are_refused(cloud: Cloud) -> None:
    activities = cloud.scaling.describe_scaling_activities
    message = refusal(activities, "UnknownOperationException", ServiceNamespace="sagemaker")
    assert "The local Application Auto Scaling does not have DescribeScalingActivities" in message
    assert "RegisterScalableTarget" in message
    message = refusal(cloud.scaling.describe_scalable_targets, ServiceNamespace="sage")
    assert message.startswith("1 validation error detected: Value 'sage' at 'serviceNamespace' failed to")
