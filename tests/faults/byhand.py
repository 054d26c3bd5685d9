"""SageMaker's API called by hand, for tests of the harness itself."""

import io
import json
import tarfile
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.faults.jobs import IDENTITY

DEADLINE = 240.0
"""Seconds a wait may take before its test fails; far more than any of them needs."""
_REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
TRAINING_IMAGE = f"{_REGISTRY}/pytorch:2.13-cpu-amzn2023-sagemaker"
HOSTING_IMAGE = f"{_REGISTRY}/pytorch-inference:2.6-cpu-py312"
METRICS = ("test", "champion", "challenger", "valid", "train")


class ByHand:
    """A bucket with a corpus, and a role that may read and write it."""

    def __init__(self, once: Callable[[str], Any]) -> None:
        """once(service): a client that tries once."""
        self.api = once("sagemaker")
        self.runtime = once("sagemaker-runtime")
        self.s3 = once("s3")
        self.bucket = f"byhand-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_object(Bucket=self.bucket, Key="prepared/train", Body=b"the cat sat on the mat")
        arn = f"arn:aws:s3:::{self.bucket}"
        actions = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
        self.role = role(once("iam"), "sagemaker", actions, [arn, f"{arn}/*"])

    def training(self, name: str, **channels: str) -> dict[str, Any]:
        """A training job's request; its channels by their prefixes, `training` unless others are given."""
        return {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": TRAINING_IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [
                    {"Name": f"{metric}:perplexity", "Regex": rf"{metric}_perplexity=([0-9.eE+-]+|inf|nan)"}
                    for metric in METRICS
                ],
            },
            "RoleArn": self.role,
            "InputDataConfig": [
                {
                    "ChannelName": channel,
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{self.bucket}/{prefix}"}
                    },
                }
                for channel, prefix in (channels or {"training": "prepared/"}).items()
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/runs"},
            "CheckpointConfig": {"S3Uri": f"s3://{self.bucket}/checkpoints/{name}/"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }

    def trained(self, name: str, **channels: str) -> dict[str, Any]:
        """The description of a job that has run to its end."""
        self.api.create_training_job(**self.training(name, **channels))
        return self.ended(name)

    def ended(self, name: str) -> dict[str, Any]:
        return self.until(
            lambda: self.api.describe_training_job(TrainingJobName=name),
            lambda job: job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"),
        )

    def config(self, name: str, model: str = "") -> str:
        """An endpoint config and its model, both of this name; `model` is the artifact's job."""
        key = f"models/{name}/model.tar.gz"
        identity = {"job": model or name, "test_perplexity": 40.0, "words": ["the", "cat", "sat", "mat"]}
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=packed({IDENTITY: json.dumps(identity)}))
        self.api.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={
                "Image": HOSTING_IMAGE,
                "ModelDataUrl": f"s3://{self.bucket}/{key}",
                "Environment": {"LEXLINE_MODEL": name},
            },
        )
        variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large"}
        self.api.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
        )
        return name

    def served(self, endpoint: str, config: str) -> dict[str, Any]:
        """The description of an endpoint that has been created and has settled."""
        self.api.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        return self.settled(endpoint)

    def updated(self, endpoint: str, config: str) -> dict[str, Any]:
        """The description of an endpoint that has been updated and has settled."""
        self.api.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        return self.settled(endpoint)

    def settled(self, endpoint: str) -> dict[str, Any]:
        return self.until(
            lambda: self.api.describe_endpoint(EndpointName=endpoint),
            lambda found: found["EndpointStatus"] in ("InService", "Failed"),
        )

    def ask(self, endpoint: str, **request: Any) -> bytes:
        """The endpoint's answer."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=endpoint, Body=json.dumps(request), ContentType="application/json"
        )
        body: bytes = answer["Body"].read()
        return body

    def unpacked(self, uri: str) -> dict[str, Any]:
        """The JSON files of an archive in S3, by name."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
            return {name: json.loads(tar.extractfile(name).read()) for name in tar.getnames()}  # type: ignore[union-attr]

    def until(
        self, describe: Callable[[], dict[str, Any]], reached: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        end = time.monotonic() + DEADLINE
        while not reached(described := describe()):
            assert time.monotonic() < end, f"waited in vain: {described}"
            time.sleep(0.03)
        return described


def role(iam: Any, service: str, actions: list[str], resources: list[str]) -> str:
    """The ARN of a new role that the service may assume and that allows these actions on these resources."""
    name = f"role-{uuid.uuid4().hex[:12]}"
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    allowed = {"Effect": "Allow", "Action": actions, "Resource": resources}
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Statement": [allowed]}))
    return str(made["Role"]["Arn"])


def machine(client: Callable[[str], Any], state: dict[str, Any]) -> str:
    """The ARN of a new state machine of one state, which is its last."""
    made = client("stepfunctions").create_state_machine(
        name=f"machine-{uuid.uuid4().hex[:12]}",
        definition=json.dumps({"StartAt": "Only", "States": {"Only": {**state, "End": True}}}),
        roleArn=role(client("iam"), "states", ["lambda:InvokeFunction"], ["*"]),
    )
    return str(made["stateMachineArn"])


def packed(files: dict[str, str]) -> bytes:
    """A .tar.gz of text files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()
