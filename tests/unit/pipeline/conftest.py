"""What the pipeline's unit tests share: documents that cross the steps, and AWS as botocore's own stub.

The stub checks every request against botocore's model of the service, and refuses a call that was not
announced or was announced with other parameters. Every announced call must be made. DynamoDB and Step
Functions may be taken from memory instead (`table`, `machine`), where an answer depends on what was before.
"""

import copy
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from contracts.report import ReportInput
from contracts.run import Run
from coordination import lease
from core import aws, names
from core.logging import logger
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory

ACCOUNT, REGION = "111122223333", "eu-west-1"
NAME = "lexline--sotu-0123456789ab"
# The run whose model served before.
FORMER = "lexline--sotu-aaaaaaaaaaaa"
ENVIRONMENT = {
    "AWS_REGION": REGION,
    "BUCKET": "texts",
    "TABLE": "tokens",
    "ENDPOINT_NAME": "lexline",
    "EXECUTION_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/lexline-sagemaker",
    "TOPIC_ARN": f"arn:aws:sns:{REGION}:{ACCOUNT}:lexline-results",
    "STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:lexline-pipeline",
    "QUIET_SECONDS": "60",
    "ALARMS": "lexline-5xx,lexline-latency",
    "SWEEP": "delete",
    "SCHEDULE_GROUP": "lexline-teardowns",
    "SCHEDULE_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/lexline-schedules",
    "TRAINING_IMAGE_CPU": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/pytorch-training:cpu",
    "TRAINING_IMAGE_GPU": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/pytorch-training:gpu",
    "HOSTING_IMAGE_CPU": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/pytorch-inference:cpu",
    "HOSTING_IMAGE_GPU": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/pytorch-inference:gpu",
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
    "autoscaling": "application-autoscaling",
}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return ENVIRONMENT


@functools.cache
def _boto_client(service: str) -> Any:
    # Made once for all tests: reading SageMaker's model takes longer than a test.
    return boto3.Session("id", "secret", region_name=REGION).client(service)


class StubbedAws:
    """Announce with `answers` or `refuses` what AWS is to be asked next; `calls` are the operations
    made, `parameters` what each was last given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.parameters: dict[str, dict[str, Any]] = {}
        self._stubbers: dict[str, Stubber] = {}
        for attribute, service in _CLIENTS.items():
            monkeypatch.setattr(aws, attribute, functools.partial(self._client, service))

    def answers(self, service: str, operation: str, response: dict[str, Any], **parameters: Any) -> None:
        self._stubber(service).add_response(operation, response, parameters or None)

    def refuses(
        self, service: str, operation: str, code: str, message: str = "", status: int = 400, **parameters: Any
    ) -> None:
        self._stubber(service).add_client_error(
            operation, code, message, status, expected_params=parameters or None
        )

    def assert_all_made(self) -> None:
        for stubber in self._stubbers.values():
            stubber.assert_no_pending_responses()

    def close(self) -> None:
        for stubber in self._stubbers.values():
            stubber.deactivate()
            stubber.client.meta.events.unregister("provide-client-params", unique_id="note")

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        """A handler of the event `provide-client-params`."""
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


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubbedAws]:
    stub = StubbedAws(monkeypatch)
    yield stub
    stub.close()
    stub.assert_all_made()


@pytest.fixture
def table(stubbed: StubbedAws, monkeypatch: pytest.MonkeyPatch) -> TableInMemory:
    """The table in memory, in place of DynamoDB's stub; `stubbed.calls` tells of its operations as well."""
    in_memory = TableInMemory(ENVIRONMENT["TABLE"])
    in_memory.client.meta.events.register("provide-client-params", stubbed.note)
    monkeypatch.setattr(aws, "dynamodb", lambda: in_memory.client)
    return in_memory


@pytest.fixture
def machine(stubbed: StubbedAws, monkeypatch: pytest.MonkeyPatch) -> ExecutionsInMemory:
    """The state machine's executions in memory, in place of Step Functions' stub; none moves by itself."""
    in_memory = ExecutionsInMemory(ENVIRONMENT["STATE_MACHINE_ARN"])
    in_memory.client.meta.events.register("provide-client-params", stubbed.note)
    monkeypatch.setattr(aws, "stepfunctions", lambda: in_memory.client)
    return in_memory


@pytest.fixture
def lease_held(table: TableInMemory) -> TableInMemory:
    """The table in memory, in which the documents' run holds the lease."""
    table.put(
        "endpoint/lexline",
        owner=_LEASE["owner"],
        execution=_EXECUTION["id"],
        generation=_LEASE["generation"],
        until=time.time() + lease.SECONDS / 2,
        waiting={},
    )
    return table


