"""Endpoints through boto3 against the running local cloud, with AWS's inference handler."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localcloud.control import LocalCloud
from tests.integration.sagemaker.conftest import Client, Clients, Inbox, Sagemaker, Until

RUN = uuid.uuid4().hex[:8]


@pytest.fixture(scope="module")
def endpoint(sagemaker: Sagemaker) -> Iterator[str]:
    """An endpoint in service; deleted with its processes at the end."""
    name = f"endpoint-{RUN}"
    tags = [{"Key": "lexline:run", "Value": RUN}]
    sagemaker.endpoint(name, sagemaker.config(f"first-{RUN}"), Tags=tags)
    yield name
    sagemaker.delete(name)


def serving(sagemaker: Sagemaker, endpoint: str) -> str:
    """The config that serves now, and its model's name."""
    return str(sagemaker.api.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"])


def test_an_endpoint_responds(sagemaker: Sagemaker, endpoint: str) -> None:
    assert sagemaker.invoke(endpoint, seed=3) == {"model": serving(sagemaker, endpoint), "seed": 3}
    response = sagemaker.runtime.invoke_endpoint(
        EndpointName=endpoint, Body=b"{}", ContentType="application/json", TargetVariant="AllTraffic"
    )
    assert response["InvokedProductionVariant"] == "AllTraffic"
    # The container's own, and not the one of the control plane.
    assert response["ContentType"] == "application/json"
    arn = sagemaker.api.describe_endpoint(EndpointName=endpoint)["EndpointArn"]
    assert sagemaker.api.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "lexline:run", "Value": RUN}]


def test_a_models_exception_is_a_model_error(sagemaker: Sagemaker, endpoint: str) -> None:
    with pytest.raises(ClientError) as caught:
        sagemaker.invoke(endpoint, fail=True)
    response: dict[str, Any] = dict(caught.value.response)
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 500
    assert response["OriginalMessage"]
    assert f":log-group:/aws/sagemaker/Endpoints/{endpoint}" in response["LogStreamArn"]
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["content-type"], headers["x-amzn-errortype"]) == ("application/json", "ModelError")
    assert sagemaker.invoke(endpoint)["model"] == serving(sagemaker, endpoint)


def test_an_endpoint_logs_under_its_name(
    sagemaker: Sagemaker, client: Client, endpoint: str, until: Until
) -> None:
    sagemaker.invoke(endpoint)
    logs, group = client("logs"), f"/aws/sagemaker/Endpoints/{endpoint}"
    streams = until(
        lambda: (
            logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
            and logs.describe_log_streams(logGroupName=group)["logStreams"]
        ),
        "the endpoint's log stream",
    )
    assert streams[0]["logStreamName"].startswith("AllTraffic/i-")


def test_an_update_loses_no_request(sagemaker: Sagemaker, endpoint: str, until: Until) -> None:
    before, second = serving(sagemaker, endpoint), sagemaker.config(f"second-{RUN}")
    with Clients(sagemaker, endpoint) as clients:
        until(lambda: before in clients.served, "the old model to respond")
        sagemaker.api.update_endpoint(EndpointName=endpoint, EndpointConfigName=second)
        assert sagemaker.await_endpoint(endpoint, "InService")["EndpointConfigName"] == second
        until(lambda: second in clients.served, "the new model to respond")
    assert clients.errors == []
    assert set(clients.served) == {before, second}
    assert sagemaker.invoke(endpoint)["model"] == second


@pytest.mark.parametrize("model", ["absent", "broken"])
def test_a_failed_update_leaves_the_old_model_in_service(
    sagemaker: Sagemaker, endpoint: str, inbox: Inbox, until: Until, model: str
) -> None:
    before = sagemaker.api.describe_endpoint(EndpointName=endpoint)
    arn, config = before["EndpointArn"], before["EndpointConfigName"]
    bad = sagemaker.config(f"{model}-{RUN}", artifact=model != "absent")
    seen = len(inbox.endpoint_changes(arn, "ROLLING_BACK"))
    sagemaker.api.update_endpoint(EndpointName=endpoint, EndpointConfigName=bad)
    after = sagemaker.await_endpoint(endpoint, "InService")
    assert after["EndpointConfigName"] == config
    if model == "absent":
        assert "Failed to download model data" in after["FailureReason"]
        assert f"s3://{sagemaker.bucket}/models/{bad}/model.tar.gz" in after["FailureReason"]
    else:
        assert "did not pass the ping health check" in after["FailureReason"]
    assert sagemaker.invoke(endpoint)["model"] == config
    until(lambda: len(inbox.endpoint_changes(arn, "ROLLING_BACK")) > seen, "the event of the rollback")


def test_an_endpoint_whose_first_model_is_missing_fails_and_can_be_deleted(sagemaker: Sagemaker) -> None:
    name = f"failing-{RUN}"
    config = sagemaker.config(f"missing-{RUN}", artifact=False)
    sagemaker.api.create_endpoint(EndpointName=name, EndpointConfigName=config)
    failed = sagemaker.await_endpoint(name, "Failed", "InService")
    assert failed["EndpointStatus"] == "Failed"
    assert "Failed to download model data" in failed["FailureReason"]
    with pytest.raises(ClientError, match=f"Endpoint {name} of account 000000000000 not found"):
        sagemaker.invoke(name)
    sagemaker.delete(name)


def test_iam_decides_who_may_do_what(
    cloud: LocalCloud, client: Client, sagemaker: Sagemaker, endpoint: str
) -> None:
    iam, user = client("iam"), f"user-{RUN}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    session: Any = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=cloud.region)
    api, runtime = (
        session.client(service, endpoint_url=cloud.endpoint_url)
        for service in ("sagemaker", "sagemaker-runtime")
    )
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{endpoint}"
    with pytest.raises(ClientError, match=f"not authorized to perform: sagemaker:DescribeEndpoint on.*{arn}"):
        api.describe_endpoint(EndpointName=endpoint)
    with pytest.raises(ClientError, match=f"sagemaker:InvokeEndpoint on resource: {arn}") as caught:
        runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}", ContentType="application/json")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    statements = [
        {"Effect": "Allow", "Action": ["sagemaker:DescribeEndpoint"], "Resource": arn},
        {"Effect": "Allow", "Action": "sagemaker:CreateTrainingJob", "Resource": "*"},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=user, PolicyName="inline", PolicyDocument=document)
    assert api.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
    with pytest.raises(ClientError, match=f"not authorized to perform: iam:PassRole on.*{sagemaker.role}"):
        api.create_training_job(**sagemaker.training("job-of-nobody"))
