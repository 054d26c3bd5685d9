"""The deployed pipeline under faults: actions, observations, and the checks that hold after every fault."""

import contextlib
import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import boto3.dynamodb.types
from botocore.exceptions import ClientError

from tests.faults.harness.client import Faults
from tests.stack import DeployedStack
from tests.waiting import DEADLINE, wait_until

ENDPOINT = "lexline"
KEPT = ("code/", "lexline/")
"""Objects that stay from test to test: the packed scripts, which all runs share, and SAM's artifacts."""
_value = boto3.dynamodb.types.TypeDeserializer().deserialize
Result = TypeVar("Result")


def corpus(version: object, lines: int = 60) -> bytes:
    """Return a text that differs by version, long enough to be split and trained on with `stack.TINY`."""
    return "".join(f"Line {line} of version {version} tells the tale.\n" for line in range(lines)).encode()


class Pipeline:
    """The deployed stack and the fault plan of its cloud."""

    def __init__(self, stack: DeployedStack, faults: Faults) -> None:
        self.stack = stack
        self.faults = faults
        self.endpoint = stack.outputs["EndpointName"]
        self.client = stack.cloud.client
        self.sagemaker = self.client("sagemaker")
        self.states = self.client("stepfunctions")
        self._runtime = self.client("sagemaker-runtime")
        self._table = self.client("dynamodb")
        self._s3 = self.client("s3")

    # --- actions

    def upload(self, dataset: str, version: object, file: str = "text.txt") -> None:
        """Upload a version of a file of a dataset."""
        self.stack.upload(dataset, file, corpus(version))

    def delete_upload(self, dataset: str, file: str) -> None:
        """Delete a file of a dataset."""
        self._s3.delete_object(Bucket=self.stack.bucket, Key=f"uploads/{dataset}/{file}")

    def add_dataset(self, dataset: str) -> str:
        """Upload a dataset without its event, so that no run starts; return its name."""
        self.faults.event("upload", "lost")
        self.upload(dataset, 0)
        return dataset

    def serve_first_model(self) -> str:
        """Train and deploy a model of the dataset "first"; return the model's name."""
        self.run_upload("first", 0)
        model = self.serving_model()
        assert model is not None
        return model

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start an execution and wait until everything is at rest; return its description."""
        return self.wait_for(self.stack.start(request))

    def run_upload(self, dataset: str, version: object) -> dict[str, Any]:
        """Upload and wait until everything is at rest; return the description of the last execution."""
        number = len(self.executions())
        self.upload(dataset, version)
        self.wait_for_executions(number + 1)
        self.wait_for_rest()
        return self.describe(self.executions()[-1]["executionArn"])

    def start_training(self, request: Mapping[str, Any]) -> tuple[str, str]:
        """Start an execution, and return its ARN and its job. The job trains until `faults.end_delays`."""

        def trains(job: str) -> bool:
            described = self.sagemaker.describe_training_job(TrainingJobName=job)
            return bool(described["SecondaryStatus"] == "Training")

        number = len(self.jobs())
        self.faults.job("Completed", seconds=DEADLINE)
        execution = self.stack.start(request)
        job = self.wait_for_jobs(number + 1)[-1]
        self.until(lambda: trains(job), f"{job} to train")
        return execution, job

    def abort(self, execution: str) -> None:
        """Abort an execution, as a person does."""
        self.states.stop_execution(executionArn=execution)

    def expire_lease(self) -> None:
        """Let the lease expire now, as if its owner had not renewed it for hours."""
        self._table.update_item(
            TableName=self.stack.outputs["TableName"],
            Key={"resource": {"S": f"endpoint/{self.endpoint}"}},
            UpdateExpression="SET #until = :past",
            ExpressionAttributeNames={"#until": "until"},
            ExpressionAttributeValues={":past": {"N": "1"}},
        )

    def sweep(self) -> dict[str, Any]:
        """Invoke the sweep and wait until everything is at rest; return the sweep's response."""
        response = self.client("lambda").invoke(FunctionName=f"{self.stack.name}-sweep", Payload=b"{}")
        document: dict[str, Any] = json.loads(response["Payload"].read())
        assert "FunctionError" not in response, document
        self.wait_for_rest()
        return document

    @contextlib.contextmanager
    def requests(self) -> Iterator[None]:
        """Send requests to the endpoint during the block, whatever it responds."""
        ended = threading.Event()

        def send() -> None:
            while not ended.wait(0.05):
                with contextlib.suppress(ClientError):
                    self.serving_model()

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    # --- waits

    def until(self, condition: Callable[[], Result | None], what: str, pause: float = 0.05) -> Result:
        """Wait until the condition returns a true value, and return the value."""
        return wait_until(condition, lambda: f"{what}; {self._situation()}", pause=pause)

    def wait_for_rest(self) -> None:
        """Wait until no execution is in progress, no run has the lease, and no run gathers uploads."""

        def at_rest() -> bool:
            return not self.in_progress() and not self.lease_owner() and not self.gathering()

        # Each look takes processor time from the pipeline.
        self.until(at_rest, "rest", pause=0.1)

    def wait_for(self, execution: str) -> dict[str, Any]:
        """Wait until everything is at rest, and return the execution's description."""
        self.wait_for_rest()
        return self.describe(execution)

    def wait_for_executions(self, number: int) -> None:
        """Wait until there have been so many executions."""
        self.until(lambda: len(self.executions()) >= number, f"{number} executions")

    def wait_for_jobs(self, number: int) -> list[str]:
        """Wait until there have been so many training jobs, and return their names."""
        self.until(lambda: len(self.jobs()) >= number, f"{number} training jobs")
        return self.jobs()

    # --- observations

    def manifest(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return the manifest of the dataset that a run trained on."""
        bucket, _, key = str(report["dataset"]["manifest_uri"]).removeprefix("s3://").partition("/")
        found: dict[str, Any] = json.loads(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return found

    def half_made(self) -> list[str]:
        """Return the keys under prepared/ in the folder of a run that has no manifest, old versions too."""
        pages = self._s3.get_paginator("list_object_versions").paginate(
            Bucket=self.stack.bucket, Prefix="prepared/"
        )
        keys = [
            found["Key"]
            for page in pages
            for found in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        ]
        complete = {key.split("/")[2] for key in keys if key.endswith("/corpus/manifest.json")}
        return [key for key in keys if key.split("/")[2] not in complete]

    def executions(self) -> list[dict[str, Any]]:
        """Return every execution, oldest first."""
        pages = self.states.get_paginator("list_executions").paginate(
            stateMachineArn=self.stack.outputs["StateMachineArn"]
        )
        found = [execution for page in pages for execution in page["executions"]]
        return sorted(found, key=lambda execution: execution["startDate"])

    def in_progress(self) -> list[str]:
        """Return the ARNs of the executions in progress."""
        return [each["executionArn"] for each in self.executions() if each["status"] == "RUNNING"]

    def describe(self, execution: str) -> dict[str, Any]:
        """Return an execution's description with a decoded output."""
        description = dict(self.states.describe_execution(executionArn=execution))
        description["output"] = json.loads(description.get("output") or "{}")
        return description

    def reports(self) -> list[dict[str, Any]]:
        """Return the report of every execution, oldest first; the status of one that did not succeed."""
        descriptions = [self.describe(execution["executionArn"]) for execution in self.executions()]
        return [described["output"] or {"status": described["status"]} for described in descriptions]

    def statuses(self) -> list[str]:
        """Return the status in the report of every execution, oldest first."""
        return [str(report["status"]) for report in self.reports()]

    def history(self, execution: str) -> Iterator[dict[str, Any]]:
        """Return the events of an execution."""
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=execution)
        return (event for page in pages for event in page["events"])

    def entered(self, execution: str) -> list[str]:
        """Return the states that the execution has entered, in order."""
        key = "stateEnteredEventDetails"
        return [event[key]["name"] for event in self.history(execution) if key in event]

    def item(self, key: str) -> dict[str, Any]:
        """Return an item of the table; {} if it does not exist."""
        item = self._table.get_item(
            TableName=self.stack.outputs["TableName"], Key={"resource": {"S": key}}, ConsistentRead=True
        ).get("Item", {})
        return {name: _value(value) for name, value in item.items()}

    def lease_owner(self) -> str | None:
        """Return the run that has the lease, or else a run that waits for it."""
        item = self.item(f"endpoint/{self.endpoint}")
        return item.get("owner") or next(iter(item.get("waiting", {})), None)

    def gathering(self) -> list[str]:
        """Return the datasets whose uploads a run gathers."""
        return [dataset for dataset in self.datasets() if "run" in self.item(f"dataset/{dataset}")]

    def datasets(self) -> list[str]:
        """Return the uploaded datasets."""
        listed = self._s3.list_objects_v2(Bucket=self.stack.bucket, Prefix="uploads/", Delimiter="/")
        return [folder["Prefix"].split("/")[1] for folder in listed.get("CommonPrefixes", [])]

    def serving_model(self) -> str | None:
        """Request a text, and return the model that responds; None if there is no endpoint."""
        if not self.sagemaker.list_endpoints()["Endpoints"]:
            return None
        response = self._runtime.invoke_endpoint(
            EndpointName=self.endpoint, ContentType="application/json", Body=json.dumps({"words": 5}).encode()
        )
        return str(json.loads(response["Body"].read())["model"])

    def jobs(self) -> list[str]:
        """Return every training job, oldest first."""
        jobs = self.sagemaker.list_training_jobs(SortBy="CreationTime", SortOrder="Ascending", MaxResults=100)
        return [job["TrainingJobName"] for job in jobs["TrainingJobSummaries"]]

    def messages(self) -> list[str]:
        """Return the headline and the reason of each stored report, in no order."""
        listed = self._s3.list_objects_v2(Bucket=self.stack.bucket, Prefix="reports/").get("Contents", [])
        keys = [stored["Key"] for stored in listed if stored["Key"].endswith(".json")]
        bodies = [self._s3.get_object(Bucket=self.stack.bucket, Key=key)["Body"].read() for key in keys]
        return [f"{report['headline']} {report['reason']}" for report in map(json.loads, bodies)]

    def orphans(self) -> list[str]:
        """Return jobs in progress, unsettled endpoints, and configs and models that no endpoint may use."""
        jobs = self.sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
        found = [f"training-job/{job['TrainingJobName']}" for job in jobs]
        used: set[str] = set()
        for endpoint in self.sagemaker.list_endpoints()["Endpoints"]:
            live = self.sagemaker.describe_endpoint(EndpointName=endpoint["EndpointName"])
            if live["EndpointStatus"] != "InService":
                found.append(f"endpoint/{endpoint['EndpointName']} {live['EndpointStatus']}")
            used |= self._config_and_previous(live["EndpointConfigName"])
        configs = self.sagemaker.list_endpoint_configs(MaxResults=100)["EndpointConfigs"]
        models = self.sagemaker.list_models(MaxResults=100)["Models"]
        names = [("endpoint-config", config["EndpointConfigName"]) for config in configs]
        names += [("model", model["ModelName"]) for model in models]
        return found + [f"{kind}/{name}" for kind, name in names if name not in used]

    def _config_and_previous(self, config: str) -> set[str]:
        """Return a config and the one before it, which is kept for a rollback."""
        try:
            arn = self.sagemaker.describe_endpoint_config(EndpointConfigName=config)["EndpointConfigArn"]
        except self.sagemaker.exceptions.ClientError:
            return {config}
        tags = {tag["Key"]: tag["Value"] for tag in self.sagemaker.list_tags(ResourceArn=arn)["Tags"]}
        return {config, tags.get("lexline:previous", "")}

    def unread_datasets(self) -> list[str]:
        """Return the datasets with uploads that no run has read."""
        unread = []
        for dataset in self.datasets():
            listed = self._s3.list_objects_v2(Bucket=self.stack.bucket, Prefix=f"uploads/{dataset}/")
            marks = {
                hashlib.sha256(f"{each['ETag'].strip(chr(34))} {each['Key']}".encode()).hexdigest()[:16]
                for each in listed["Contents"]
            }
            if not marks <= self.item(f"dataset/{dataset}").get("handled", set()):
                unread.append(dataset)
        return unread

    def lease_times(self) -> list[tuple[float, float]]:
        """Return when each run had the lease: from the end of Acquire to the end of its execution."""
        times = []
        for execution in self.executions():
            events = list(self.history(execution["executionArn"]))
            acquired = [
                event["timestamp"].timestamp()
                for event in events
                # A run that was only woken, or that waited too long, leaves Acquire without a generation.
                if event.get("stateExitedEventDetails", {}).get("name") == "Acquire"
                and "generation" in json.loads(event["stateExitedEventDetails"]["output"])
            ]
            if acquired:
                times.append((acquired[-1], events[-1]["timestamp"].timestamp()))
        return sorted(times)

    def _situation(self) -> str:
        """Return the lease and the last states of every execution, for the message of a failed test."""
        return json.dumps(
            {
                "lease": {key: str(value) for key, value in self.item(f"endpoint/{self.endpoint}").items()},
                "executions": [
                    (each["name"], each["status"], self.entered(each["executionArn"])[-3:])
                    for each in self.executions()
                ],
            },
            indent=1,
        )

    # --- checks

    def assert_one_run_at_a_time(self) -> None:
        """Check that no two runs had the lease at once."""
        times = self.lease_times()
        for (_, end), (start, _) in itertools.pairwise(times):
            assert end <= start + 0.001, times

    def assert_sound(self, serves: str | None = "") -> None:
        """Check what holds after every fault. `serves` is the model that must respond; None: no endpoint."""
        assert self.orphans() == []
        assert self.lease_owner() is None
        assert self.gathering() == []
        assert self.half_made() == []
        if serves != "":
            assert self.serving_model() == serves
        assert self.unread_datasets() == []

    def assert_newest_serves(self, jobs: int) -> None:
        """Check that so many jobs were created, the last one's model serves, and everything is sound."""
        created = self.jobs()
        assert len(created) == jobs
        self.assert_sound(serves=created[-1])
