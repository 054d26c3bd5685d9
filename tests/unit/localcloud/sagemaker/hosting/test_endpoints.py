"""Endpoints as DescribeEndpoint and EventBridge tell of them, and who answers while they change."""

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
EVENT = "SageMaker Endpoint State Change"


def refusal(call: Any, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error: dict[str, Any] = caught.value.response["Error"]
    return error


def ask(cloud: Any, **parameters: Any) -> str:
    answer = cloud.runtime.invoke_endpoint(EndpointName="lexline", Body=b"hi", **parameters)
    return str(answer["Body"].read().decode())


def test_a_new_endpoint_is_creating_until_its_fleet_is_ready(cloud: Any) -> None:
    cloud.fleets.script.ready.clear()
    cloud.config("first")
    made = cloud.sagemaker.create_endpoint(EndpointName="Lexline", EndpointConfigName="First")
    assert made["EndpointArn"] == f"{ARN}:endpoint/lexline"
    described = cloud.sagemaker.describe_endpoint(EndpointName="Lexline")
    assert described["EndpointStatus"] == "Creating"
    assert described["EndpointConfigName"] == "first"
    assert "ProductionVariants" not in described
    cloud.fleets.script.ready.set()
    cloud.sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName="Lexline", WaiterConfig={"Delay": 1, "MaxAttempts": 240}
    )
    (variant,) = cloud.sagemaker.describe_endpoint(EndpointName="Lexline")["ProductionVariants"]
    assert variant["VariantName"] == "AllTraffic"
    assert (variant["CurrentWeight"], variant["CurrentInstanceCount"]) == (1.0, 1)
    assert variant["DeployedImages"][0]["SpecifiedImage"].endswith("pytorch-inference:2.6-cpu-py312")


def test_the_fleet_gets_the_model_its_role_and_a_log(cloud: Any) -> None:
    cloud.endpoint("Lexline", "first")
    launch = cloud.fleets.made[0].launch
    assert (launch.endpoint_name, launch.variant_name, launch.model_name) == (
        "Lexline",
        "AllTraffic",
        "first",
    )
    assert launch.container["ModelDataUrl"] == "s3://bucket/runs/first/output/model.tar.gz"
    assert launch.environment["AWS_ACCESS_KEY_ID"].endswith("role/execution")
    assert launch.directory.is_relative_to(cloud.directory)
    launch.log("AllTraffic/i-1", 1_700_000_000_000, "ready")
    assert cloud.host.logs == [
        ("/aws/sagemaker/Endpoints/Lexline", "AllTraffic/i-1", 1_700_000_000_000, "ready")
    ]


def test_a_first_fleet_that_does_not_come_up_fails_the_endpoint(cloud: Any) -> None:
    cloud.fleets.script.failure = (
        "The primary container for production variant AllTraffic did not pass the ping."
    )
    cloud.config("first")
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    described = cloud.await_endpoint("Failed")
    assert described["FailureReason"] == cloud.fleets.script.failure
    assert cloud.fleets.made[0].stopped
    assert list((cloud.directory / "endpoints").iterdir()) == []
    with pytest.raises(WaiterError):
        cloud.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="lexline")


def test_a_fault_of_our_own_fails_the_endpoint_too(cloud: Any) -> None:
    cloud.fleets.script.crash = "out of ports"
    cloud.config("first")
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    assert "out of ports" in cloud.await_endpoint("Failed")["FailureReason"]


def test_a_role_that_has_gone_fails_the_endpoint(cloud: Any) -> None:
    cloud.config("first")
    cloud.host.roles.clear()
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    reason = cloud.await_endpoint("Failed")["FailureReason"]
    assert reason.startswith('The execution role ARN "arn:aws:iam::000000000000:role/execution" is invalid.')


def test_a_failed_endpoint_can_only_be_deleted(cloud: Any, wait: Any) -> None:
    cloud.fleets.script.failure = "no"
    cloud.config("first")
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    cloud.await_endpoint("Failed")
    update = refusal(cloud.sagemaker.update_endpoint, EndpointName="lexline", EndpointConfigName="first")
    assert update["Code"] == "ValidationException"
    assert "DeleteEndpoint is the only operation" in update["Message"]
    cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    wait(lambda: gone(cloud))


def gone(cloud: Any, name: str = "lexline") -> bool:
    return name not in [item["EndpointName"] for item in cloud.sagemaker.list_endpoints()["Endpoints"]]


def test_an_endpoint_needs_a_configuration_and_models_that_are_there(cloud: Any) -> None:
    create = cloud.sagemaker.create_endpoint
    error = refusal(create, EndpointName="lexline", EndpointConfigName="nobody")
    assert error["Message"] == f'Could not find endpoint configuration "{ARN}:endpoint-config/nobody".'
    cloud.config("first")
    cloud.sagemaker.delete_model(ModelName="first")
    error = refusal(create, EndpointName="lexline", EndpointConfigName="first")
    assert error["Message"] == f'Could not find model "{ARN}:model/first".'
    assert gone(cloud)


