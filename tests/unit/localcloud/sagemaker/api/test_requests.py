"""Which requests are valid, and the messages that refuse the others."""

import json
from typing import Any

import pytest

from localcloud.sagemaker.api import shapes
from tests.unit.localcloud.conftest import Cloud, model_request, refusal, training_request

VALIDATION, UNKNOWN = "ValidationException", "UnknownOperationException"


def test_an_operation_sagemaker_lacks_is_unknown(cloud: Cloud) -> None:
    status, headers, body = cloud.raw("SageMaker.TrainFaster", b"{}")
    assert (status, json.loads(body)["__type"]) == (400, UNKNOWN)
    assert headers["x-amzn-ErrorType"] == UNKNOWN


def test_an_operation_only_aws_has_is_refused_with_a_list_of_those_that_exist(cloud: Cloud) -> None:
    message = refusal(cloud.sagemaker.list_notebook_instances, UNKNOWN)
    assert "does not have ListNotebookInstances" in message
    assert "CreateTrainingJob" in message


def test_a_request_without_a_target_is_unknown_by_its_path(cloud: Cloud) -> None:
    document = json.loads(cloud.raw("", b"", path="/endpoints/lexline/async-invocations")[2])
    assert document["__type"] == UNKNOWN
    assert document["message"].endswith("nothing at POST /endpoints/lexline/async-invocations.")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "Expected map or null"),
        (b'{"TrainingJobName": 7}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"TrainingJobName": true}', "TRUE_VALUE can not be converted to a String"),
        (b'{"TrainingJobName": ["a"]}', "Start of list found where not expected"),
        (b'{"TrainingJobName": {}}', "Start of structure or map found where not expected."),
        (b'{"Tags": {}}', "Expected list or null"),
        (b'{"HyperParameters": {"epochs": 6}}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"HyperParameters": []}', "Expected map or null"),
        (b'{"EnableNetworkIsolation": "yes"}', "STRING_VALUE can not be converted to a Boolean"),
        (b'{"ResourceConfig": {"InstanceCount": "1"}}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"ResourceConfig": {"InstanceCount": 1.5}}', "NUMBER_VALUE can not be converted to an Integer"),
    ],
)
def test_a_value_of_the_wrong_json_type_does_not_deserialize(cloud: Cloud, body: bytes, message: str) -> None:
    status, _, response = cloud.raw("SageMaker.CreateTrainingJob", body)
    document = json.loads(response)
    assert (status, document["__type"]) == (400, "SerializationException")
    assert message in document["message"]


NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
INSTANCE = {"InstanceType": "ml.tiny", "InstanceCount": 1, "VolumeSizeInGB": 1}
TAGS = [{"Key": "fine", "Value": "x"}, {"Key": "", "Value": "y"}]


@pytest.mark.parametrize(
    ("change", "place", "constraint"),
    [
        ({"TrainingJobName": "under_score"}, "'under_score' at 'trainingJobName'", f"pattern: {NAME}"),
        (
            {"TrainingJobName": "-ends-"},
            "'-ends-' at 'trainingJobName'",
            f"pattern: {NAME}",
        ),
        ({"RoleArn": "role"}, "'role' at 'roleArn'", "Member must have length greater than or equal to 20"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "'0' at 'stoppingCondition.maxRuntimeInSeconds'",
            "Member must have value greater than or equal to 1",
        ),
        ({"OutputDataConfig": {}}, "null at 'outputDataConfig.s3OutputPath'", "Member must not be null"),
        ({"Tags": TAGS}, "'' at 'tags.2.member.key'", "Member must have length greater than or equal to 1"),
        (
            {"HyperParameters": {"epochs": "9" * 2501}},
            "at 'hyperParameters'",
            "Map value must satisfy constraint: [Member must have length less than or equal to 2500",
        ),
        (
            {"HyperParameters": {"e" * 257: "1"}},
            "at 'hyperParameters'",
            "Map keys must satisfy constraint: [Member must have length less than or equal to 256",
        ),
        ({"ResourceConfig": INSTANCE}, "'ml.tiny' at 'resourceConfig.instanceType'", "ml.m5.xlarge"),
        ({"ResourceConfig": INSTANCE}, "instanceType'", "Member must satisfy enum value set: ["),
        ({"Tags": [{"Key": "a[b", "Value": ""}]}, "'a[b' at 'tags.1.member.key'", "regular expression"),
    ],
)
def test_a_broken_constraint_is_named_as_aws_names_it(
    cloud: Cloud, change: dict[str, Any], place: str, constraint: str
) -> None:
    message = refusal(cloud.unchecked.create_training_job, **training_request(**change))
    assert " validation error" in message
    assert f"{place} failed to satisfy constraint: " in message
    assert constraint in message
    assert not cloud.runs


def test_every_broken_constraint_is_listed(cloud: Cloud) -> None:
    message = refusal(cloud.unchecked.create_endpoint, EndpointName="a" * 64)
    assert message.startswith("3 validation errors detected: ")
    assert "Member must have length less than or equal to 63; " in message
    assert "Value null at 'endpointConfigName' failed to satisfy constraint" in message


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"TrainingJobNames": "x"}', 'Unknown parameter in input: "TrainingJobNames"'),
        (b'{"ResourceConfig": {"Cores": 2}}', 'Unknown parameter in ResourceConfig: "Cores"'),
    ],
)
def test_members_the_model_does_not_know_are_refused(cloud: Cloud, body: bytes, where: str) -> None:
    document = json.loads(cloud.raw("SageMaker.CreateTrainingJob", body)[2])
    assert document["__type"] == VALIDATION
    assert where in document["message"]


def test_null_is_the_same_as_absent(cloud: Cloud) -> None:
    status, _, body = cloud.raw("SageMaker.ListModels", b'{"NameContains": null}')
    assert (status, json.loads(body)) == (200, {"Models": []})


def test_a_key_with_letters_of_any_script_is_a_tag_key(cloud: Cloud) -> None:
    tags = [{"Key": "ключ 鍵-_.:/=+@", "Value": "ä"}]
    arn = cloud.sagemaker.create_model(**model_request("m", Tags=tags))["ModelArn"]
    assert cloud.sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags


@pytest.mark.parametrize("service", ["sagemaker", "application-autoscaling"])
def test_every_pattern_of_the_model_can_be_read(service: str) -> None:
    model = shapes.service_model(service)
    traits = [model.shape_for(name).metadata for name in model.shape_names]
    patterns = {trait["pattern"] for trait in traits if "pattern" in trait}
    assert patterns
    for pattern in patterns:
        shapes.compiled(pattern)


def test_a_description_may_have_every_visible_character(cloud: Cloud) -> None:
    create, text = cloud.sagemaker.create_model_package_group, "Ōkubo's speeches: 1790-2006 (№ 1 + 2) ☃ 鍵"
    create(ModelPackageGroupName="sotu", ModelPackageGroupDescription=text)
    invisible = {"ModelPackageGroupName": "other", "ModelPackageGroupDescription": "a tab\tis a control"}
    assert "'modelPackageGroupDescription' failed" in refusal(create, **invisible)


def test_a_fault_inside_is_an_internal_failure_and_not_a_broken_connection(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.host, "authorize", lambda *_: 1 / 0)
    status, _, body = cloud.raw("SageMaker.ListModels", b"{}")
    assert (status, json.loads(body)["__type"]) == (500, "InternalFailure")
