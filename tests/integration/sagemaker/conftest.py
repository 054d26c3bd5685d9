"""Helpers for tests of the running SageMaker: a bucket, a role, small sources, clients and all events."""

import io
import json
import tarfile
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

Client = Callable[..., Any]
"""client(service, **arguments): a boto3 client of the cloud."""
Until = Callable[..., Any]
"""until(condition, what): the condition's first true value."""
DEADLINE = 240.0
"""Seconds that a wait may take before its test fails."""
REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
TRAINING_IMAGE = f"{REGISTRY}/pytorch:2.13-cpu-amzn2023-sagemaker"
HOSTING_IMAGE = f"{REGISTRY}/pytorch-inference:2.6-cpu-py312"

TRAIN = """
    import argparse, os, time
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="well")
    mode = parser.parse_args().mode
    words = (Path(os.environ["SM_CHANNEL_TRAINING"]) / "train").read_text().split()
    print(f"vocabulary_size={len(set(words))}", flush=True)
    for epoch in (1, 2):
        print(f"epoch={epoch}/2 valid_loss=5 valid_perplexity={100 / epoch}", flush=True)
    if mode == "badly":
        raise ValueError("the corpus is all about cheese")
    while mode == "forever":
        time.sleep(0.1)
    (Path(os.environ["SM_MODEL_DIR"]) / "weights").write_text("2 4 8")
"""

TRAIN_TOGETHER = """
    import os
    from pathlib import Path
    import torch
    import torch.distributed as together

    together.init_process_group("gloo")
    rank = torch.tensor([1.0 + together.get_rank()])
    together.all_reduce(rank)
    print(f"sum={rank.item():g} world={together.get_world_size()}", flush=True)
    if together.get_rank() == 0:
        (Path(os.environ["SM_MODEL_DIR"]) / "weights").write_text("2 4 8")
        base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
        (base / "checkpoints" / "state").write_text("epoch 1")
    together.destroy_process_group()
"""

GENERATE = """
    import json, os, time

    def model_fn(model_dir):
        with open(os.path.join(model_dir, "name")) as file:
            name = file.read()
        if name == "broken":
            raise RuntimeError("the weights are of another shape")
        return name

    def input_fn(body, content_type):
        return json.loads(body)

    def predict_fn(request, model):
        if request.get("fail") or model.startswith("faulty"):
            raise ValueError("no such word")
        time.sleep(request.get("seconds", 0))
        return {"model": model, "seed": request.get("seed")}

    def output_fn(prediction, accept):
        return json.dumps(prediction)
"""


