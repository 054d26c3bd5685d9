"""Which log streams belong to what `lexline logs` is asked for, merged into one in order of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lexline.errors import UserError
from lexline.joblog import ENDPOINTS, TRAINING_JOBS, Line, LogReader
from lexline.runs import Run
from lexline.target import Stack, Target


@dataclass(frozen=True)
class Labelled:
    """A reader and the word that tells its lines apart; "" where there is only one."""

    label: str
    reader: LogReader


def of_training(
    target: Target, run: Run, *, wait: bool, sleep: Callable[[float], None] = time.sleep
) -> list[Labelled]:
    """The run's training job, whose name ends with the run's id; `wait` for it while the run is on its way.

    Raises UserError when there is none.
    """
    while True:
        # In this order, so that a job made in between is not missed.
        status = target.stepfunctions.describe_execution(executionArn=run.arn)["status"]
        jobs = target.sagemaker.list_training_jobs(NameContains=run.id)["TrainingJobSummaries"]
        if jobs:
            prefix = f"{jobs[0]['TrainingJobName']}/"
            return [Labelled("", LogReader(target.logs, TRAINING_JOBS, prefix))]
        if status != "RUNNING":
            raise UserError(
                f"The run {run.id} ended before it trained.", f"`lexline status {run.id}` tells why."
            )
        if not wait:
            raise UserError(
                f"The run {run.id} has not begun to train.", f"`lexline logs {run.id} --follow` waits for it."
            )
        sleep(1)


def of_endpoint(target: Target, stack: Stack) -> list[Labelled]:
    """Every instance behind the endpoint, of earlier models too."""
    return [Labelled("", LogReader(target.logs, f"{ENDPOINTS}{stack.endpoint}"))]


def of_functions(target: Target) -> list[Labelled]:
    """Every Lambda function of the stack, each line with the function's name in front."""
    readers = []
    pages = target.cloudformation.get_paginator("list_stack_resources").paginate(StackName=target.stack)
    for page in pages:
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] == "AWS::Lambda::Function" and resource.get("PhysicalResourceId"):
                label = resource["LogicalResourceId"].removesuffix("Function")
                group = f"/aws/lambda/{resource['PhysicalResourceId']}"
                readers.append(Labelled(label, LogReader(target.logs, group)))
    return readers


def merged(readers: Sequence[Labelled]) -> Iterator[tuple[str, Line]]:
    """What is new in all of them, oldest first."""
    lines = [(each.label, line) for each in readers for line in each.reader.new()]
    yield from sorted(lines, key=lambda pair: pair[1].when)
