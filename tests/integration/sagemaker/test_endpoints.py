"""Endpoints through boto3 against the running local cloud, in AWS's own inference handler."""

import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

RUN = uuid.uuid4().hex[:8]


@pytest.fixture(scope="module")
def endpoint(sagemaker: Any) -> Iterator[str]:
    """An endpoint in service that answers as model first-*; deleted with its processes at the end."""
    name = f"endpoint-{RUN}"
    config = sagemaker.config(f"first-{RUN}")
    tags = [{"Key": "lexline:run", "Value": RUN}]
    sagemaker.api.create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=tags)
    described = sagemaker.await_endpoint(name, "InService", "Failed")
    assert described["EndpointStatus"] == "InService", described.get("FailureReason")
    yield name
    sagemaker.api.delete_endpoint(EndpointName=name)
    sagemaker.await_gone(name)


def test_an_endpoint_answers(sagemaker: Any, endpoint: str) -> None:
    assert sagemaker.ask(endpoint, seed=3) == {"model": f"first-{RUN}", "seed": 3}
    answer = sagemaker.runtime.invoke_endpoint(
        EndpointName=endpoint, Body=b"{}", ContentType="application/json", TargetVariant="AllTraffic"
    )
    assert answer["InvokedProductionVariant"] == "AllTraffic"


def test_a_models_exception_is_a_model_error(sagemaker: Any, endpoint: str) -> None:
    with pytest.raises(ClientError) as caught:
        sagemaker.ask(endpoint, fail=True)
    response: dict[str, Any] = dict(caught.value.response)
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 500
    assert sagemaker.ask(endpoint)["model"] == f"first-{RUN}"


def test_an_endpoint_logs_under_its_name(sagemaker: Any, client: Any, endpoint: str, until: Any) -> None:
    sagemaker.ask(endpoint)
    logs, group = client("logs"), f"/aws/sagemaker/Endpoints/{endpoint}"
    streams = until(
        lambda: (
            logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
            and logs.describe_log_streams(logGroupName=group)["logStreams"]
        ),
        "the endpoint's log stream",
    )
    assert streams[0]["logStreamName"].startswith("AllTraffic/i-")


def test_an_update_loses_no_request(sagemaker: Any, endpoint: str, inbox: Any, until: Any) -> None:
    second = sagemaker.config(f"second-{RUN}")
    ended, served, failures = threading.Event(), [], []

    def ask() -> None:
        while not ended.is_set():
            try:
                served.append(sagemaker.ask(endpoint, seconds=0.05)["model"])
            except Exception as error:
                failures.append(error)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        sagemaker.api.update_endpoint(EndpointName=endpoint, EndpointConfigName=second)
        updating = sagemaker.api.describe_endpoint(EndpointName=endpoint)
        assert (updating["EndpointStatus"], updating["EndpointConfigName"]) == ("Updating", f"first-{RUN}")
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            sagemaker.api.delete_endpoint(EndpointName=endpoint)
        assert sagemaker.await_endpoint(endpoint, "InService")["EndpointConfigName"] == second
        until(lambda: second in served[-3:], "the new model to answer")
    finally:
        ended.set()
        for thread in asking:
            thread.join()
    assert failures == []
    assert {f"first-{RUN}", second} == set(served)
    assert sagemaker.ask(endpoint)["model"] == second


@pytest.mark.parametrize("why", ["artifact", "code"])
def test_an_update_that_fails_leaves_what_served(
    sagemaker: Any, endpoint: str, inbox: Any, until: Any, why: str
) -> None:
    before = sagemaker.api.describe_endpoint(EndpointName=endpoint)
    if why == "artifact":
        bad = sagemaker.config(f"absent-{RUN}", artifact=False)
    else:
        bad = sagemaker.config(f"broken-{RUN}")
    told = len(states(inbox, before["EndpointArn"]))
    sagemaker.api.update_endpoint(EndpointName=endpoint, EndpointConfigName=bad)
    after = sagemaker.await_endpoint(endpoint, "InService")
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    if why == "artifact":
        assert "Failed to download model data" in after["FailureReason"]
        assert f"s3://{sagemaker.bucket}/models/{bad}/model.tar.gz" in after["FailureReason"]
    else:
        assert "did not pass the ping health check" in after["FailureReason"]
    assert sagemaker.ask(endpoint)["model"] == before["EndpointConfigName"]
    until(lambda: len(states(inbox, before["EndpointArn"])) >= told + 3, "the events of the update")
    assert sorted(states(inbox, before["EndpointArn"])[told:]) == ["IN_SERVICE", "ROLLING_BACK", "UPDATING"]


