"""SageMaker and Application Auto Scaling under boto3's own clients.

Tests drive the host, the jobs and the fleets.

Requests go through botocore's serializer and signer, and responses through its parser; only the network is
replaced. The host judges each request by the policies of the access key that signed it.
"""

import asyncio
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud.application_autoscaling.records import ScalableTargets
from localcloud.application_autoscaling.service import ApplicationAutoScaling
from localcloud.sagemaker.core.host import AccessDenied, Measurement
from localcloud.sagemaker.processes.fleet import FleetFailed, FleetLaunch
from localcloud.sagemaker.processes.instance import InvocationResult
from localcloud.sagemaker.processes.training_run import TrainingEvents, TrainingLaunch, TrainingOutcome
from localcloud.sagemaker.service import SageMaker

DEADLINE = 240.0
"""Seconds a wait may take before its test fails."""
ACCOUNT = "000000000000"
REGION = "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/execution"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
ADMIN, CALLER = "AKIAADMIN", "AKIACALLER"
TRAINING_IMAGE = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/pytorch-training:2.6-cpu-py312"
HOSTING_IMAGE = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/pytorch-inference:2.6-cpu-py312"


class FakeHost:
    """A host whose callers may do what `policies` lists: (action, resource) patterns by access key.

    alarms: the states of CloudWatch's alarms by name. unwatching: roles that may not read them.
    looks: if a test sets a semaphore, each read of the alarms waits for it. Waits take no time.
    """

    region = REGION
    account = ACCOUNT
    endpoint_url = "http://127.0.0.1:1"
    wait_scale = 0.0

    def __init__(self) -> None:
        self.policies: dict[str, list[tuple[str, str]]] = {ADMIN: [("*", "*")], CALLER: []}
        self.roles = {ROLE}
        self.events: list[tuple[str, dict[str, Any], list[str]]] = []
        self.logs: list[tuple[str, str, int, str]] = []
        self.metrics: list[tuple[str, Measurement]] = []
        self.alarms: dict[str, str] = {}
        self.unwatching: set[str] = set()
        self.forbidden: set[tuple[str, str]] = set()
        self.looks: threading.Semaphore | None = None

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        self.events.append((detail_type, dict(detail), resources))

    def log(self, group: str, stream: str, lines: list[tuple[int, str]]) -> None:
        self.logs += [(group, stream, moment, line) for moment, line in lines]

    def put_metrics(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        self.metrics += [(namespace, measurement) for measurement in measurements]

    def alarm_states(self, names: Sequence[str], role_arn: str) -> Mapping[str, str]:
        if role_arn in self.unwatching:
            raise AccessDenied(f"{role_arn} is not authorized to perform: cloudwatch:DescribeAlarms")
        if self.looks:
            assert self.looks.acquire(timeout=DEADLINE), "the test never released a look"
        return {name: self.alarms[name] for name in names if name in self.alarms}

    def role_environment(self, role_arn: str, session: str) -> dict[str, str]:
        if role_arn not in self.roles:
            raise LookupError(role_arn)
        return {"AWS_ACCESS_KEY_ID": f"ASIA-{role_arn}", "AWS_ROLE_SESSION_NAME": session}

    def role_may(self, role_arn: str, action: str, resource: str) -> bool:
        return (action, resource) not in self.forbidden

    def authorize(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        action: str,
        resource: str,
        keys: Mapping[str, Any],
    ) -> None:
        signed = re.search(r"Credential=(\w+)/", headers["Authorization"])
        key = signed[1] if signed else ""
        if not any(
            fnmatchcase(action, a) and fnmatchcase(resource, r) for a, r in self.policies.get(key, [])
        ):
            raise AccessDenied(
                f"User: arn:aws:iam::{ACCOUNT}:user/{key} is not authorized to perform: {action} "
                f"on resource: {resource} because no identity-based policy allows the {action} action"
            )

    def authorize_pass_role(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        role_arn: str,
    ) -> None:
        self.authorize(headers, query, "iam:PassRole", role_arn, {})


class FakeRun:
    """A training run that reports what the test says. It refuses what no real run does."""

    def __init__(self, launch: TrainingLaunch, events: TrainingEvents) -> None:
        self.launch = launch
        self.events = events
        self.started = self.stopped = self.closed = self.ended = False

    def start(self) -> None:
        assert not self.started, "a run starts once"
        self.started = True

    def stop(self) -> None:
        assert self.started, "a run that has not started cannot be stopped"
        self.stopped = True

    def close(self) -> None:
        self.closed = True

    def reach(self, *statuses: str) -> None:
        assert self.started
        assert not self.ended
        for status in statuses:
            self.events.secondary_status(status, f"{status} it")

    def say(self, line: str, timestamp_ms: int = 1_700_000_000_000) -> None:
        self.events.log(f"{self.launch.job_name}/algo-1-1700000000000", timestamp_ms, line)

    def finish(self, status: Any = "Completed", secondary: Any = None, reason: str | None = None) -> None:
        assert not self.ended, "a run ends once"
        self.ended = True
        artifact = f"s3://bucket/runs/{self.launch.job_name}/output/model.tar.gz"
        self.events.finished(
            TrainingOutcome(status, secondary or status, reason, None if status == "Failed" else artifact, 42)
        )


class FakeFleet:
    """A fleet that is ready immediately unless its script says otherwise; responds with its model's name."""

    def __init__(self, launch: FleetLaunch, script: SimpleNamespace) -> None:
        self.launch = launch
        self.script = script
        self.started = self.stopped = False
        self.busy = 0

    def start(self) -> None:
        assert not self.started, "a fleet starts once"
        self.started = True
        self.launch.directory.mkdir(parents=True)

    def wait_ready(self, timeout: float) -> None:
        assert self.started
        assert self.script.ready.wait(DEADLINE), "the test never let the fleet become ready"
        if self.script.failure:
            raise FleetFailed(self.script.failure)
        if self.script.crash:
            raise RuntimeError(self.script.crash)

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult | None:
        assert self.started
        assert not self.stopped, "a stopped fleet gets no requests"
        self.busy += 1
        try:
            assert self.script.respond.wait(DEADLINE), "the test never let the fleet respond"
            time.sleep(self.script.delay)
            assert not self.stopped, "the fleet was stopped under a request"
            if self.script.unhealthy:
                return None
            if self.script.result:
                result: InvocationResult = self.script.result
                return result
            return InvocationResult(200, accept, b"%s|%s" % (self.launch.model_name.encode(), body))
        finally:
            self.busy -= 1

    def stop(self, drain: float = 10.0) -> None:
        self.stopped = True


class Fleets:
    """Creates fleets; `script` controls those created since the last `reset`."""

    def __init__(self) -> None:
        self.made: list[FakeFleet] = []
        self.reset()

    def reset(self) -> None:
        self.script = SimpleNamespace(
            ready=threading.Event(),
            respond=threading.Event(),
            delay=0.0,
            failure=None,
            crash=None,
            result=None,
            unhealthy=False,
        )
        self.script.ready.set()
        self.script.respond.set()

    def __call__(self, launch: FleetLaunch) -> FakeFleet:
        fleet = FakeFleet(launch, self.script)
        self.made.append(fleet)
        return fleet


class Cloud:
    """One service and everything around it."""

    def __init__(self, directory: Path, clients: Mapping[str, Any]) -> None:
        self.clients = clients
        self.host = FakeHost()
        self.runs: list[FakeRun] = []
        self.fleets = Fleets()
        self.directory = directory
        self.targets = ScalableTargets()
        self.service = SageMaker(
            self.host, directory, self.targets, training_run=self._run, fleet=self.fleets
        )
        self.autoscaling = ApplicationAutoScaling(self.host, self.targets, self.service.variant)

    def _run(self, launch: TrainingLaunch, events: TrainingEvents) -> FakeRun:
        run = FakeRun(launch, events)
        self.runs.append(run)
        return run

    def __getattr__(self, name: str) -> Any:
        return self.clients[name]

    def raw(self, target: str, body: bytes, *, path: str = "/") -> tuple[int, dict[str, str], bytes]:
        """Send a request that botocore would not send."""
        headers = {"X-Amz-Target": target, "Authorization": f"AWS4-HMAC-SHA256 Credential={ADMIN}/x"}
        return asyncio.run(self.service.handle("POST", path, headers, body, {}))

    def train(self, name: str = "job", **parameters: Any) -> FakeRun:
        """Create a training job; return its run."""
        self.sagemaker.create_training_job(**training_request(name, **parameters))
        return self.runs[-1]

    def model(self, name: str) -> None:
        self.sagemaker.create_model(**model_request(name))

    def config(self, name: str, model: str | None = None, **variant: Any) -> None:
        """Create a config of one variant, with a model of the same name unless one is given."""
        if model is None:
            self.model(name)
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant_request(model or name, **variant)]
        )

    def endpoint(self, name: str = "lexline", config: str = "first") -> None:
        """Create an endpoint that is in service."""
        self.config(config)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.await_endpoint("InService", name)

    def await_endpoint(self, status: str, name: str = "lexline") -> dict[str, Any]:
        seen: list[dict[str, Any]] = []

        def reached() -> bool:
            seen.append(self.sagemaker.describe_endpoint(EndpointName=name))
            return bool(seen[-1]["EndpointStatus"] == status)

        eventually(reached)
        return seen[-1]

    def events(self, detail_type: str, member: str) -> list[Any]:
        """Return one member of each event so far, in order."""
        return [detail.get(member) for kind, detail, _ in self.host.events if kind == detail_type]


