"""AWS as botocore's own stub.

The stub checks every request against botocore's model of the service. It refuses a call that a test has not
announced, or has announced with other parameters; and every announced call must be made.
"""

import functools
import io
import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from core import aws
from tests.unit.pipeline.documents import ENDPOINT_ARN, NAME, REGION, SAGEMAKER, STACK_ID, Documents

AT = datetime(2026, 3, 1, tzinfo=UTC)
NO_JOB = ("ValidationException", "Requested resource not found.")
NO_CONFIG = ("ValidationException", "Could not find endpoint configuration")
NO_ENDPOINT = ("ValidationException", f'Could not find endpoint "{ENDPOINT_ARN}".')
NO_MODEL = ("ValidationException", "Could not find model")
IN_PROGRESS = ("ValidationException", f'Cannot update in-progress endpoint "{ENDPOINT_ARN}".')
EXISTS = ("ValidationException", 'Cannot create already existing resource "arn".')
SERVERLESS = {"MemorySizeInMB": 3072, "MaxConcurrency": 5}
AUTOSCALING = "application-autoscaling"
SCALING_TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/lexline/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
_CLIENTS = {
    "sagemaker": "sagemaker",
    "sagemaker_runtime": "sagemaker-runtime",
    "s3": "s3",
    "dynamodb": "dynamodb",
    "stepfunctions": "stepfunctions",
    "sns": "sns",
    "scheduler": "scheduler",
    "cloudwatch": "cloudwatch",
    "secretsmanager": "secretsmanager",
    "autoscaling": AUTOSCALING,
}


@functools.cache
def _boto_client(service: str) -> Any:
    # Made once for all tests: reading SageMaker's model takes longer than a test.
    session: Any = boto3.Session("id", "secret", region_name=REGION)
    return session.client(service)


class StubbedAws:
    """All clients of `core.aws`, stubbed.

    `calls` are the operations that were called, and `parameters` the last parameters of each.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.parameters: dict[str, dict[str, Any]] = {}
        self._stubbers: dict[str, Stubber] = {}
        for attribute, service in _CLIENTS.items():
            monkeypatch.setattr(aws, attribute, functools.partial(self._client, service))

    def answers(self, service: str, operation: str, response: dict[str, Any], **parameters: Any) -> None:
        """Announce a call and its response."""
        self._stubber(service).add_response(operation, response, parameters or None)

    def refuses(
        self, service: str, operation: str, code: str, message: str = "", status: int = 400, **parameters: Any
    ) -> None:
        """Announce a call that AWS refuses."""
        self._stubber(service).add_client_error(
            operation, code, message, status, expected_params=parameters or None
        )

    def assert_all_made(self) -> None:
        """Check that every announced call was made."""
        for stubber in self._stubbers.values():
            stubber.assert_no_pending_responses()

    def close(self) -> None:
        """Take the stubs off the clients, which other tests use again."""
        for stubber in self._stubbers.values():
            stubber.deactivate()
            stubber.client.meta.events.unregister("provide-client-params", unique_id="note")

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        """Record a call: a handler of the event `provide-client-params`."""
        self.calls.append(model.name)
        self.parameters[model.name] = params

    def _client(self, service: str) -> Any:
        return self._stubber(service).client

    def _stubber(self, service: str) -> Stubber:
        if service not in self._stubbers:
            stubber = self._stubbers[service] = Stubber(_boto_client(service))
            stubber.client.meta.events.register("provide-client-params", self.note, unique_id="note")
            stubber.activate()
        return self._stubbers[service]


class Described:
    """Descriptions as SageMaker returns them."""

    def training_job(
        self, status: str = "InProgress", secondary: str = "Training", **more: Any
    ) -> dict[str, Any]:
        """Return DescribeTrainingJob's response."""
        trained = Documents().trained
        return {
            "TrainingJobName": NAME,
            "TrainingJobArn": trained["arn"],
            "ModelArtifacts": {"S3ModelArtifacts": trained["model_artifacts"]},
            "TrainingJobStatus": status,
            "SecondaryStatus": secondary,
            "AlgorithmSpecification": {"TrainingInputMode": "File"},
            "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
            "CreationTime": AT,
            **more,
        }

    def completed_job(self) -> dict[str, Any]:
        """Return the response for the job of the documents' run."""
        metrics = Documents().trained["metrics"].items()
        return self.training_job(
            "Completed",
            "Completed",
            TrainingTimeInSeconds=610,
            BillableTimeInSeconds=183,
            EnableManagedSpotTraining=True,
            FinalMetricDataList=[{"MetricName": name, "Value": value} for name, value in metrics],
        )

    def endpoint(
        self, status: str = "InService", config: str = NAME, *, serverless: bool = False, **more: Any
    ) -> dict[str, Any]:
        """Return DescribeEndpoint's response."""
        current = {"CurrentServerlessConfig": SERVERLESS} if serverless else {"CurrentInstanceCount": 1}
        return {
            "EndpointName": "lexline",
            "EndpointArn": ENDPOINT_ARN,
            "EndpointConfigName": config,
            "EndpointStatus": status,
            "ProductionVariants": [{"VariantName": "AllTraffic", **current}],
            "CreationTime": AT,
            "LastModifiedTime": AT,
            **more,
        }

    def config(self, name: str = NAME, **variant: Any) -> dict[str, Any]:
        """Return DescribeEndpointConfig's response, with these fields of its variant."""
        return {
            "EndpointConfigName": name,
            "EndpointConfigArn": config_arn(name),
            "ProductionVariants": [{"VariantName": "AllTraffic", **variant}],
            "CreationTime": AT,
        }

    def tags(self, **tags: str) -> dict[str, Any]:
        """Return ListTags' response for a resource of this stack, or of the stack that `stack` names."""
        return {"Tags": tag_list(**{"stack": STACK_ID, **tags})}