@dataclass
class LambdaContext:
    function_name: str = "lexline-step"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:lexline-step"
    aws_request_id: str = "52fdfc07-2182-154f-163f-5f0f9a621d72"
    log_stream_name: str = "2026/03/01/[$LATEST]0f9a621d"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


@pytest.fixture
def context() -> LambdaContext:
    return LambdaContext()


_EXECUTION = {
    "id": f"arn:aws:states:{REGION}:{ACCOUNT}:execution:lexline-pipeline:first",
    "started": "2026-03-01T12:00:00Z",
}
_RUN = {
    "name": NAME,
    "endpoint": "lexline",
    "execution": _EXECUTION,
    "work": "train",
    "subject": NAME,
    "dataset": "sotu",
    "upload": None,
    "model": None,
    "teardown_of": None,
    "cleanup_of": None,
    "force": False,
    "source": None,
    "hyperparameters": {"epochs": 6, "tied": True},
    "training": {"instance_type": "ml.m5.xlarge", "instance_count": 1, "max_runtime_seconds": 3600},
    "hosting": {"instance_type": "ml.m5.large", "instance_count": 1},
    "max_perplexity": None,
    "tolerance": 0,
    "teardown": "never",
}
_LEASE = {"owner": NAME, "generation": 7}
_PREPARED = {
    "outcome": "prepared",
    "dataset": "sotu",
    "source": [{"uri": "s3://texts/uploads/sotu/sotu.txt", "etag": "9b2cf535", "version_id": "3sL4kqtJ"}],
    "fingerprint": "ab" * 32,
    "prepared_uri": f"s3://texts/prepared/sotu/{'ab' * 32}/",
    "manifest_uri": f"s3://texts/prepared/sotu/{'ab' * 32}/manifest.json",
    "splits": {
        "train": {"lines": 900, "words": 9000, "bytes": 54000},
        "valid": {"lines": 50, "words": 500, "bytes": 3000},
        "test": {"lines": 50, "words": 500, "bytes": 3000},
    },
}
_SOURCE = {
    "uri": f"s3://texts/code/{'cd' * 32}/sourcedir.tar.gz",
    "sha256": "cd" * 32,
    "repo": None,
    "branch": None,
    "commit": None,
}
_CHAMPION = {
    "config": FORMER,
    "model": FORMER,
    "dataset": "sotu",
    "fingerprint": "ef" * 32,
    "artifact_prefix": f"s3://texts/runs/{FORMER}/output/model.tar.gz",
}
_TRAINED = {
    "job": NAME,
    "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{NAME}",
    "model_artifacts": f"s3://texts/runs/{NAME}/output/model.tar.gz",
    "instance_type": "ml.m5.xlarge",
    "instance_count": 1,
    "spot": True,
    "training_seconds": 610,
    "billable_seconds": 183,
    "metrics": {
        "test:perplexity": 208.3,
        "valid:perplexity": 226.6,
        "train:perplexity": 168.0,
        "train:words_per_second": 1432.0,
        "vocabulary:size": 33278.0,
    },
}
_EVALUATED = {
    "accepted": True,
    "reason": (
        f"Test perplexity 208.30 over 33,278 words. On the new test text 208.30, where {FORMER}, which "
        "served, has 215.20."
    ),
    "metrics": {
        "test_perplexity": 208.3,
        "valid_perplexity": 226.6,
        "train_perplexity": 168.0,
        "words_per_second": 1432.0,
        "vocabulary_size": 33278,
    },
    "comparison": {
        "champion": FORMER,
        "champion_perplexity": 215.2,
        "challenger_perplexity": 208.3,
        "tolerance": 0.0,
        "reason": None,
        "notes": [
            f"{FORMER} was trained on an earlier state of sotu and may have read some of this test text, "
            "which flatters it."
        ],
    },
}
_REGISTERED = {
    "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/lexline/3",
    "version": 3,
    "model": NAME,
    "approved": True,
    "model_artifacts": _TRAINED["model_artifacts"],
    "dataset": "sotu",
    "fingerprint": _PREPARED["fingerprint"],
    "identity": "12" * 32,
    "test_perplexity": 208.3,
}
_MODEL = {
    "name": NAME,
    "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/{NAME}",
    "image": ENVIRONMENT["HOSTING_IMAGE_CPU"],
    "model_artifacts": _TRAINED["model_artifacts"],
}
_DEPLOYED = {
    "endpoint": "lexline",
    "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/lexline",
    "config": NAME,
    "instance_count": 1,
}
_SMOKE_TEST = {
    "texts": [
        {
            "prompt": "",
            "seed": 111,
            "temperature": 1.0,
            "text": "The state of the union is strong.",
            "seconds": 0.21,
        }
    ],
    "slowest_seconds": 0.21,
}
_FINISHED = {"scales": False, "teardown_at": None}