class Sagemaker:
    """boto3's clients of the running service, and shortcuts for requests."""

    def __init__(self, client: Callable[..., Any], bucket: str, role: str) -> None:
        self.api = client("sagemaker")
        self.runtime = client("sagemaker-runtime")
        self.s3 = client("s3")
        self.bucket = bucket
        self.role = role
        self.s3.put_object(
            Bucket=bucket, Key="code/sourcedir.tar.gz", Body=archive({"train.py": textwrap.dedent(TRAIN)})
        )
        self.s3.put_object(
            Bucket=bucket,
            Key="code/together.tar.gz",
            Body=archive({"train.py": textwrap.dedent(TRAIN_TOGETHER)}),
        )
        self.s3.put_object(Bucket=bucket, Key="prepared/train", Body=b"the cat sat on the mat")

    def training(self, name: str, **more: Any) -> dict[str, Any]:
        """A training job's request; `mode` says how it goes."""
        mode = more.pop("mode", "well")
        return {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": TRAINING_IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [
                    {"Name": "valid:perplexity", "Regex": "valid_perplexity=([0-9.eE+-]+|inf|nan)"},
                    {"Name": "vocabulary:size", "Regex": "vocabulary_size=([0-9]+)"},
                ],
            },
            "RoleArn": self.role,
            "HyperParameters": {
                "mode": mode,
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": f"s3://{self.bucket}/code/sourcedir.tar.gz",
                "sagemaker_region": "us-east-1",
                "sagemaker_container_log_level": "20",
                "sagemaker_job_name": name,
            },
            "InputDataConfig": [
                {
                    "ChannelName": "training",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": f"s3://{self.bucket}/prepared/",
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/runs"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        } | more

    def training_together(self, name: str) -> dict[str, Any]:
        """A job of two hosts that torchrun brings together, and that leaves a checkpoint."""
        request = self.training(name, CheckpointConfig={"S3Uri": f"s3://{self.bucket}/checkpoints/{name}/"})
        request["ResourceConfig"]["InstanceCount"] = 2
        request["HyperParameters"] |= {
            "sagemaker_submit_directory": f"s3://{self.bucket}/code/together.tar.gz",
            "sagemaker_torch_distributed_enabled": "true",
        }
        return request

    def config(self, name: str, *, artifact: bool = True, instances: int = 1) -> str:
        """An endpoint configuration with a model of the same name, which responds with its name.

        A model named broken-* does not load, and one named faulty-* fails on every request.
        """
        key = f"models/{name}/model.tar.gz"
        if artifact:
            code = textwrap.dedent(GENERATE)
            label = "broken" if name.startswith("broken") else name
            self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=archive({"code/generate.py": code, "name": label})
            )
        self.api.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={
                "Image": HOSTING_IMAGE,
                "ModelDataUrl": f"s3://{self.bucket}/{key}",
                "Environment": {
                    "SAGEMAKER_PROGRAM": "generate.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                    "LEXLINE_MODEL": name,
                },
            },
        )
        self.api.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": name,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": instances,
                }
            ],
        )
        return name

    def await_job(self, name: str, *statuses: str) -> dict[str, Any]:
        """The job's description once its status, or its secondary status, is one of these."""
        return self._await(
            lambda: self.api.describe_training_job(TrainingJobName=name),
            lambda job: job["TrainingJobStatus"] in statuses or job["SecondaryStatus"] in statuses,
        )

    def await_endpoint(self, name: str, *statuses: str) -> dict[str, Any]:
        """The endpoint's description once its status is one of these."""
        return self._await(
            lambda: self.api.describe_endpoint(EndpointName=name),
            lambda endpoint: endpoint["EndpointStatus"] in statuses,
        )

    def endpoint(self, name: str, config: str, **more: Any) -> None:
        """Create an endpoint that is in service."""
        self.api.create_endpoint(EndpointName=name, EndpointConfigName=config, **more)
        described = self.await_endpoint(name, "InService", "Failed")
        assert described["EndpointStatus"] == "InService", described.get("FailureReason")

    def delete(self, endpoint: str) -> None:
        """Delete an endpoint and wait until it is gone."""
        self.api.delete_endpoint(EndpointName=endpoint)
        self._await(
            lambda: {"names": [item["EndpointName"] for item in self.api.list_endpoints()["Endpoints"]]},
            lambda response: endpoint not in response["names"],
        )

    def invoke(self, endpoint: str, **request: Any) -> dict[str, Any]:
        response = self.runtime.invoke_endpoint(
            EndpointName=endpoint,
            Body=json.dumps(request).encode(),
            ContentType="application/json",
            Accept="application/json",
        )
        body: dict[str, Any] = json.loads(response["Body"].read())
        return body

    def _await(
        self, describe: Callable[[], dict[str, Any]], reached: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        end = time.monotonic() + DEADLINE
        while not reached(described := describe()):
            assert time.monotonic() < end, f"waited {DEADLINE} s: {described}"
            time.sleep(0.1)
        return described


class Clients:
    """Three clients that invoke an endpoint without a pause, within `with`."""

    def __init__(self, sagemaker: Sagemaker, endpoint: str) -> None:
        self.served: list[str] = []
        self.errors: list[ClientError] = []
        self._sagemaker = sagemaker
        self._endpoint = endpoint
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.served.append(self._sagemaker.invoke(self._endpoint, seconds=0.02)["model"])
            except ClientError as error:
                self.errors.append(error)


class Inbox:
    """Every event of SageMaker since the tests began, through a rule on the default bus and a queue."""

    def __init__(self, client: Callable[..., Any]) -> None:
        self._queues = client("sqs")
        self._events = client("events")
        self._rule = f"sagemaker-{uuid.uuid4().hex[:12]}"
        self._url = self._queues.create_queue(QueueName=self._rule)["QueueUrl"]
        arn = self._queues.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        self._events.put_rule(Name=self._rule, EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
        self._events.put_targets(
            Rule=self._rule, Targets=[{"Id": "inbox", "Arn": arn["Attributes"]["QueueArn"]}]
        )
        self._read: list[dict[str, Any]] = []

    def of(self, arn: str) -> list[dict[str, Any]]:
        """The events so far about one resource, oldest first."""
        while messages := self._queues.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                self._read.append(json.loads(message["Body"]))
                self._queues.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [event for event in self._read if event["resources"] == [arn]]

    def endpoint_changes(self, arn: str, status: str) -> list[dict[str, Any]]:
        """The events so far that tell of an endpoint's move to this status."""
        changes = (each for each in self.of(arn) if each["detail-type"] == "SageMaker Endpoint State Change")
        return [each for each in changes if each["detail"]["EndpointStatus"] == status]

    def close(self) -> None:
        self._events.remove_targets(Rule=self._rule, Ids=["inbox"])
        self._events.delete_rule(Name=self._rule)
        self._queues.delete_queue(QueueUrl=self._url)


def alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie, which not every machine's init collects, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture(scope="session")
def inbox(client: Callable[..., Any]) -> Iterator[Inbox]:
    inbox = Inbox(client)
    yield inbox
    inbox.close()


@pytest.fixture(scope="session")
def sagemaker(client: Callable[..., Any], lab: Any) -> Sagemaker:
    return sagemaker_of(client, lab)


@pytest.fixture(scope="session")
def make_sagemaker() -> Callable[..., Sagemaker]:
    """make_sagemaker(client, lab): the same for a cloud of the test's own."""
    return sagemaker_of


def sagemaker_of(client: Callable[..., Any], lab: Any) -> Sagemaker:
    bucket = f"sagemaker-{uuid.uuid4().hex[:12]}"
    client("s3").create_bucket(Bucket=bucket)
    allowed = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:AbortMultipartUpload"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    watching = {
        "Effect": "Allow",
        "Action": ["cloudwatch:DescribeAlarms", "ecr:Get*", "ecr:Batch*"],
        "Resource": "*",
    }
    return Sagemaker(client, bucket, lab.role("sagemaker.amazonaws.com", allowed, watching))
