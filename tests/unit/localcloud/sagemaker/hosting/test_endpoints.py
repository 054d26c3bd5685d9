"""Endpoints as DescribeEndpoint and EventBridge show them, and which fleet serves while they change."""

import threading
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from tests.unit.localcloud.conftest import (
    ARN,
    HOSTING_IMAGE,
    ROLE,
    Cloud,
    eventually,
    model_request,
    refusal,
    variant_request,
)

EVENT = "SageMaker Endpoint State Change"
NAMES = {"EndpointName": "lexline", "EndpointConfigName": "first"}
SECOND = NAMES | {"EndpointConfigName": "second"}


def invoke(cloud: Cloud) -> str:
    response = cloud.runtime.invoke_endpoint(EndpointName="lexline", Body=b"hi")
    return str(response["Body"].read().decode())


def exists(cloud: Cloud) -> bool:
    return "lexline" in [item["EndpointName"] for item in cloud.sagemaker.list_endpoints()["Endpoints"]]


def create(cloud: Cloud, **script: Any) -> None:
    """Create an endpoint whose fleet fares as the script says."""
    vars(cloud.fleets.script).update(script)
    cloud.config("first")
    cloud.sagemaker.create_endpoint(**NAMES)


def update(cloud: Cloud, **script: Any) -> None:
    """Update the endpoint to a new config whose fleet fares as the script says."""
    cloud.config("second")
    cloud.fleets.reset()
    vars(cloud.fleets.script).update(script)
    cloud.sagemaker.update_endpoint(**SECOND)


class Request:
    """An invocation that the first fleet does not answer before `finish`."""

    def __init__(self, cloud: Cloud) -> None:
        self.responses: list[str] = []
        self._fleet = cloud.fleets.made[0]
        self._fleet.script.respond.clear()
        self._thread = threading.Thread(target=lambda: self.responses.append(invoke(cloud)))
        self._thread.start()
        eventually(lambda: self._fleet.busy == 1)

    def finish(self) -> None:
        self._fleet.script.respond.set()
        self._thread.join()


def test_a_new_endpoint_is_creating_until_its_fleet_is_ready(cloud: Cloud) -> None:
    cloud.fleets.script.ready.clear()
    cloud.config("first")
    created = cloud.sagemaker.create_endpoint(EndpointName="Lexline", EndpointConfigName="First")
    assert created["EndpointArn"] == f"{ARN}:endpoint/lexline"
    described = cloud.sagemaker.describe_endpoint(EndpointName="Lexline")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Creating", "first")
    assert "ProductionVariants" not in described
    cloud.fleets.script.ready.set()
    waiter = cloud.sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName="Lexline", WaiterConfig={"Delay": 1, "MaxAttempts": 240})
    (variant,) = cloud.sagemaker.describe_endpoint(EndpointName="Lexline")["ProductionVariants"]
    assert variant["VariantName"] == "AllTraffic"
    assert (variant["CurrentWeight"], variant["CurrentInstanceCount"]) == (1.0, 1)
    assert variant["DeployedImages"][0]["SpecifiedImage"].endswith("pytorch-inference:2.6-cpu-py312")


def test_the_fleet_gets_the_model_its_role_and_a_log(cloud: Cloud) -> None:
    cloud.endpoint("Lexline", "first")
    launch = cloud.fleets.made[0].launch
    names = (launch.endpoint_name, launch.variant_name, launch.model_name)
    assert names == ("Lexline", "AllTraffic", "first")
    assert launch.container["ModelDataUrl"] == "s3://bucket/runs/first/output/model.tar.gz"
    assert launch.environment["AWS_ACCESS_KEY_ID"].endswith("role/execution")
    assert launch.directory.is_relative_to(cloud.directory)
    line = ("AllTraffic/i-1", 1_700_000_000_000, "ready")
    launch.log(*line)
    assert cloud.host.logs == [("/aws/sagemaker/Endpoints/Lexline", *line)]


def test_a_first_fleet_that_does_not_become_ready_fails_the_endpoint(cloud: Cloud) -> None:
    create(cloud, failure="The primary container did not pass the ping health check.")
    described = cloud.await_endpoint("Failed")
    assert described["FailureReason"] == "The primary container did not pass the ping health check."
    assert cloud.fleets.made[0].stopped
    assert list((cloud.directory / "endpoints").iterdir()) == []
    with pytest.raises(WaiterError):
        cloud.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="lexline")
    eventually(lambda: cloud.events(EVENT, "EndpointStatus") == ["CREATING", "FAILED"])
    assert cloud.events(EVENT, "FailureReason") == [None, described["FailureReason"]]
    assert "DeleteEndpoint is the only operation" in refusal(cloud.sagemaker.update_endpoint, **NAMES)
    cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    eventually(lambda: not exists(cloud))


def test_an_internal_error_fails_the_endpoint_too(cloud: Cloud) -> None:
    create(cloud, crash="out of ports")
    assert "out of ports" in cloud.await_endpoint("Failed")["FailureReason"]


