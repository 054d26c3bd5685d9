"""CloudWatch logs of training jobs, of the endpoint and of the stack's functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.core.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import GetLogEventsRequestTypeDef

TRAINING_JOBS = "/aws/sagemaker/TrainingJobs"


@dataclass(frozen=True)
class Line:
    """One log event.

    Attributes:
        when: Time of the event.
        text: The message.
        label: The log's label, if several logs are shown together, or "".
    """

    when: datetime
    text: str
    label: str = ""


class LogReader:
    """A reader of one log group that remembers its position.

    Args:
        client: Client of CloudWatch Logs.
        group: Name of the log group, which need not exist yet.
        prefix: The beginning of the names of the streams to read.
        label: Label for the lines.
    """

    def __init__(self, client: CloudWatchLogsClient, group: str, prefix: str = "", label: str = "") -> None:
        self._client = client
        self._group = group
        self._prefix = prefix
        self._label = label
        self._tokens: dict[str, str] = {}

    def read(self) -> list[Line]:
        """Return the lines since the last call, oldest first."""
        try:
            lines = [line for stream in self._streams() for line in self._read(stream)]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return []
        return sorted(lines, key=lambda line: line.when)

    def _streams(self) -> list[str]:
        pages = self._client.get_paginator("describe_log_streams")
        # CloudWatch rejects an empty prefix.
        found = (
            pages.paginate(logGroupName=self._group, logStreamNamePrefix=self._prefix)
            if self._prefix
            else pages.paginate(logGroupName=self._group)
        )
        return [stream["logStreamName"] for page in found for stream in page["logStreams"]]

    def _read(self, stream: str) -> Iterator[Line]:
        request: GetLogEventsRequestTypeDef = {
            "logGroupName": self._group,
            "logStreamName": stream,
            "startFromHead": True,
        }
        while True:
            token = self._tokens.get(stream)
            if token:
                request["nextToken"] = token
            page = self._client.get_log_events(**request)
            for event in page["events"]:
                when = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                yield Line(when, event["message"].rstrip("\n"), self._label)
            self._tokens[stream] = page["nextForwardToken"]
            # At the end of a stream, CloudWatch returns the token that it was given.
            if not page["events"] or page["nextForwardToken"] == token:
                return


def of_training(
    stack: Stack, run: Run, *, wait: bool, sleep: Callable[[float], None] = time.sleep
) -> list[LogReader]:
    """Return a reader for the log of a run's training job.

    Args:
        stack: The stack that the run belongs to.
        run: The run.
        wait: Wait for the training job as long as the run is in progress.
        sleep: Waits between two looks.

    Raises:
        UserError: The run has no training job.
    """
    while True:
        # Get the status first. In the other order, a job created between the two calls would be missed.
        execution = stack.target.stepfunctions.describe_execution(executionArn=run.arn)
        jobs = stack.target.sagemaker.list_training_jobs(NameContains=run.id)["TrainingJobSummaries"]
        if jobs:
            return [LogReader(stack.target.logs, TRAINING_JOBS, f"{jobs[0]['TrainingJobName']}/")]
        if execution["status"] != "RUNNING":
            raise UserError(
                f"The run {run.id} ended without training a model.",
                f"`lexline status {run.id}` shows its result. The log of another run: `lexline logs RUN`.",
            )
        if not wait:
            raise UserError(
                f"The run {run.id} has not started to train.",
                f"To wait for the training: `lexline logs {run.id} --follow`.",
            )
        sleep(1)


def of_endpoint(stack: Stack) -> list[LogReader]:
    """Return a reader for the logs of all instances of the endpoint, those of earlier models included."""
    return [LogReader(stack.target.logs, f"/aws/sagemaker/Endpoints/{stack.endpoint}")]


def of_functions(stack: Stack) -> list[LogReader]:
    """Return a reader for each Lambda function of the stack, labelled with the function's name."""
    pages = stack.target.cloudformation.get_paginator("list_stack_resources")
    return [
        LogReader(
            stack.target.logs,
            f"/aws/lambda/{resource['PhysicalResourceId']}",
            label=resource["LogicalResourceId"].removesuffix("Function"),
        )
        for page in pages.paginate(StackName=stack.target.stack_name)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::Lambda::Function" and resource.get("PhysicalResourceId")
    ]


def merged(readers: Iterable[LogReader]) -> list[Line]:
    """Return the new lines of all readers, oldest first."""
    return sorted((line for reader in readers for line in reader.read()), key=lambda line: line.when)