def states(inbox: Any, arn: str) -> list[str]:
    """The statuses that the endpoint's events have told of so far."""
    return [
        event["detail"]["EndpointStatus"]
        for event in inbox.of(arn)
        if event["detail-type"] == "SageMaker Endpoint State Change"
    ]


def test_an_endpoint_whose_first_model_is_missing_fails_and_can_be_deleted(sagemaker: Any) -> None:
    name = f"failing-{RUN}"
    config = sagemaker.config(f"missing-{RUN}", artifact=False)
    sagemaker.api.create_endpoint(EndpointName=name, EndpointConfigName=config)
    failed = sagemaker.await_endpoint(name, "Failed", "InService")
    assert failed["EndpointStatus"] == "Failed"
    assert "Failed to download model data" in failed["FailureReason"]
    with pytest.raises(ClientError, match=f"Endpoint {name} of account 000000000000 not found"):
        sagemaker.ask(name)
    with pytest.raises(ClientError, match="DeleteEndpoint is the only operation"):
        sagemaker.api.update_endpoint(EndpointName=name, EndpointConfigName=config)
    sagemaker.api.delete_endpoint(EndpointName=name)
    sagemaker.await_gone(name)


def test_what_is_deployed_is_described_tagged_and_listed(sagemaker: Any, endpoint: str) -> None:
    api = sagemaker.api
    described = api.describe_endpoint(EndpointName=endpoint)
    config = api.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    model = api.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    assert model["PrimaryContainer"]["ModelDataUrl"].startswith(f"s3://{sagemaker.bucket}/models/")
    tags = [{"Key": "lexline:run", "Value": RUN}]
    assert api.list_tags(ResourceArn=described["EndpointArn"])["Tags"] == tags
    assert endpoint in [item["EndpointName"] for item in api.list_endpoints(NameContains=RUN)["Endpoints"]]
    configs = api.list_endpoint_configs(NameContains=f"first-{RUN}")["EndpointConfigs"]
    assert [item["EndpointConfigName"] for item in configs] == [f"first-{RUN}"]
    models = api.list_models(NameContains=f"first-{RUN}")["Models"]
    assert [item["ModelName"] for item in models] == [f"first-{RUN}"]


def test_deleting_a_configuration_and_a_model_frees_their_names(sagemaker: Any) -> None:
    name = sagemaker.config(f"spare-{RUN}", artifact=False)
    sagemaker.api.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.api.delete_model(ModelName=name)
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        sagemaker.api.describe_endpoint_config(EndpointConfigName=name)
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.api.describe_model(ModelName=name)
    sagemaker.config(name, artifact=False)


def test_iam_decides_who_may_do_what(cloud: Any, client: Any, sagemaker: Any, endpoint: str) -> None:
    iam, user = client("iam"), f"user-{RUN}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    signed = {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }
    api, runtime = _client("sagemaker", cloud, signed), _client("sagemaker-runtime", cloud, signed)
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{endpoint}"

    def allow(*statements: dict[str, Any]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName=user, PolicyName="inline", PolicyDocument=document)

    with pytest.raises(ClientError, match=f"not authorized to perform: sagemaker:DescribeEndpoint on.*{arn}"):
        api.describe_endpoint(EndpointName=endpoint)
    with pytest.raises(ClientError, match=f"sagemaker:InvokeEndpoint on resource: {arn}") as caught:
        runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}", ContentType="application/json")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    create = {"Effect": "Allow", "Action": "sagemaker:CreateTrainingJob", "Resource": "*"}
    allow({"Effect": "Allow", "Action": ["sagemaker:DescribeEndpoint"], "Resource": arn}, create)
    assert api.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
    with pytest.raises(ClientError, match=f"not authorized to perform: iam:PassRole on.*{sagemaker.role}"):
        api.create_training_job(**sagemaker.training("job-of-nobody"))


def _client(service: str, cloud: Any, signed: dict[str, str]) -> Any:
    return boto3.client(service, endpoint_url=cloud.endpoint_url, region_name=cloud.region, **signed)