def test_an_endpoints_name_is_taken_in_any_case(cloud: Any) -> None:
    cloud.endpoint()
    error = refusal(cloud.sagemaker.create_endpoint, EndpointName="LEXLINE", EndpointConfigName="first")
    assert error["Message"] == f'Cannot create already existing endpoint "{ARN}:endpoint/lexline".'


def test_an_update_starts_a_new_fleet_and_the_old_one_serves_until_it_is_ready(cloud: Any, wait: Any) -> None:
    cloud.endpoint("lexline", "first")
    cloud.config("second")
    cloud.fleets.reset()
    cloud.fleets.script.ready.clear()
    cloud.sagemaker.update_endpoint(EndpointName="lexline", EndpointConfigName="second")
    described = cloud.sagemaker.describe_endpoint(EndpointName="lexline")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", "first")
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == "second"
    wait(lambda: len(cloud.fleets.made) == 2 and cloud.fleets.made[1].started)
    assert ask(cloud) == "first|hi"
    cloud.fleets.script.ready.set()
    described = cloud.await_endpoint("InService")
    assert described["EndpointConfigName"] == "second"
    assert "PendingDeploymentSummary" not in described
    assert ask(cloud) == "second|hi"
    wait(lambda: cloud.fleets.made[0].stopped)
    assert not cloud.fleets.made[1].stopped


def test_a_request_under_way_is_answered_by_the_fleet_it_went_to(cloud: Any, wait: Any) -> None:
    cloud.endpoint("lexline", "first")
    old = cloud.fleets.made[0]
    old.script.answer.clear()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(ask(cloud)))
    asking.start()
    wait(lambda: old.answering == 1)
    cloud.config("second")
    cloud.fleets.reset()
    cloud.sagemaker.update_endpoint(EndpointName="lexline", EndpointConfigName="second")
    assert cloud.await_endpoint("InService")["EndpointConfigName"] == "second"
    assert ask(cloud) == "second|hi"
    assert not old.stopped
    old.script.answer.set()
    asking.join()
    assert answers == ["first|hi"]
    wait(lambda: old.stopped)


def test_an_update_whose_fleet_fails_goes_back_to_what_served(cloud: Any, wait: Any) -> None:
    cloud.endpoint("lexline", "first")
    cloud.config("second")
    cloud.fleets.reset()
    cloud.fleets.script.failure = "Failed to download model data."
    cloud.sagemaker.update_endpoint(EndpointName="lexline", EndpointConfigName="second")
    wait(lambda: len(cloud.events(EVENT, "EndpointStatus")) == 5)
    assert cloud.events(EVENT, "EndpointStatus") == [
        "CREATING",
        "IN_SERVICE",
        "UPDATING",
        "ROLLING_BACK",
        "IN_SERVICE",
    ]
    described = cloud.await_endpoint("InService")
    assert described["EndpointConfigName"] == "first"
    assert described["FailureReason"] == "Failed to download model data."
    assert ask(cloud) == "first|hi"
    wait(lambda: cloud.fleets.made[1].stopped)
    assert not cloud.fleets.made[0].stopped


def test_the_reason_of_a_failed_update_stays_until_the_next_update(cloud: Any) -> None:
    cloud.endpoint("lexline", "first")
    cloud.config("second")
    cloud.fleets.reset()
    cloud.fleets.script.failure = "no"
    cloud.sagemaker.update_endpoint(EndpointName="lexline", EndpointConfigName="second")
    assert cloud.await_endpoint("InService")["FailureReason"] == "no"
    cloud.fleets.reset()
    cloud.sagemaker.update_endpoint(EndpointName="lexline", EndpointConfigName="second")
    described = cloud.await_endpoint("InService")
    assert described["EndpointConfigName"] == "second"
    assert "FailureReason" not in described


