"""The stack under faults: what a test does with it, and what must hold once everything has come to rest."""

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import boto3.dynamodb.types

from tests.faults.plan import Faults
from tests.stack import DeployedStack

ENDPOINT = "lexline"
PATIENCE = 240.0
_number = boto3.dynamodb.types.TypeDeserializer().deserialize


def text(version: object, lines: int = 60) -> bytes:
    """A corpus, another one for each version; enough to be cut in three and trained on with `stack.TINY`."""
    return "".join(f"Line {line} of version {version} tells the tale.\n" for line in range(lines)).encode()


class World:
    """Uploads, executions and what they leave, on the stack of `tests.faults.conftest`."""

    def __init__(self, stack: DeployedStack, faults: Faults) -> None:
        self.stack = stack
        self.faults = faults
        self.sagemaker = stack.cloud.client("sagemaker")
        self.states = stack.cloud.client("stepfunctions")
        self._runtime = stack.cloud.client("sagemaker-runtime")
        self._table = stack.cloud.client("dynamodb")
        self._s3 = stack.cloud.client("s3")

    # --- doing ---------------------------------------------------------------------------------------

    def upload(self, dataset: str, version: object, file: str = "text.txt") -> None:
        """Put a version of a dataset under uploads/."""
        self.stack.upload(dataset, file, text(version))

    def data(self, dataset: str, version: object = 0) -> str:
        """A dataset that is there, and whose upload starts nothing; its name."""
        self.faults.event("upload", "lost")
        self.upload(dataset, version)
        return dataset

    def serve(self, dataset: str = "first", version: object = 0) -> str:
        """Train and deploy a model; answers its name."""
        self.run_upload(dataset, version)
        served = self.answering()
        assert served is not None
        return served

    def run(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Start an execution and wait until all is at rest; its description."""
        return self.ended(self.stack.start(document))

    def run_upload(self, dataset: str, version: object) -> dict[str, Any]:
        """Upload, and wait until all is at rest; the description of the execution that came last."""
        before = len(self.executions())
        self.upload(dataset, version)
        self.until(lambda: len(self.executions()) > before, "its execution")
        self.rest()
        return self.described(self.executions()[-1]["executionArn"])

    def training(self, document: Mapping[str, Any]) -> tuple[str, str]:
        """Start an execution whose job trains until `faults.catch_up`; its ARN, and the job that trains."""

        def trains(job: str) -> bool:
            described = self.sagemaker.describe_training_job(TrainingJobName=job)
            return bool(described["SecondaryStatus"] == "Training")

        before = self.trained()
        self.faults.job("Completed", seconds=PATIENCE)
        execution = self.stack.start(document)
        (job,) = self.until(lambda: self.trained()[len(before) :], "a training job")
        self.until(lambda: trains(job), f"{job} to train")
        return execution, str(job)

    def ended(self, execution: str) -> dict[str, Any]:
        """The execution's description once all is at rest, its output decoded."""
        self.rest()
        return self.described(execution)

    def described(self, execution: str) -> dict[str, Any]:
        description = dict(self.states.describe_execution(executionArn=execution))
        description["output"] = json.loads(description.get("output") or "{}")
        return description

    def abort(self, execution: str) -> None:
        self.states.stop_execution(executionArn=execution)

    def expire_lease(self) -> None:
        """Let the holder's lease lapse now, as if it had not been renewed for hours."""
        self._table.update_item(
            TableName=self.stack.outputs["TableName"],
            Key={"resource": {"S": f"endpoint/{ENDPOINT}"}},
            UpdateExpression="SET #until = :past",
            ExpressionAttributeNames={"#until": "until"},
            ExpressionAttributeValues={":past": {"N": "1"}},
        )

    def until(
        self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = 0.05
    ) -> Any:
        """The condition's first true value; AssertionError when there is none in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(pause)
        raise AssertionError(f"waited {seconds:g} s for {what}; {self.situation()}")

    def in_state(self, execution: str, state: str) -> None:
        """Wait until the execution is in the state."""
        self.until(lambda: self.entered(execution)[-1:] == [state], f"{execution} to be in {state}")

    def rest(self, seconds: float = PATIENCE) -> None:
        """Wait until no execution runs, nobody holds the lease and nobody gathers."""

        def at_rest() -> bool:
            return not self.running() and not self.holder() and not self.gathering()

        # Looking takes as much of the machine as what is looked at.
        self.until(at_rest, "rest", seconds, pause=0.1)

    # --- looking -------------------------------------------------------------------------------------

    def executions(self) -> list[dict[str, Any]]:
        """Every execution, oldest first."""
        pages = self.states.get_paginator("list_executions").paginate(
            stateMachineArn=self.stack.outputs["StateMachineArn"]
        )
        return [each for page in pages for each in page["executions"]][::-1]

    def running(self) -> list[str]:
        return [each["executionArn"] for each in self.executions() if each["status"] == "RUNNING"]

    def reports(self) -> list[dict[str, Any]]:
        """What every execution said at its end, oldest first; of a failed one its error and cause."""
        found = []
        for each in self.executions():
            description = self.described(each["executionArn"])
            failed = {
                "status": each["status"],
                "error": description.get("error"),
                "reason": description.get("cause"),
            }
            found.append(description["output"] or failed)
        return found

    def outcomes(self) -> list[str]:
        return [str(report["status"]) for report in self.reports()]

    def entered(self, execution: str) -> list[str]:
        """The states the execution has entered, in order."""
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=execution)
        return [
            event["stateEnteredEventDetails"]["name"]
            for page in pages
            for event in page["events"]
            if "stateEnteredEventDetails" in event
        ]

    def item(self, key: str) -> dict[str, Any]:
        item = self._table.get_item(
            TableName=self.stack.outputs["TableName"], Key={"resource": {"S": key}}, ConsistentRead=True
        ).get("Item", {})
        return {name: _number(value) for name, value in item.items()}

    def holder(self) -> str | None:
        """The run that holds the lease, or one that waits for it."""
        item = self.item(f"endpoint/{ENDPOINT}")
        return item.get("owner") or next(iter(item.get("waiting", {})), None)

    def gathering(self) -> list[str]:
        return [dataset for dataset in self.datasets() if "run" in self.item(f"dataset/{dataset}")]

    def datasets(self) -> list[str]:
        listed = self._s3.list_objects_v2(Bucket=self.stack.bucket, Prefix="uploads/", Delimiter="/")
        return [folder["Prefix"].split("/")[1] for folder in listed.get("CommonPrefixes", [])]

    def answering(self) -> str | None:
        """The model that answers a request now; None without an endpoint."""
        if not self.sagemaker.list_endpoints()["Endpoints"]:
            return None
        answer = self._runtime.invoke_endpoint(
            EndpointName=ENDPOINT, ContentType="application/json", Body=json.dumps({"words": 5}).encode()
        )
        return str(json.loads(answer["Body"].read())["model"])

    def trained(self) -> list[str]:
        """Every training job there was, oldest first."""
        jobs = self.sagemaker.list_training_jobs(SortBy="CreationTime", SortOrder="Ascending", MaxResults=100)
        return [job["TrainingJobName"] for job in jobs["TrainingJobSummaries"]]

    def orphans(self) -> list[str]:
        """Jobs that run, configs and models that neither serve nor did before, endpoints that do not."""
        jobs = self.sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
        found = [f"training-job/{job['TrainingJobName']}" for job in jobs]
        kept: set[str] = set()
        for endpoint in self.sagemaker.list_endpoints()["Endpoints"]:
            live = self.sagemaker.describe_endpoint(EndpointName=endpoint["EndpointName"])
            if live["EndpointStatus"] != "InService":
                found.append(f"endpoint/{endpoint['EndpointName']} {live['EndpointStatus']}")
            kept |= self._lineage(live["EndpointConfigName"])
        configs = self.sagemaker.list_endpoint_configs(MaxResults=100)["EndpointConfigs"]
        models = self.sagemaker.list_models(MaxResults=100)["Models"]
        found += [
            f"endpoint-config/{c['EndpointConfigName']}"
            for c in configs
            if c["EndpointConfigName"] not in kept
        ]
        found += [f"model/{model['ModelName']}" for model in models if model["ModelName"] not in kept]
        return found

    def _lineage(self, config: str) -> set[str]:
        """A config and the one that it took the place of, which is kept to go back to."""
        try:
            arn = self.sagemaker.describe_endpoint_config(EndpointConfigName=config)["EndpointConfigArn"]
        except self.sagemaker.exceptions.ClientError:
            return {config}
        tags = {tag["Key"]: tag["Value"] for tag in self.sagemaker.list_tags(ResourceArn=arn)["Tags"]}
        return {config, tags.get("lexline:previous", "")}

    def lost(self) -> list[str]:
        """Datasets of which no run has seen what was uploaded last."""
        lost = []
        for dataset in self.datasets():
            objects = self._s3.list_objects_v2(Bucket=self.stack.bucket, Prefix=f"uploads/{dataset}/")[
                "Contents"
            ]
            marks = {
                hashlib.sha256(f"{each['ETag'].strip(chr(34))} {each['Key']}".encode()).hexdigest()[:16]
                for each in objects
            }
            if not marks <= self.item(f"dataset/{dataset}").get("handled", set()):
                lost.append(dataset)
        return lost

    def sweep(self) -> dict[str, Any]:
        """Have the daily sweep come now; its answer, once what it started is at rest."""
        answer = self.stack.cloud.client("lambda").invoke(FunctionName="lexline-sweep", Payload=b"{}")
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, document
        self.rest()
        return document

    def messages(self) -> list[str]:
        """The first lines of the reports in the bucket, in no order."""
        listed = self._s3.list_objects_v2(Bucket=self.stack.bucket, Prefix="reports/").get("Contents", [])
        documents = [
            json.loads(self._s3.get_object(Bucket=self.stack.bucket, Key=each["Key"])["Body"].read())
            for each in listed
            if each["Key"].endswith(".json")
        ]
        return [document["reason"] for document in documents]

    def at_work(self) -> list[tuple[float, float]]:
        """When each run held the lease: from leaving Acquire to its end, in order."""
        spans = []
        for each in self.executions():
            pages = self.states.get_paginator("get_execution_history").paginate(
                executionArn=each["executionArn"]
            )
            events = [event for page in pages for event in page["events"]]
            got = [
                event["timestamp"].timestamp()
                for event in events
                # And not because its turn had come, or the time to look again.
                if event.get("stateExitedEventDetails", {}).get("name") == "Acquire"
                and "generation" in json.loads(event["stateExitedEventDetails"]["output"])
            ]
            if got:
                spans.append((got[-1], events[-1]["timestamp"].timestamp()))
        return sorted(spans)

    def assert_one_at_a_time(self) -> None:
        spans = self.at_work()
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end <= start + 0.001, spans

    def situation(self) -> str:
        """For a failing test: who runs and who holds what."""
        return json.dumps(
            {
                "lease": {k: str(v) for k, v in self.item(f"endpoint/{ENDPOINT}").items()},
                "executions": [
                    (each["name"], each["status"], self.entered(each["executionArn"])[-3:])
                    for each in self.executions()
                ],
            },
            indent=1,
        )

    def assert_sound(self, serves: str | None = "", *, lost: bool = False) -> None:
        """What must hold after every fault. `serves`: the model that must answer, None for no endpoint."""
        assert self.orphans() == []
        assert self.holder() is None
        assert self.gathering() == []
        if serves != "":
            assert self.answering() == serves
        if not lost:
            assert self.lost() == []
