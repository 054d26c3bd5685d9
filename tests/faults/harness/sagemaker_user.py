"""A user of SageMaker's API without the pipeline, for the tests of the harness."""

import io
import json
import tarfile
import uuid
from collections.abc import Callable
from typing import Any

from tests.faults.harness.scripted_jobs import IDENTITY
from tests.waiting import wait_until

_REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
TRAINING_IMAGE = f"{_REGISTRY}/pytorch:2.13-cpu-amzn2023-sagemaker"
HOSTING_IMAGE = f"{_REGISTRY}/pytorch-inference:2.6-cpu-py312"
METRICS = ("test", "champion", "challenger", "valid", "train")


class SageMakerUser:
    """Jobs and endpoints of a test, with a bucket that has a corpus, and a role that may use the bucket."""

    def __init__(self, single_attempt: Callable[[str], Any]) -> None:
        """Create the bucket and the role. `single_attempt(service)` returns a client without retries."""
        self.api = single_attempt("sagemaker")
        self.runtime = single_attempt("sagemaker-runtime")
        self.s3 = single_attempt("s3")
        self.bucket = f"user-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_object(Bucket=self.bucket, Key="prepared/train", Body=b"the cat sat on the mat")
        arn = f"arn:aws:s3:::{self.bucket}"
        actions = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
        iam = single_attempt("iam")
        self.role = create_role(iam, "sagemaker", actions, [arn, f"{arn}/*"])
        pulls = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
        iam.put_role_policy(
            RoleName=self.role.rpartition("/")[2],
            PolicyName="images",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [pulls]}),
        )

    def job_request(self, name: str, **channels: str) -> dict[str, Any]:
        """Return a request of CreateTrainingJob. Channels have prefixes of the bucket."""
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

    def start_job(self, name: str, **channels: str) -> None:
        """Create a training job."""
        self.api.create_training_job(**self.job_request(name, **channels))

    def describe_job(self, name: str) -> dict[str, Any]:
        """Return the description of a job."""
        return dict(self.api.describe_training_job(TrainingJobName=name))

    def wait_for_job(self, name: str) -> dict[str, Any]:
        """Wait for a job's end, and return its description."""
        ends = ("Completed", "Failed", "Stopped")
        wait_until(lambda: self.describe_job(name)["TrainingJobStatus"] in ends, f"{name} to end")
        return self.describe_job(name)

    def run_job(self, name: str, **channels: str) -> dict[str, Any]:
        """Create a training job, wait for its end, and return its description."""
        self.start_job(name, **channels)
        return self.wait_for_job(name)

    def create_config(self, name: str) -> str:
        """Create an artifact, a model and an endpoint config, all with this name, and return the name."""
        key = f"models/{name}/model.tar.gz"
        identity = {"job": name, "test_perplexity": 40.0, "words": ["the", "cat", "sat", "mat"]}
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=_archive({IDENTITY: json.dumps(identity)}))
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

    def create_endpoint(self, config: str) -> dict[str, Any]:
        """Create the endpoint "endpoint", wait until it has settled, and return its description."""
        self.api.create_endpoint(EndpointName="endpoint", EndpointConfigName=config)
        return self.wait_for_endpoint()

    def update_endpoint(self, config: str) -> dict[str, Any]:
        """Update the endpoint, wait until it has settled, and return its description."""
        self.api.update_endpoint(EndpointName="endpoint", EndpointConfigName=config)
        return self.wait_for_endpoint()

    def describe_endpoint(self) -> dict[str, Any]:
        """Return the endpoint's description."""
        return dict(self.api.describe_endpoint(EndpointName="endpoint"))

    def wait_for_endpoint(self) -> dict[str, Any]:
        """Wait until the endpoint has settled, and return its description."""
        settled = ("InService", "Failed")
        wait_until(lambda: self.describe_endpoint()["EndpointStatus"] in settled, "the endpoint to settle")
        return self.describe_endpoint()

    def invoke(self, **request: Any) -> bytes:
        """Return the endpoint's response to a request."""
        response = self.runtime.invoke_endpoint(
            EndpointName="endpoint", Body=json.dumps(request), ContentType="application/json"
        )
        body: bytes = response["Body"].read()
        return body

    def read_archive(self, uri: str) -> dict[str, Any]:
        """Return the JSON files of an archive in S3 by their names."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
            files = {name: tar.extractfile(name) for name in tar.getnames()}
            return {name: json.load(file) for name, file in files.items() if file}


def create_role(iam: Any, service: str, actions: list[str], resources: list[str]) -> str:
    """Create a role that the service may assume and that allows these actions, and return its ARN."""
    name = f"role-{uuid.uuid4().hex[:12]}"
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    allowed = {"Effect": "Allow", "Action": actions, "Resource": resources}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Statement": [allowed]}))
    return str(role["Role"]["Arn"])


def create_machine(client: Callable[[str], Any], state: dict[str, Any]) -> str:
    """Create a state machine of one state, and return its ARN."""
    machine = client("stepfunctions").create_state_machine(
        name=f"machine-{uuid.uuid4().hex[:12]}",
        definition=json.dumps({"StartAt": "Only", "States": {"Only": {**state, "End": True}}}),
        roleArn=create_role(client("iam"), "states", ["lambda:InvokeFunction"], ["*"]),
    )
    return str(machine["stateMachineArn"])


def _archive(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()
