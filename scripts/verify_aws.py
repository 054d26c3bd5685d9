"""Compare AWS with the local cloud: run one scenario on both, and print what differs.

    python scripts/verify_aws.py --profile me [--region us-east-1] [--output build/verify-aws.json]

The scenario deploys the template under a fresh stack name, trains on a small corpus, generates text, has a
model rejected, deploys a second one, rolls back, and deletes everything. It uses the command `lexline` as a
person would, and records what AWS's services return: the states of each execution, the statuses of jobs and
endpoint, HTTP statuses of the API, error codes and messages of the SDK. Times are printed, and not compared.

Exit codes: 0 AWS and the local cloud agree; 1 they differ; 2 the scenario could not be completed. The script
deletes the stack in each case. If that fails, its last lines name the command that deletes the stack.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from lexline.aws import history, runs, target
from lexline.aws import stack as stacks
from lexline.aws.stack import Stack
from lexline.aws.target import Target
from localcloud import control

REPOSITORY = Path(__file__).resolve().parent.parent
# A model this small trains in seconds. A second model is about as good, so it needs some tolerance.
# samconfig.toml creates the role for notebooks on the local cloud only.
PARAMETERS = [
    "Emsize=16",
    "Nhid=16",
    "Nlayers=1",
    "Epochs=1",
    "QuietSeconds=5",
    "Tolerance=1",
    "NotebookRole=NONE",
]
DATASET = "verification"
# Parts of error messages that are different at each call.
_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{12}\b|[a-z]{2}(-[a-z]+)+-\d\b|verify-[0-9a-f]{6}"
)


class Incomplete(Exception):
    """A command of the scenario failed, so the rest of the scenario cannot be run."""


@dataclass(frozen=True)
class Observation:
    """What one place did at one point of the scenario.

    Attributes:
        value: What is compared.
        seconds: How long it took, or None. This is not compared.
    """

    value: Any
    seconds: float | None = None


@dataclass
class Scenario:
    """The scenario in one place, and what was observed there.

    Attributes:
        stack_name: Name of the stack that the scenario creates.
        place: The options of `lexline` that select the place, beside the stack.
        environment: The environment of the command.
        connect: Returns the place for clients, once the command has deployed there.
        corpus: The text to train on.
        parameters: Parameters of the stack, as NAME=VALUE.
        seen: The observations, by their names, in order.
    """

    stack_name: str
    place: list[str]
    environment: Mapping[str, str]
    connect: Callable[[], Target]
    corpus: Path
    parameters: list[str]
    seen: dict[str, Observation] = field(default_factory=dict)

    def run(self) -> None:
        """Run the whole scenario, and delete the stack whatever happens.

        Raises:
            Incomplete: A command failed.
        """
        try:
            self._deploy()
            stack = stacks.read(self.connect())
            self._look_at_empty_stack(stack)
            self._follow(stack, "first model", ["run", str(self.corpus), "--dataset", DATASET])
            self._generate(stack)
            again = ["run", "--dataset", DATASET, "--force"]
            rejecting = [*again, "--max-perplexity", "1.5"]
            self._follow(stack, "rejected model", rejecting, fails=True)
            self._follow(stack, "second model", [*again, "--set", "seed=2"])
            self._follow(stack, "rollback", ["rollback"])
            self._look_at_errors(stack)
        finally:
            self._delete()

    def _note(self, name: str, value: Any, seconds: float | None = None) -> None:
        print(f"  {name}: {json.dumps(value)}", flush=True)
        self.seen[name] = Observation(value, seconds)

    def _lexline(self, *arguments: str, fails: bool = False) -> tuple[str, float]:
        """Run the command. Return its output and its seconds. Raise Incomplete for another exit code."""
        command = [sys.executable, "-m", "lexline.cli", *arguments, "--stack", self.stack_name, *self.place]
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, check=False
        )
        if (done.returncode == 1) != fails or done.returncode > 1:
            shown = " ".join(["lexline", *command[3:]])
            raise Incomplete(f"`{shown}` ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout, time.monotonic() - began

    def _deploy(self) -> None:
        parameters = [part for each in self.parameters for part in ("--parameter", each)]
        _, seconds = self._lexline("up", *parameters)
        where = self.connect()
        pages = where.cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.stack_name)
        found = [resource for page in pages for resource in page["StackResourceSummaries"]]
        resources = {each["LogicalResourceId"]: each["ResourceStatus"] for each in found}
        self._note(
            "stack: resources that are not created", _other_than(resources, "CREATE_COMPLETE"), seconds
        )
        self._note("stack: names of resources", sorted(map(_without_hash, resources)))

    def _look_at_empty_stack(self, stack: Stack) -> None:
        self._note("API without a key", _request(stack, "GET", "/health", keyed=False))
        self._note("API: health", _request(stack, "GET", "/health"))
        self._note("API without a model", _request(stack, "POST", "/generate", {"words": 5}))

    def _follow(self, stack: Stack, name: str, command: list[str], *, fails: bool = False) -> None:
        """Run a command that starts an execution, and note how the execution went."""
        before = {run.arn for run in runs.recent(stack)}
        with _statuses(stack) as statuses:
            _, seconds = self._lexline(*command, fails=fails)
        (run,) = [run for run in runs.recent(stack) if run.arn not in before]
        states = stack.target.stepfunctions
        execution = states.describe_execution(executionArn=run.arn)
        steps = history.steps_of(history.events_of(states, run.arn))
        report = json.loads(execution.get("output", "{}"))
        self._note(f"{name}: execution", [execution["status"], report.get("status")], seconds)
        self._note(f"{name}: fields of its input", sorted(json.loads(execution["input"])))
        self._note(f"{name}: event in the report", report.get("event"))
        for step in steps:
            # Retries depend on the moment; errors do not.
            self._note(f"{name}: step {step.name}", [step.state, step.error], step.seconds)
        self._note(f"{name}: statuses of the endpoint", statuses)
        if job := (report.get("job") or {}).get("job"):
            described = stack.target.sagemaker.describe_training_job(TrainingJobName=job)
            transitions = [each["Status"] for each in described["SecondaryStatusTransitions"]]
            self._note(f"{name}: training job", [described["TrainingJobStatus"], *transitions])

    def _generate(self, stack: Stack) -> None:
        request = {"words": 20, "seed": 111, "temperature": 0.8}
        texts = [_send(stack, "POST", "/generate", request)[1] for _ in range(2)]
        self._note("API: the same request has the same text", texts[0] == texts[1])
        self._note("API: fields of a text", sorted(json.loads(texts[0])))
        wrong = {
            "field of another type": {"words": "many"},
            "unknown field": {"wrds": 5},
            "empty request": {},
        }
        for problem, body in wrong.items():
            self._note(f"API: {problem}", _request(stack, "POST", "/generate", body))
        self._note("API: unknown path", _request(stack, "GET", "/nowhere"))
        self._note("API: model", _request(stack, "GET", "/model"))
        runtime = stack.target.session.client("sagemaker-runtime", endpoint_url=stack.target.endpoint_url)

        def invoke(body: bytes) -> list[Any]:
            response = runtime.invoke_endpoint(
                EndpointName=stack.endpoint, ContentType="application/json", Body=body
            )
            return [response["ContentType"], response["InvokedProductionVariant"]]

        self._note("endpoint: response", invoke(json.dumps(request).encode()))
        self._note("endpoint: request that is not JSON", _error_of(lambda: invoke(b"{")))

    def _look_at_errors(self, stack: Stack) -> None:
        """Note the errors whose codes or messages the pipeline tells apart."""
        name, sagemaker = f"{stack.endpoint}--missing", stack.target.sagemaker
        states, s3 = stack.target.stepfunctions, stack.target.s3
        serving = sagemaker.describe_endpoint(EndpointName=stack.endpoint)["EndpointConfigName"]
        container: Any = sagemaker.describe_model(ModelName=serving)
        calls: dict[str, Callable[[], Any]] = {
            "DescribeEndpoint": lambda: sagemaker.describe_endpoint(EndpointName=name),
            "DescribeEndpointConfig": lambda: sagemaker.describe_endpoint_config(EndpointConfigName=name),
            "DescribeModel": lambda: sagemaker.describe_model(ModelName=name),
            "DescribeTrainingJob": lambda: sagemaker.describe_training_job(TrainingJobName=name),
            "DescribeModelPackageGroup": lambda: sagemaker.describe_model_package_group(
                ModelPackageGroupName=name
            ),
            "DeleteEndpoint": lambda: sagemaker.delete_endpoint(EndpointName=name),
            "DeleteEndpointConfig": lambda: sagemaker.delete_endpoint_config(EndpointConfigName=name),
            "DeleteModel": lambda: sagemaker.delete_model(ModelName=name),
            "StopTrainingJob": lambda: sagemaker.stop_training_job(TrainingJobName=name),
            "UpdateEndpoint without a config": lambda: sagemaker.update_endpoint(
                EndpointName=stack.endpoint, EndpointConfigName=name
            ),
            "CreateModel of an existing name": lambda: sagemaker.create_model(
                ModelName=serving,
                PrimaryContainer=container["PrimaryContainer"],
                ExecutionRoleArn=container["ExecutionRoleArn"],
            ),
            "SendTaskSuccess with an unknown token": lambda: states.send_task_success(
                taskToken="unknown", output="{}"
            ),
            "StartExecution with an input that is not JSON": lambda: states.start_execution(
                stateMachineArn=stack.state_machine_arn, input="{"
            ),
            "PutObject over an existing object with If-None-Match": lambda: s3.put_object(
                Bucket=stack.bucket,
                Key=f"uploads/{DATASET}/{self.corpus.name}",
                Body=b"",
                IfNoneMatch="*",
            ),
        }
        for call, make in calls.items():
            self._note(f"error of {call}", _error_of(make))

    def _delete(self) -> None:
        where, name = self.connect(), self.stack_name
        _, seconds = self._lexline("down", "--yes")
        # The deletion of the last stack stops the local cloud, so nothing can be left there.
        left = [] if where.local else _names_of(where, name)
        self._note("left after the deletion", left, seconds)


def _names_of(where: Target, part: str) -> list[str]:
    """Return the names that contain `part`, of endpoints, endpoint configs and models."""
    client = where.sagemaker
    return [
        *(each["EndpointName"] for each in client.list_endpoints(NameContains=part)["Endpoints"]),
        *(
            each["EndpointConfigName"]
            for each in client.list_endpoint_configs(NameContains=part)["EndpointConfigs"]
        ),
        *(each["ModelName"] for each in client.list_models(NameContains=part)["Models"]),
    ]


def _other_than(resources: Mapping[str, str], status: str) -> dict[str, str]:
    return {name: found for name, found in resources.items() if found != status}


def _without_hash(logical_id: str) -> str:
    """Return the logical id without the hash that SAM adds to the ids of layers and deployments."""
    return re.sub(r"[0-9a-f]{10}$", "", logical_id)


@contextmanager
def _statuses(stack: Stack) -> Iterator[list[str]]:
    """Collect the endpoint's statuses until the block ends, each time that it changes."""
    seen: list[str] = []
    over = threading.Event()

    def look() -> None:
        try:
            status = stack.target.sagemaker.describe_endpoint(EndpointName=stack.endpoint)["EndpointStatus"]
        except ClientError:
            return
        if status not in seen[-1:]:
            seen.append(status)

    def look_repeatedly() -> None:
        while not over.wait(0.2 if stack.target.local else 3):
            look()

    look()
    thread = threading.Thread(target=look_repeatedly)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        look()