@pytest.fixture
def documents() -> SimpleNamespace:
    """One of each document that crosses the steps, as JSON has it, fresh for each test."""
    return SimpleNamespace(
        **copy.deepcopy(
            {
                "execution": _EXECUTION,
                "run": _RUN,
                "lease": _LEASE,
                "prepared": _PREPARED,
                "source": _SOURCE,
                "champion": _CHAMPION,
                "trained": _TRAINED,
                "evaluated": _EVALUATED,
                "registered": _REGISTERED,
                "model": _MODEL,
                "deployed": _DEPLOYED,
                "smoke_test": _SMOKE_TEST,
                "finished": _FINISHED,
            }
        )
    )


@pytest.fixture
def results(documents: SimpleNamespace) -> dict[str, Any]:
    """Report's input: the results of a run that trained, deployed and verified its model."""
    return {name: getattr(documents, name, None) for name in ReportInput.model_fields} | {"caught": []}


@pytest.fixture
def new_run(machine: ExecutionsInMemory) -> Callable[..., Run]:
    """new_run(name, **more): the run of a new execution so named, of dataset sotu unless it is told more."""

    def made(name: str, **more: Any) -> Run:
        asked = {"dataset": "sotu", **more}
        arn = machine.start(name, {"upload": asked["upload"]} if asked.get("upload") else {"dataset": "sotu"})
        run = names.run_name("lexline", "sotu", arn)
        execution = {**_EXECUTION, "id": arn}
        return Run.model_validate({**_RUN, **asked, "name": run, "subject": run, "execution": execution})

    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """clock(seconds): let so much time pass."""
    passed = [0.0]
    now = time.time

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    return let_pass


@pytest.fixture
def metrics_written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What the handler wrote to its log, metrics in embedded metric format among it."""
    # The logger keeps the output of the moment it was made; pytest has another for each phase of a test.
    now = SimpleNamespace(write=lambda text: sys.stdout.write(text), flush=lambda: sys.stdout.flush())
    monkeypatch.setattr(logger.registered_handler, "stream", now)
    return lambda: capsys.readouterr().out


class Described:
    """SageMaker's descriptions, as Describe answers them."""

    def training_job(
        self, status: str = "InProgress", secondary: str = "Training", **more: Any
    ) -> dict[str, Any]:
        return {
            "TrainingJobName": NAME,
            "TrainingJobArn": _TRAINED["arn"],
            "ModelArtifacts": {"S3ModelArtifacts": _TRAINED["model_artifacts"]},
            "TrainingJobStatus": status,
            "SecondaryStatus": secondary,
            "AlgorithmSpecification": {"TrainingInputMode": "File"},
            "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
            "CreationTime": datetime(2026, 3, 1, tzinfo=UTC),
            **more,
        }

    def completed_job(self) -> dict[str, Any]:
        metrics = [{"MetricName": name, "Value": value} for name, value in _TRAINED["metrics"].items()]
        return self.training_job(
            "Completed",
            "Completed",
            TrainingTimeInSeconds=610,
            BillableTimeInSeconds=183,
            EnableManagedSpotTraining=True,
            FinalMetricDataList=metrics,
        )

    def endpoint(self, status: str = "InService", config: str = NAME, **more: Any) -> dict[str, Any]:
        return {
            "EndpointName": "lexline",
            "EndpointArn": _DEPLOYED["arn"],
            "EndpointConfigName": config,
            "EndpointStatus": status,
            "ProductionVariants": [{"VariantName": "AllTraffic", "CurrentInstanceCount": 1}],
            "CreationTime": datetime(2026, 3, 1, tzinfo=UTC),
            "LastModifiedTime": datetime(2026, 3, 1, tzinfo=UTC),
            **more,
        }

    def config(self, name: str = NAME) -> dict[str, Any]:
        return {
            "EndpointConfigName": name,
            "EndpointConfigArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint-config/{name}",
            "ProductionVariants": [{"VariantName": "AllTraffic"}],
            "CreationTime": datetime(2026, 3, 1, tzinfo=UTC),
        }

    def tags(self, **tags: str) -> dict[str, Any]:
        """tags(previous_model=...) is the tag lexline:previous-model."""
        return {
            "Tags": [
                {"Key": f"lexline:{key.replace('_', '-')}", "Value": value} for key, value in tags.items()
            ]
        }

    def item(
        self, token: str, resource: str = "training-job", config: str = "", run: str = NAME
    ) -> dict[str, Any]:
        """The table's item of someone who waits."""
        item = {"resource": {"S": resource}, "token": {"S": token}, "run": {"S": run}, "expires": {"N": "1"}}
        return item | ({"config": {"S": config}} if config else {})


@pytest.fixture
def described() -> Described:
    return Described()
