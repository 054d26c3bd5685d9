"""IAM: no request without a valid signature, and no action that the caller's policies do not allow."""

import contextlib
import http.client
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud.control import LocalCloud
from tests.integration.lab import Lab, allow, unique

CALLS = [
    ("s3", "list_buckets"),
    ("sagemaker", "list_training_jobs"),
    ("stepfunctions", "list_state_machines"),
    ("lambda", "list_functions"),
    ("iam", "list_roles"),
]
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu-py312"


@pytest.mark.parametrize(("service", "operation"), CALLS)
def test_an_unsigned_request_is_refused(cloud: LocalCloud, service: str, operation: str) -> None:
    client = cloud.client(service, config=Config(signature_version=UNSIGNED))
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)()
    expected = "AccessDenied" if service == "s3" else "MissingAuthenticationToken"
    assert refused.value.response["Error"]["Code"].startswith(expected)


@pytest.mark.parametrize(("service", "operation"), CALLS)
@pytest.mark.parametrize("key", ["the administrator's", "AKIAIOSFODNN7EXAMPLE", "test", "000000000000"])
def test_a_request_with_a_wrong_signature_is_refused(
    cloud: LocalCloud, service: str, operation: str, key: str
) -> None:
    key = cloud.access_key_id if key.startswith("the ") else key
    client = cloud.client(service, aws_access_key_id=key, aws_secret_access_key="wrong")
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)()
    assert refused.value.response["Error"]["Code"] in (
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )


@pytest.mark.parametrize("path", ["/_ministack/config", "/_ministack/reset", "/_aws/sqs/messages", "/"])
@pytest.mark.parametrize("host", ["", "s3.localhost", "abcdef12.execute-api.localhost"])
def test_there_is_no_way_around_the_signature(cloud: LocalCloud, path: str, host: str) -> None:
    request = urllib.request.Request(cloud.endpoint_url + path, data=b"{}", method="POST")
    if host:
        request.add_header("Host", host)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    # Requests to an API's host are authorized by the API, and this API does not exist.
    no_api = path == "/" and "execute-api" in host
    assert refused.value.code == (404 if no_api else 403)


SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential={}/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


@pytest.mark.parametrize(
    "authorization",
    [
        ["AWS test:x", SIGNATURE.format("AKIAIOSFODNN7EXAMPLE")],
        [SIGNATURE.format("AKIAIOSFODNN7EXAMPLE"), SIGNATURE.format("test")],
        [SIGNATURE.format("٠" * 12)],
        ["AWS4-HMAC-SHA256 nothing"],
    ],
    ids=["two-kinds", "two-signatures", "other-digits", "no-credential"],
)
def test_no_form_of_the_authorization_header_gives_the_roots_permissions(
    cloud: LocalCloud, authorization: list[str]
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(cloud.endpoint_url.rsplit(":", 1)[1]))
    with contextlib.closing(connection):
        connection.putrequest("GET", "/")
        for value in authorization:
            connection.putheader("Authorization", value.encode())
        connection.endheaders()
        assert connection.getresponse().status in (400, 403)


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "action"),
    [
        ("sagemaker", "describe_training_job", {"TrainingJobName": "a-job"}, "sagemaker:DescribeTrainingJob"),
        (
            "sagemaker-runtime",
            "invoke_endpoint",
            {"EndpointName": "an-endpoint", "Body": b"{}"},
            "sagemaker:InvokeEndpoint",
        ),
        ("dynamodb", "get_item", {"TableName": "t", "Key": {"k": {"S": "v"}}}, "dynamodb:GetItem"),
    ],
)
def test_a_denial_names_the_missing_permission(
    lab: Lab, service: str, operation: str, arguments: dict[str, Any], action: str
) -> None:
    with pytest.raises(ClientError) as denied:
        getattr(lab.client_as(service), operation)(**arguments)
    assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    assert f"is not authorized to perform: {action}" in denied.value.response["Error"]["Message"]


def test_a_permission_is_limited_to_its_resource(lab: Lab, cloud: LocalCloud) -> None:
    jobs = f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:training-job/lexline-*"
    sagemaker = lab.client_as("sagemaker", allow("sagemaker:DescribeTrainingJob", jobs))
    with pytest.raises(ClientError, match="Requested resource not found"):
        sagemaker.describe_training_job(TrainingJobName="lexline-sotu")
    with pytest.raises(ClientError, match="AccessDeniedException"):
        sagemaker.describe_training_job(TrainingJobName="someone-elses")


def test_only_a_caller_who_may_pass_a_role_can_pass_it_to_sagemaker(lab: Lab) -> None:
    sagemaker = lab.client_as("sagemaker", allow("sagemaker:CreateModel"))
    role = lab.role("sagemaker.amazonaws.com")
    with pytest.raises(ClientError) as denied:
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer={"Image": IMAGE})
    assert f"is not authorized to perform: iam:PassRole on resource: {role}" in str(denied.value)


def test_tags_limit_what_a_caller_may_create_tag_and_delete_in_sagemaker(lab: Lab) -> None:
    """Conditions on aws:RequestTag, aws:ResourceTag and sagemaker:TaggingAction."""
    mine, others = [[{"Key": "team:name", "Value": value}] for value in ("mine", "others")]
    in_request = {"StringEquals": {"aws:RequestTag/team:name": "mine"}}
    on_resource = {"StringEquals": {"aws:ResourceTag/team:name": "mine"}}
    sagemaker = lab.client_as(
        "sagemaker",
        allow("sagemaker:CreateModelPackageGroup", Condition=in_request),
        allow("sagemaker:AddTags", Condition={**in_request, "Null": {"sagemaker:TaggingAction": "false"}}),
        allow("sagemaker:DeleteModelPackageGroup", Condition=on_resource),
        allow(
            "sagemaker:DeleteTags",
            Condition={**on_resource, "ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}},
        ),
    )
    name, foreign = unique("mine"), unique("foreign")
    arn = lab.client("sagemaker").create_model_package_group(ModelPackageGroupName=foreign, Tags=others)
    with pytest.raises(ClientError, match="not authorized to perform: sagemaker:CreateModelPackageGroup"):
        sagemaker.create_model_package_group(ModelPackageGroupName=name)
    with pytest.raises(ClientError, match="not authorized to perform: sagemaker:CreateModelPackageGroup"):
        sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=others)
    own = sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=mine)["ModelPackageGroupArn"]
    # TaggingAction is set only while a resource is created. So a foreign resource cannot be made one's own.
    for each in (arn["ModelPackageGroupArn"], own):
        with pytest.raises(ClientError, match="not authorized to perform: sagemaker:AddTags"):
            sagemaker.add_tags(ResourceArn=each, Tags=mine)
    with pytest.raises(ClientError, match="not authorized to perform: sagemaker:DeleteTags"):
        sagemaker.delete_tags(ResourceArn=own, TagKeys=["team:name"])
    sagemaker.delete_tags(ResourceArn=own, TagKeys=["a"])
    with pytest.raises(ClientError, match="not authorized to perform: sagemaker:DeleteModelPackageGroup"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=foreign)
    sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    lab.client("sagemaker").delete_model_package_group(ModelPackageGroupName=foreign)