def _request(stack: Stack, method: str, path: str, body: Any = None, *, keyed: bool = True) -> list[Any]:
    """Return the status of an HTTP request to the API, and the code in its answer."""
    status, text = _send(stack, method, path, body, keyed=keyed)
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    return [status, content.get("code") if isinstance(content, dict) else "not JSON"]


def _send(stack: Stack, method: str, path: str, body: Any = None, *, keyed: bool = True) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"}
    if keyed:
        key = stack.target.apigateway.get_api_key(apiKey=stack.api_key_id, includeValue=True)
        headers["x-api-key"] = key["value"]
    data = None if body is None else json.dumps(body)
    request = AWSRequest(method, f"{stack.api_url}{path}", headers, data)
    response = URLLib3Session(timeout=35).send(request.prepare())
    return response.status_code, response.text


def _error_of(call: Callable[[], Any]) -> list[str]:
    """Return the code and the message of the error that a call raises, without what differs at each call."""
    try:
        call()
    except ClientError as error:
        return [error.response["Error"]["Code"], _VARIABLE.sub("*", error.response["Error"]["Message"])]
    return ["no error", ""]


def differences(aws: Mapping[str, Observation], local: Mapping[str, Observation]) -> list[str]:
    """Return a paragraph for each observation that is not the same in both places."""
    missing = Observation("(not observed)")
    return [
        f"{name}\n    AWS:   {json.dumps(there.value)}\n    local: {json.dumps(here.value)}"
        for name in dict.fromkeys((*aws, *local))
        if (there := aws.get(name, missing)).value != (here := local.get(name, missing)).value
    ]