def test_a_role_that_was_deleted_fails_the_endpoint(cloud: Cloud) -> None:
    cloud.config("first")
    cloud.host.roles.clear()
    cloud.sagemaker.create_endpoint(**NAMES)
    reason = cloud.await_endpoint("Failed")["FailureReason"]
    assert reason.startswith(f'The execution role ARN "{ROLE}" is invalid.')


@pytest.mark.parametrize("action", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"])
def test_an_image_that_the_role_may_not_pull_fails_the_endpoint(cloud: Cloud, action: str) -> None:
    repository = "arn:aws:ecr:us-east-1:763104351884:repository/pytorch-inference"
    cloud.host.forbidden.add((action, repository))
    create(cloud)
    reason = cloud.await_endpoint("Failed")["FailureReason"]
    assert "the execution role used to create the model has permissions to access them" in reason


def test_an_endpoint_needs_a_config_and_models_that_exist(cloud: Cloud) -> None:
    message = refusal(cloud.sagemaker.create_endpoint, **NAMES)
    assert message == f'Could not find endpoint configuration "{ARN}:endpoint-config/first".'
    cloud.config("first")
    cloud.sagemaker.delete_model(ModelName="first")
    message = refusal(cloud.sagemaker.create_endpoint, **NAMES)
    assert message == f'Could not find model "{ARN}:model/first".'
    assert not exists(cloud)


def test_an_endpoints_name_is_taken_in_any_case(cloud: Cloud) -> None:
    cloud.endpoint()
    message = refusal(cloud.sagemaker.create_endpoint, **NAMES | {"EndpointName": "LEXLINE"})
    assert message == f'Cannot create already existing endpoint "{ARN}:endpoint/lexline".'


def test_an_update_starts_a_new_fleet_and_the_old_one_serves_until_it_is_ready(cloud: Cloud) -> None:
    cloud.endpoint()
    update(cloud, ready=threading.Event())
    described = cloud.sagemaker.describe_endpoint(EndpointName="lexline")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", "first")
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == "second"
    eventually(lambda: len(cloud.fleets.made) == 2 and cloud.fleets.made[1].started)
    assert invoke(cloud) == "first|hi"
    cloud.fleets.script.ready.set()
    described = cloud.await_endpoint("InService")
    assert described["EndpointConfigName"] == "second"
    assert "PendingDeploymentSummary" not in described
    assert invoke(cloud) == "second|hi"
    eventually(lambda: cloud.fleets.made[0].stopped)
    assert not cloud.fleets.made[1].stopped


def test_a_request_in_flight_is_answered_by_its_fleet(cloud: Cloud) -> None:
    cloud.endpoint()
    request = Request(cloud)
    update(cloud)
    assert cloud.await_endpoint("InService")["EndpointConfigName"] == "second"
    assert invoke(cloud) == "second|hi"
    assert not cloud.fleets.made[0].stopped
    request.finish()
    assert request.responses == ["first|hi"]
    eventually(lambda: cloud.fleets.made[0].stopped)


def test_a_failed_update_is_rolled_back_and_its_reason_stays_until_the_next_one(cloud: Cloud) -> None:
    cloud.endpoint()
    update(cloud, failure="Failed to download model data.")
    statuses = ["CREATING", "IN_SERVICE", "UPDATING", "ROLLING_BACK", "IN_SERVICE"]
    eventually(lambda: cloud.events(EVENT, "EndpointStatus") == statuses)
    described = cloud.await_endpoint("InService")
    assert described["EndpointConfigName"] == "first"
    assert described["FailureReason"] == "Failed to download model data."
    assert invoke(cloud) == "first|hi"
    eventually(lambda: cloud.fleets.made[1].stopped)
    assert not cloud.fleets.made[0].stopped
    cloud.fleets.reset()
    cloud.sagemaker.update_endpoint(**SECOND)
    described = cloud.await_endpoint("InService")
    assert described["EndpointConfigName"] == "second"
    assert "FailureReason" not in described


@pytest.mark.parametrize("status", ["Creating", "Updating", "Deleting"])
def test_an_endpoint_that_is_changing_can_be_neither_updated_nor_deleted(cloud: Cloud, status: str) -> None:
    request = None
    if status == "Creating":
        create(cloud, ready=threading.Event())
    else:
        cloud.endpoint()
    if status == "Updating":
        update(cloud, ready=threading.Event())
    if status == "Deleting":
        request = Request(cloud)
        cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    assert cloud.sagemaker.describe_endpoint(EndpointName="lexline")["EndpointStatus"] == status
    expected = f'Cannot update in-progress endpoint "{ARN}:endpoint/lexline".'
    assert refusal(cloud.sagemaker.update_endpoint, **NAMES) == expected
    assert refusal(cloud.sagemaker.delete_endpoint, EndpointName="lexline") == expected
    if request:
        request.finish()


def test_a_deleted_endpoint_leaves_its_config_and_model_and_its_name_is_free(cloud: Cloud) -> None:
    cloud.endpoint()
    cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    eventually(lambda: not exists(cloud))
    assert cloud.fleets.made[0].stopped
    assert cloud.sagemaker.describe_endpoint_config(EndpointConfigName="first")
    assert cloud.sagemaker.describe_model(ModelName="first")
    cloud.sagemaker.create_endpoint(**NAMES)


def test_an_endpoint_outlives_its_config_and_its_model(cloud: Cloud) -> None:
    cloud.endpoint()
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="first")
    cloud.sagemaker.delete_model(ModelName="first")
    assert invoke(cloud) == "first|hi"
    assert cloud.sagemaker.describe_endpoint(EndpointName="lexline")["EndpointConfigName"] == "first"