def eventually(condition: Callable[[], bool], deadline: float = DEADLINE) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def refusal(call: Any, code: str = "ValidationException", /, **parameters: Any) -> str:
    """Call an operation that must fail with this error code; return the error's message."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response["Error"]["Message"]


def training_request(name: str = "job", **parameters: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": TRAINING_IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "valid:perplexity", "Regex": "valid_perplexity=([0-9.eE+-]+|inf|nan)"},
                {"Name": "test:perplexity", "Regex": "test_perplexity=([0-9.eE+-]+|inf|nan)"},
            ],
        },
        "RoleArn": ROLE,
        "HyperParameters": {"epochs": "2"},
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/prepared/sotu/1/"}
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/runs"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    } | parameters


def model_request(name: str, **parameters: Any) -> dict[str, Any]:
    return {
        "ModelName": name,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": HOSTING_IMAGE,
            "ModelDataUrl": f"s3://bucket/runs/{name}/output/model.tar.gz",
            "Environment": {"SAGEMAKER_PROGRAM": "generate.py"},
        },
    } | parameters


def variant_request(model: str, **parameters: Any) -> dict[str, Any]:
    return {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    } | parameters


class _Wire:
    """botocore's `before-send` handler: passes each request to the running test's services."""

    def __init__(self) -> None:
        self.cloud: Cloud | None = None

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        assert self.cloud is not None
        path = re.sub(r"^https?://[^/]+", "", request.url) or "/"
        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        body: Any = request.body or b""
        if isinstance(body, str):
            body = body.encode()
        scaling = headers.get("X-Amz-Target", "").startswith("AnyScaleFrontendService.")
        service = self.cloud.autoscaling if scaling else self.cloud.service
        status, response_headers, content = asyncio.run(
            service.handle(request.method, path, headers, bytes(body), {})
        )
        raw = io.BytesIO(content)
        raw.stream = lambda *_, **__: iter([content])  # type: ignore[attr-defined]
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(response_headers), raw)


@pytest.fixture(scope="session")
def clients() -> tuple[_Wire, dict[str, Any]]:
    """The clients of all tests: creating one is slow, because the service model is large."""
    wire = _Wire()
    session: Any = boto3.Session(region_name=REGION)
    once = Config(retries={"total_max_attempts": 1})

    def client(service: str, key: str, config: Config = once) -> Any:
        made = session.client(service, aws_access_key_id=key, aws_secret_access_key="secret", config=config)
        made.meta.events.register("before-send", wire)
        return made

    return wire, {
        "sagemaker": client("sagemaker", ADMIN),
        "unchecked": client("sagemaker", ADMIN, once.merge(Config(parameter_validation=False))),
        "caller": client("sagemaker", CALLER),
        "runtime": client("sagemaker-runtime", ADMIN),
        "caller_runtime": client("sagemaker-runtime", CALLER),
        "scaling": client("application-autoscaling", ADMIN),
        "caller_scaling": client("application-autoscaling", CALLER),
    }


@pytest.fixture
def cloud(clients: tuple[_Wire, dict[str, Any]], tmp_path: Path) -> Iterator[Cloud]:
    wire, made = clients
    wire.cloud = cloud = Cloud(tmp_path, made)
    yield cloud
    cloud.fleets.script.ready.set()
    cloud.fleets.script.respond.set()
    cloud.service.close()