def times(aws: Mapping[str, Observation], local: Mapping[str, Observation]) -> list[str]:
    """Return a line with both times for each observation that has a time in both places."""
    return [
        f"{name:<50} {there.seconds:>8.1f} s {here.seconds:>8.1f} s"
        for name, there in aws.items()
        if (here := local.get(name)) and there.seconds is not None and here.seconds is not None
    ]


def main() -> int:
    """Run the scenario on the local cloud and on AWS, print the differences, and return the exit code."""
    parser = argparse.ArgumentParser(description="Compare AWS with the local cloud.")
    parser.add_argument("--profile", required=True, help="AWS profile to deploy with")
    parser.add_argument("--region", help="AWS region; by default the profile's")
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another parameter of the stack",
    )
    parser.add_argument(
        "--output", type=Path, help="write everything that was observed to this file, as JSON"
    )
    given = parser.parse_args()
    parameters = [*PARAMETERS, *given.parameter]
    name = f"verify-{secrets.token_hex(3)}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LEXLINE_")}
    region = ["--region", given.region] if given.region else []
    with tempfile.TemporaryDirectory(prefix="lexline-verify-") as folder:
        home, corpus = Path(folder) / "home", Path(folder) / "corpus.txt"
        environment = {**clean, "LEXLINE_HOME": str(home), "COLUMNS": "200"}
        subprocess.run(
            [sys.executable, "scripts/sotu_corpus.py", "--words", "12000", str(corpus)],
            cwd=REPOSITORY,
            check=True,
        )
        places = {
            "the local cloud": Scenario(
                name, [], environment, lambda: target.for_running_cloud(home, name), corpus, parameters
            ),
            "AWS": Scenario(
                name,
                ["--profile", given.profile, *region],
                environment,
                lambda: target.for_profile(given.profile, name, given.region, home),
                corpus,
                parameters,
            ),
        }
        # If this script is killed, the local cloud ends with it. One that `lexline up` started would not.
        control.start(home, owner=os.getpid(), environment=environment)
        for place, scenario in places.items():
            print(f"\n== The scenario on {place}, stack {name}", flush=True)
            try:
                scenario.run()
            except Incomplete as error:
                print(f"\nThe scenario on {place} could not be completed. {error}", file=sys.stderr)
                if scenario.place:
                    command = f"lexline down --stack {name} {' '.join(scenario.place)}"
                    print(f"If the stack still exists, delete it with `{command}`.", file=sys.stderr)
                return 2
    local, aws = (scenario.seen for scenario in places.values())
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        everything = {"aws": aws, "local": local}
        given.output.write_text(json.dumps(everything, default=vars, indent=1) + "\n", encoding="utf-8")
    print(f"\n== Times{'AWS':>54} {'local':>10}", *times(aws, local), sep="\n")
    found = differences(aws, local)
    print(f"\n== Differences: {len(found)}", *found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