class ExpectedCalls:
    """Announces calls to SageMaker and its neighbours, each named as the operation.

    Calls to one service must be made in the order in which they were announced.
    """

    def __init__(self, stubbed: StubbedAws, described: Described) -> None:
        self.stubbed, self.described = stubbed, described

    def describe_training_job(self, status: str, secondary: str = "") -> None:
        job = self.described.training_job(status, secondary or status)
        self.stubbed.answers("sagemaker", "describe_training_job", job, TrainingJobName=NAME)

    def no_training_job(self) -> None:
        self.stubbed.refuses("sagemaker", "describe_training_job", *NO_JOB, TrainingJobName=NAME)

    def stop_training_job(self, name: str = NAME) -> None:
        self.stubbed.answers("sagemaker", "stop_training_job", {}, TrainingJobName=name)

    def describe_endpoint(self, status: str = "InService", config: str = NAME, **more: Any) -> None:
        endpoint = self.described.endpoint(status, config, **more)
        self.stubbed.answers("sagemaker", "describe_endpoint", endpoint, EndpointName="lexline")

    def no_endpoint(self) -> None:
        self.stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT, EndpointName="lexline")

    def create_endpoint(self, config: str = NAME) -> None:
        self._endpoint("create_endpoint", EndpointConfigName=config, Tags=tag_list(stack=STACK_ID))

    def update_endpoint(self, config: str = NAME, **more: Any) -> None:
        self._endpoint("update_endpoint", EndpointConfigName=config, **more)

    def delete_endpoint(self) -> None:
        self.stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")

    def _endpoint(self, operation: str, **parameters: Any) -> None:
        response = {"EndpointArn": ENDPOINT_ARN}
        self.stubbed.answers("sagemaker", operation, response, EndpointName="lexline", **parameters)

    def describe_endpoint_config(self, name: str = NAME, **variant: Any) -> None:
        config = self.described.config(name, **variant)
        self.stubbed.answers("sagemaker", "describe_endpoint_config", config, EndpointConfigName=name)

    def no_endpoint_config(self, name: str = NAME) -> None:
        self.stubbed.refuses("sagemaker", "describe_endpoint_config", *NO_CONFIG, EndpointConfigName=name)

    def list_tags(self, config: str = NAME, **tags: str) -> None:
        response = self.described.tags(**tags)
        self.stubbed.answers("sagemaker", "list_tags", response, ResourceArn=config_arn(config))

    def add_tags(self, config: str = NAME, **tags: str) -> None:
        arn = config_arn(config)
        self.stubbed.answers("sagemaker", "add_tags", {}, ResourceArn=arn, Tags=tag_list(**tags))

    def delete_config_and_model(self, name: str = NAME, *, config: bool = True, model: bool = True) -> None:
        """Announce both deletions; a resource that is False does not exist."""
        if config:
            self.stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=name)
        else:
            self.stubbed.refuses("sagemaker", "delete_endpoint_config", *NO_CONFIG)
        if model:
            self.stubbed.answers("sagemaker", "delete_model", {}, ModelName=name)
        else:
            self.stubbed.refuses("sagemaker", "delete_model", *NO_MODEL)

    def list_training_jobs(self, *names: str, status: str = "InProgress") -> None:
        jobs = [_summary("TrainingJob", "training-job", name, TrainingJobStatus=status) for name in names]
        response = {"TrainingJobSummaries": jobs}
        self.stubbed.answers(
            "sagemaker", "list_training_jobs", response, NameContains="lexline--", StatusEquals=status
        )

    def list_endpoint_configs(self, *names: str) -> None:
        """Announce a listing in two pages; the first has one config."""
        found = [_summary("EndpointConfig", "endpoint-config", name) for name in names]
        self._pages("list_endpoint_configs", "EndpointConfigs", found)

    def list_models(self, *names: str) -> None:
        """Announce a listing in two pages; the first has one model."""
        self._pages("list_models", "Models", [_summary("Model", "model", name) for name in names])

    def _pages(self, operation: str, field: str, found: list[dict[str, Any]]) -> None:
        first, second = {field: found[:1], "NextToken": "more"}, {field: found[1:]}
        self.stubbed.answers("sagemaker", operation, first, NameContains="lexline--")
        self.stubbed.answers("sagemaker", operation, second, NameContains="lexline--", NextToken="more")

    def invoke_endpoint(self, body: Any, **parameters: Any) -> None:
        """Announce a request to the model and its response: bytes, or a value that becomes JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = {"Body": StreamingBody(io.BytesIO(raw), len(raw)), "ContentType": "application/json"}
        self.stubbed.answers("sagemaker-runtime", "invoke_endpoint", response, **parameters)

    def start_scaling(self, least: int, most: int, invocations: float) -> None:
        self.stubbed.answers(
            AUTOSCALING, "register_scalable_target", {}, **SCALING_TARGET, MinCapacity=least, MaxCapacity=most
        )
        self.stubbed.answers(
            AUTOSCALING,
            "put_scaling_policy",
            {"PolicyARN": "arn"},
            **SCALING_TARGET,
            PolicyName="invocations-per-instance",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": invocations,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
            },
        )

    def stop_scaling(self, *, scales: bool = True) -> None:
        operation = (AUTOSCALING, "deregister_scalable_target")
        if scales:
            self.stubbed.answers(*operation, {}, **SCALING_TARGET)
        else:
            self.stubbed.refuses(*operation, "ObjectNotFoundException")

    def publish(self) -> None:
        self.stubbed.answers("sns", "publish", {"MessageId": "1"})


def config_arn(name: str) -> str:
    """Return the ARN of an endpoint config."""
    return f"{SAGEMAKER}:endpoint-config/{name}"


def tag_list(**tags: str) -> list[dict[str, str]]:
    """Return tags as SageMaker has them; `previous_model` is the tag lexline:previous-model."""
    return [{"Key": f"lexline:{key.replace('_', '-')}", "Value": value} for key, value in tags.items()]


def _summary(prefix: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {f"{prefix}Name": name, f"{prefix}Arn": f"{SAGEMAKER}:{kind}/{name}", "CreationTime": AT, **more}


class Owners:
    """The tags of all resources, for the checks of their owners. By default, each is this stack's."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str] | None] = {}

    def belongs_to(self, resource: str, stack: str | None) -> None:
        """Give a resource, such as `model/NAME`, to a stack; with None, to no stack."""
        self._tags[f"{SAGEMAKER}:{resource}"] = {"lexline:stack": stack} if stack else {}

    def lack(self, resource: str) -> None:
        """Let a resource not exist."""
        self._tags[f"{SAGEMAKER}:{resource}"] = None

    def read(self, *arns: str) -> dict[str, dict[str, str] | None]:
        """Take the place of `ownership.read`."""
        return {arn: self._tags.get(arn, {"lexline:stack": STACK_ID}) for arn in arns}