@pytest.mark.parametrize("status", ["Creating", "Updating", "Deleting"])
def test_an_endpoint_that_is_changing_can_be_neither_updated_nor_deleted(
    cloud: Any, wait: Any, status: str
) -> None:
    if status == "Creating":
        cloud.config("first")
        cloud.fleets.script.ready.clear()
        cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    else:
        cloud.endpoint("lexline", "first")
    if status == "Updating":
        cloud.fleets.reset()
        cloud.fleets.script.ready.clear()
        cloud.sagemaker.update_endpoint(EndpointName="lexline", EndpointConfigName="first")
    asking = threading.Thread(target=lambda: ask(cloud))
    if status == "Deleting":
        fleet = cloud.fleets.made[0]
        fleet.script.answer.clear()
        asking.start()
        wait(lambda: fleet.answering == 1)
        cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    assert cloud.sagemaker.describe_endpoint(EndpointName="lexline")["EndpointStatus"] == status
    expected = f'Cannot update in-progress endpoint "{ARN}:endpoint/lexline".'
    update = refusal(cloud.sagemaker.update_endpoint, EndpointName="lexline", EndpointConfigName="first")
    assert (update["Code"], update["Message"]) == ("ValidationException", expected)
    delete = refusal(cloud.sagemaker.delete_endpoint, EndpointName="lexline")
    assert (delete["Code"], delete["Message"]) == ("ValidationException", expected)
    cloud.fleets.script.answer.set()
    if asking.ident:
        asking.join()


def test_a_deleted_endpoint_is_gone_with_its_fleet_and_its_name_is_free(cloud: Any, wait: Any) -> None:
    cloud.endpoint("lexline", "first")
    cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    wait(lambda: gone(cloud))
    assert cloud.fleets.made[0].stopped
    error = refusal(cloud.sagemaker.describe_endpoint, EndpointName="lexline")
    assert error["Message"] == f'Could not find endpoint "{ARN}:endpoint/lexline".'
    assert cloud.sagemaker.describe_endpoint_config(EndpointConfigName="first")
    assert cloud.sagemaker.describe_model(ModelName="first")
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")


def test_an_endpoint_outlives_its_configuration_and_its_model(cloud: Any) -> None:
    cloud.endpoint("lexline", "first")
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="first")
    cloud.sagemaker.delete_model(ModelName="first")
    assert ask(cloud) == "first|hi"
    assert cloud.sagemaker.describe_endpoint(EndpointName="lexline")["EndpointConfigName"] == "first"


def test_events_carry_what_aws_puts_in_them(cloud: Any, wait: Any) -> None:
    cloud.config("first")
    tags = [{"Key": "lexline:run", "Value": "1"}]
    cloud.sagemaker.create_endpoint(EndpointName="Lexline", EndpointConfigName="first", Tags=tags)
    cloud.await_endpoint("InService", "Lexline")
    cloud.sagemaker.delete_endpoint(EndpointName="Lexline")
    wait(lambda: len(cloud.host.events) == 3)
    assert cloud.events(EVENT, "EndpointStatus") == ["CREATING", "IN_SERVICE", "DELETING"]
    _, detail, resources = cloud.host.events[1]
    assert resources == [f"{ARN}:endpoint/lexline"]
    assert detail["EndpointName"] == "Lexline"
    assert detail["EndpointArn"] == f"{ARN}:endpoint/lexline"
    assert detail["EndpointConfigName"] == "first"
    assert detail["ProductionVariants"][0]["VariantName"] == "AllTraffic"
    assert detail["Tags"] == {"lexline:run": "1"}
    assert isinstance(detail["LastModifiedTime"], int)


def test_a_failure_is_an_event_with_its_reason(cloud: Any, wait: Any) -> None:
    cloud.fleets.script.failure = "no"
    cloud.config("first")
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    wait(lambda: cloud.events(EVENT, "EndpointStatus") == ["CREATING", "FAILED"])
    assert cloud.events(EVENT, "FailureReason") == [None, "no"]


def test_counts_and_weights_are_those_of_the_new_configuration_unless_they_are_retained(cloud: Any) -> None:
    cloud.config("first", InitialInstanceCount=3, InitialVariantWeight=0.5)
    cloud.config("second", InitialInstanceCount=1)
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    cloud.await_endpoint("InService")

    def update(**parameters: Any) -> tuple[int, float]:
        cloud.sagemaker.update_endpoint(EndpointName="lexline", EndpointConfigName="second", **parameters)
        (variant,) = cloud.await_endpoint("InService")["ProductionVariants"]
        assert cloud.fleets.made[-1].launch.instance_count == variant["DesiredInstanceCount"]
        return variant["DesiredInstanceCount"], variant["DesiredWeight"]

    assert update(RetainAllVariantProperties=True) == (3, 0.5)
    excluded = [{"VariantPropertyType": "DesiredInstanceCount"}]
    assert update(RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded) == (1, 0.5)
    assert update() == (1, 1.0)


def test_closing_ends_every_fleet(cloud: Any, wait: Any) -> None:
    cloud.endpoint("one", "first")
    cloud.fleets.reset()
    cloud.fleets.script.ready.clear()
    cloud.config("second")
    cloud.sagemaker.create_endpoint(EndpointName="two", EndpointConfigName="second")
    wait(lambda: len(cloud.fleets.made) == 2 and cloud.fleets.made[1].started)
    cloud.service.close()
    assert [fleet.stopped for fleet in cloud.fleets.made] == [True, True]
