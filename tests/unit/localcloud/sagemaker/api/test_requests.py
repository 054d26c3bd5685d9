"""What a request must be like, and the words it is refused with."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.sagemaker.api import shapes


def refusal(call: Any, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error: dict[str, Any] = caught.value.response["Error"]
    return error


def test_an_operation_sagemaker_lacks_is_unknown(cloud: Any) -> None:
    status, headers, body = cloud.raw("SageMaker.TrainFaster", b"{}")
    assert status == 400
    assert json.loads(body)["__type"] == "UnknownOperationException"
    assert headers["x-amzn-ErrorType"] == "UnknownOperationException"


def test_an_operation_only_aws_has_is_refused_with_a_list_of_what_there_is(cloud: Any) -> None:
    error = refusal(cloud.sagemaker.list_notebook_instances)
    assert error["Code"] == "UnknownOperationException"
    assert "does not have ListNotebookInstances" in error["Message"]
    assert "CreateTrainingJob" in error["Message"]


def test_a_request_without_a_target_is_unknown(cloud: Any) -> None:
    assert json.loads(cloud.raw("", b"{}")[2])["__type"] == "UnknownOperationException"


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
def test_a_value_of_the_wrong_json_type_does_not_deserialize(cloud: Any, body: bytes, message: str) -> None:
    status, _, answer = cloud.raw("SageMaker.CreateTrainingJob", body)
    document = json.loads(answer)
    assert (status, document["__type"]) == (400, "SerializationException")
    assert message in document["message"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"TrainingJobName": "under_score"},
            "1 validation error detected: Value 'under_score' at 'trainingJobName' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            {"TrainingJobName": "-ends-badly-"},
            "1 validation error detected: Value '-ends-badly-' at 'trainingJobName' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            {"RoleArn": "execution"},
            "Value 'execution' at 'roleArn' failed to satisfy constraint: Member must have length greater "
            "than or equal to 20",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "1 validation error detected: Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to "
            "satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            {"OutputDataConfig": {}},
            "1 validation error detected: Value null at 'outputDataConfig.s3OutputPath' failed to satisfy "
            "constraint: Member must not be null",
        ),
        (
            {"Tags": [{"Key": "fine", "Value": "x"}, {"Key": "", "Value": "y"}]},
            "1 validation error detected: Value '' at 'tags.2.member.key' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1",
        ),
        (
            {"HyperParameters": {"epochs": "9" * 2501}},
            "Map value must satisfy constraint: [Member must have length less than or equal to 2500",
        ),
        (
            {"HyperParameters": {"e" * 257: "1"}},
            "Map keys must satisfy constraint: [Member must have length less than or equal to 256",
        ),
    ],
)
def test_a_broken_constraint_is_named_as_aws_names_it(
    cloud: Any, requests: Any, change: dict[str, Any], message: str
) -> None:
    error = refusal(cloud.unchecked.create_training_job, **requests.training("job", **change))
    assert error["Code"] == "ValidationException"
    assert message in error["Message"]
    assert not cloud.runs


def test_every_broken_constraint_is_listed(cloud: Any) -> None:
    error = refusal(cloud.unchecked.create_endpoint, EndpointName="a" * 64)
    assert error["Message"].startswith("3 validation errors detected: ")
    assert "Member must have length less than or equal to 63; " in error["Message"]
    assert "Value null at 'endpointConfigName' failed to satisfy constraint" in error["Message"]


def test_an_instance_type_that_does_not_exist_is_refused_with_those_that_do(
    cloud: Any, requests: Any
) -> None:
    resources = {"InstanceType": "ml.tiny", "InstanceCount": 1, "VolumeSizeInGB": 1}
    error = refusal(cloud.sagemaker.create_training_job, **requests.training("job", ResourceConfig=resources))
    assert error["Code"] == "ValidationException"
    assert "Value 'ml.tiny' at 'resourceConfig.instanceType'" in error["Message"]
    assert "Member must satisfy enum value set: [" in error["Message"]
    assert "ml.m5.xlarge" in error["Message"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"TrainingJobNames": "x"}', 'Unknown parameter in input: "TrainingJobNames"'),
        (b'{"ResourceConfig": {"Cores": 2}}', 'Unknown parameter in ResourceConfig: "Cores"'),
    ],
)
def test_members_the_model_does_not_know_are_refused(cloud: Any, body: bytes, where: str) -> None:
    document = json.loads(cloud.raw("SageMaker.CreateTrainingJob", body)[2])
    assert document["__type"] == "ValidationException"
    assert where in document["message"]


def test_null_is_the_same_as_absent(cloud: Any) -> None:
    status, _, body = cloud.raw("SageMaker.ListModels", b'{"NameContains": null}')
    assert (status, json.loads(body)) == (200, {"Models": []})


def test_a_key_with_letters_of_any_script_is_a_tag_key(cloud: Any, requests: Any) -> None:
    tags = [{"Key": "ключ 鍵-_.:/=+@", "Value": "ä"}]
    cloud.sagemaker.create_model(**requests.model("m", Tags=tags))
    arn = cloud.sagemaker.describe_model(ModelName="m")["ModelArn"]
    assert cloud.sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags


def test_a_key_with_a_bracket_is_not(cloud: Any, requests: Any) -> None:
    error = refusal(cloud.sagemaker.create_model, **requests.model("m", Tags=[{"Key": "a[b", "Value": ""}]))
    assert "'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular" in error["Message"]


@pytest.mark.parametrize("service", ["sagemaker", "application-autoscaling"])
def test_every_pattern_of_the_model_can_be_read(service: str) -> None:
    model = shapes.service_model(service)
    traits = [model.shape_for(name).metadata for name in model.shape_names]
    patterns = {trait["pattern"] for trait in traits if "pattern" in trait}
    assert patterns
    for pattern in patterns:
        shapes.compiled(pattern)


@pytest.mark.parametrize(
    ("text", "fits"),
    [("Präsident Ōkubo's speeches: 1790-2006 (№ 1 + 2) ☃ 鍵", True), ("a tab\tis a control", False)],
)
def test_a_description_may_have_what_can_be_seen(cloud: Any, text: str, fits: bool) -> None:
    create = cloud.sagemaker.create_model_package_group
    request = {"ModelPackageGroupName": "sotu", "ModelPackageGroupDescription": text}
    if fits:
        create(**request)
    else:
        assert "'modelPackageGroupDescription' failed" in refusal(create, **request)["Message"]


def test_a_fault_inside_is_an_internal_failure_and_not_a_broken_connection(
    cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.host, "authorize", lambda *_: 1 / 0)
    status, _, body = cloud.raw("SageMaker.ListModels", b"{}")
    assert (status, json.loads(body)["__type"]) == (500, "InternalFailure")


def test_runtime_operations_that_are_not_here_are_unknown_by_their_path(cloud: Any) -> None:
    _, _, body = cloud.raw("", b"", path="/endpoints/lexline/async-invocations")
    assert json.loads(body)["message"].endswith("nothing at POST /endpoints/lexline/async-invocations.")