def test_events_have_the_members_that_aws_gives_them(cloud: Cloud) -> None:
    cloud.config("first")
    tags = [{"Key": "lexline:run", "Value": "1"}]
    cloud.sagemaker.create_endpoint(EndpointName="Lexline", EndpointConfigName="first", Tags=tags)
    cloud.await_endpoint("InService", "Lexline")
    cloud.sagemaker.delete_endpoint(EndpointName="Lexline")
    eventually(lambda: len(cloud.host.events) == 3)
    assert cloud.events(EVENT, "EndpointStatus") == ["CREATING", "IN_SERVICE", "DELETING"]
    _, detail, resources = cloud.host.events[1]
    arn = f"{ARN}:endpoint/lexline"
    assert (resources, detail["EndpointArn"], detail["EndpointName"]) == ([arn], arn, "Lexline")
    assert detail["EndpointConfigName"] == "first"
    assert detail["ProductionVariants"][0]["VariantName"] == "AllTraffic"
    assert detail["Tags"] == {"lexline:run": "1"}
    assert isinstance(detail["LastModifiedTime"], int)


def test_counts_and_weights_are_those_of_the_new_config_unless_they_are_retained(cloud: Cloud) -> None:
    cloud.config("first", InitialInstanceCount=3, InitialVariantWeight=0.5)
    cloud.config("second", InitialInstanceCount=1)
    cloud.sagemaker.create_endpoint(**NAMES)
    cloud.await_endpoint("InService")

    def update(**parameters: Any) -> tuple[int, float]:
        cloud.sagemaker.update_endpoint(**SECOND, **parameters)
        (variant,) = cloud.await_endpoint("InService")["ProductionVariants"]
        assert cloud.fleets.made[-1].launch.instance_count == variant["DesiredInstanceCount"]
        return variant["DesiredInstanceCount"], variant["DesiredWeight"]

    assert update(RetainAllVariantProperties=True) == (3, 0.5)
    excluded = [{"VariantPropertyType": "DesiredInstanceCount"}]
    assert update(RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded) == (1, 0.5)
    assert update() == (1, 1.0)


def test_closing_ends_every_fleet(cloud: Cloud) -> None:
    cloud.endpoint("one", "other")
    create(cloud, ready=threading.Event())
    eventually(lambda: len(cloud.fleets.made) == 2 and cloud.fleets.made[1].started)
    cloud.service.close()
    assert [fleet.stopped for fleet in cloud.fleets.made] == [True, True]


def test_a_gpu_image_fails_on_a_host_with_older_drivers(cloud: Cloud) -> None:
    image = HOSTING_IMAGE.rpartition("/")[0] + "/ray:serve-ml-sagemaker-cuda-v1"
    container = {"Image": image, "ModelDataUrl": "s3://bucket/model.tar.gz"}
    cloud.sagemaker.create_model(**model_request("gpu", PrimaryContainer=container))
    variant = variant_request("gpu", InstanceType="ml.g5.xlarge")
    cloud.sagemaker.create_endpoint_config(EndpointConfigName="gpu", ProductionVariants=[variant])
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="gpu")
    assert "InferenceAmiVersion" in cloud.await_endpoint("Failed")["FailureReason"]


def test_an_update_needs_a_quota_for_old_and_new_instances(cloud: Cloud) -> None:
    cloud.service._context.quotas.limits["ml.m5.large for endpoint usage"] = 3
    cloud.config("first", InitialInstanceCount=2)
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    cloud.await_endpoint("InService")
    cloud.config("second", InitialInstanceCount=2)
    cloud.config("third", InitialInstanceCount=1)
    update = cloud.sagemaker.update_endpoint
    message = refusal(update, "ResourceLimitExceeded", EndpointName="lexline", EndpointConfigName="second")
    assert message.startswith(
        "The account-level service limit 'ml.m5.large for endpoint usage' is 3 Instances, with current "
        "utilization of 2 Instances and a request delta of 2 Instances."
    )
    assert cloud.await_endpoint("InService")["EndpointConfigName"] == "first"
    for config in ("third", "second"):
        update(EndpointName="lexline", EndpointConfigName=config)
        cloud.await_endpoint("InService")
    another = {"EndpointName": "another", "EndpointConfigName": "second"}
    assert "utilization of 2" in refusal(cloud.sagemaker.create_endpoint, "ResourceLimitExceeded", **another)
