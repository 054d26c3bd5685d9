"""Runs of the pipeline: start them and find them.

Each run is one execution of the state machine. An upload that joins another run has no run of its own: its
execution ends at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from lexline.aws import arrivals, history, uploads
from lexline.aws.stack import Stack
from lexline.aws.uploads import Uploaded
from lexline.core.errors import UsageError, UserError

_ID_IN_NAME = re.compile(r"-([0-9a-f]{12})$")
_RECENT = 20
"""How many of the newest executions may belong to an upload."""
_NEWEST, _MOST_IN_PROGRESS = 5, 10
"""How many of the newest executions the overview has in any case, and of those in progress at most."""
_LISTED = 1000
"""How many of the newest executions are searched by name: the most that ListExecutions returns at once."""


@dataclass(frozen=True)
class Run:
    """One execution of the state machine."""

    arn: str
    status: str
    started: datetime
    stopped: datetime | None

    @property
    def id(self) -> str:
        """The run's id, which is short enough to type."""
        return run_id(self.arn)

    @property
    def name(self) -> str:
        """The execution's name."""
        return self.arn.rsplit(":", 1)[1]


def run_id(execution_arn: str) -> str:
    """Return the id of an execution's run: 12 hex digits at the end of every name that the run makes."""
    return hashlib.sha256(execution_arn.encode()).hexdigest()[:12]


def id_in(name: str) -> str:
    """Return the run id at the end of a name, or the whole name if it has none."""
    match = _ID_IN_NAME.search(name)
    return match[1] if match else name


def beginning_of_name(stack: Stack, dataset: str) -> str:
    """Return how the names of a dataset's runs begin, before the id: the pipeline's core.names.run_name."""
    slug = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")[:18].strip("-")
    return f"{stack.endpoint}--{slug}-"


def dataset_in(request: Any) -> str:
    """Return the dataset that an execution's input names, or "". Anybody may start one with any input."""
    if isinstance(request, dict) and "dataset" in request:
        return str(request["dataset"])
    parts = str(upload_in(request).get("key", "")).split("/")
    return parts[1] if len(parts) > 2 else ""


def upload_in(request: Any) -> dict[str, Any]:
    """Return the S3 event in an execution's input, or {} if no upload started the execution."""
    upload = request.get("upload") if isinstance(request, dict) else None
    return upload if isinstance(upload, dict) else {}


def start(stack: Stack, subject: str, request: Mapping[str, Any]) -> Run:
    """Start an execution with a request.

    Args:
        stack: The stack that runs it.
        subject: A few words for the beginning of the execution's name.
        request: The execution's input.
    """
    slug = re.sub(r"[^A-Za-z0-9]+", "-", subject).strip("-")[:40]
    name = f"{slug}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    started = stack.target.stepfunctions.start_execution(
        stateMachineArn=stack.state_machine_arn, name=name, input=json.dumps(request)
    )
    return Run(started["executionArn"], "RUNNING", started["startDate"], None)


def problem_with(stack: Stack, request: Mapping[str, Any]) -> str:
    """Return what is invalid in a request, or "".

    Return "" also if this user may not invoke functions. The run itself then names the problem.
    """
    return planned(stack, request)[1]


def planned(stack: Stack, request: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the run that a request would have, with the stack's defaults, and what is invalid in it.

    Plan, the first step, decides it and changes nothing. If the request is invalid, or if this user may not
    invoke functions, the run is {}; in the second case, the problem is "".
    """
    now = datetime.now(UTC)
    execution = stack.state_machine_arn.replace(":stateMachine:", ":execution:") + ":check"
    given = {"execution": {"id": execution, "started": now.isoformat()}, "request": request}
    try:
        plan = stack.target.cloudformation.describe_stack_resource(
            StackName=stack.target.stack_name, LogicalResourceId="PlanFunction"
        )["StackResourceDetail"]["PhysicalResourceId"]
        response = stack.target.functions.invoke(FunctionName=plan, Payload=json.dumps(given))
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException"):
            raise
        return {}, ""
    result = history.parsed(response["Payload"].read().decode())
    if not isinstance(result, dict):
        return {}, ""
    if result.get("errorType") == "InvalidInput":
        return {}, str(result["errorMessage"])
    return (result, "") if "name" in result else ({}, "")


def recent(stack: Stack, count: int = _RECENT) -> list[Run]:
    """Return the newest executions, newest first."""
    response = stack.target.stepfunctions.list_executions(
        stateMachineArn=stack.state_machine_arn, maxResults=count
    )
    runs = [
        Run(item["executionArn"], item["status"], item["startDate"], item.get("stopDate"))
        for item in response["executions"]
    ]
    # Step Functions orders the executions that have ended by their ends.
    return sorted(runs, key=lambda run: run.started, reverse=True)


def in_progress(stack: Stack) -> list[Run]:
    """Return the runs in progress, newest first, at most 10 of them."""
    return [run for run in recent(stack, _LISTED) if run.status == "RUNNING"][:_MOST_IN_PROGRESS]


def to_show(stack: Stack, names: Collection[str]) -> list[Run]:
    """Return the runs that matter, newest first: the newest ones, those in progress, and the named ones.

    Executions with invalid input may be many, and must not hide the others.
    """
    ids, in_progress, chosen = {id_in(name) for name in names}, 0, []
    for number, run in enumerate(recent(stack, _LISTED)):
        in_progress += run.status == "RUNNING"
        running = run.status == "RUNNING" and in_progress <= _MOST_IN_PROGRESS
        if number < _NEWEST or running or run.id in ids:
            chosen.append(run)
    return chosen


def find(stack: Stack, wanted: str | None) -> Run:
    """Return one of the newest 1,000 runs.

    Args:
        stack: The stack to search.
        wanted: The run's id, execution name, ARN or training job. None means the newest run that had a valid
            request and something to do. If it is an upload that joined another run, it means the other run.

    Raises:
        UserError: There is no run.
        UsageError: None of the runs matches.
    """
    runs = recent(stack, _LISTED)
    if not runs:
        raise UserError("There are no runs yet.", "Start one with `lexline run FILE`.")
    if wanted is None:
        for run in runs[:_RECENT]:
            events = history.events_of(stack.target.stepfunctions, run.arn)
            planned = next(history.outputs_of(events, history.PLAN), None)
            joined = _named(history.joined(events), runs)
            report = next(history.outputs_of(events, history.REPORT), {})
            if joined or run.status == "RUNNING" or (planned and report.get("status") != "Skipped"):
                return joined or run
        return runs[0]
    for run in runs:
        if wanted in (run.id, run.name, run.arn) or wanted.endswith(f"-{run.id}"):
            return run
    raise UsageError(f"There is no recent run {wanted}.", "`lexline status` lists the newest runs.")


def started_by(
    stack: Stack, uploaded: Uploaded, *, patience: float, sleep: Callable[[float], None] = time.sleep
) -> Run:
    """Wait for the run that trains on everything that has been uploaded to a dataset, and return it.

    S3 and EventBridge take a second or two to start an execution. If another run already gathers the
    dataset's uploads, that run reads this one, too, and this function returns it.

    Args:
        stack: The stack that the object was uploaded to.
        uploaded: The object that was uploaded last.
        patience: Seconds to wait for the execution.
        sleep: Waits between two looks.

    Raises:
        UserError: The upload started no execution within `patience` seconds.
    """
    dataset = uploaded.key.split("/")[1]
    seen: set[str] = set()
    deadline = time.monotonic() + patience
    while True:
        # A folder of files starts an execution for each file, more than `recent` returns.
        if run := _gathering(stack, dataset):
            return run
        # Oldest first: if the event was delivered twice, the first execution is the one that does the work.
        for run in reversed(recent(stack)):
            if run.arn in seen:
                continue
            seen.add(run.arn)
            if _is_from(stack, run, uploaded):
                return _gatherer(stack, run, sleep)
        if time.monotonic() > deadline:
            raise UserError(
                f"{uploaded.key} was uploaded, but it has not started a run yet.",
                "S3 can take five minutes to announce uploads to a new bucket. To start the run yourself: "
                f"`lexline run --dataset {dataset}`.",
            )
        sleep(_interval(stack))


def newest(stack: Stack, *, sleep: Callable[[float], None] = time.sleep) -> Run:
    """Return the newest run. If something has just been uploaded, wait for its run, which is the newest then.

    Raises:
        UserError: There is no run.
    """
    last = uploads.newest(stack)
    if last is not None:
        uploaded, when = last
        patience = upload_patience(stack) - (datetime.now(UTC) - when).total_seconds()
        if patience > 0:
            with contextlib.suppress(UserError):
                started_by(stack, uploaded, patience=min(patience, upload_patience(stack)), sleep=sleep)
    return find(stack, None)


def upload_patience(stack: Stack) -> float:
    """Return how many seconds an upload may take to start an execution."""
    return 30 if stack.target.local else 180


def _gathering(stack: Stack, dataset: str) -> Run | None:
    """Return the run that gathers a dataset's uploads, if it is in progress."""
    arn = arrivals.gatherer(stack, dataset)
    if arn is None:
        return None
    try:
        execution = stack.target.stepfunctions.describe_execution(executionArn=arn)
    except stack.target.stepfunctions.exceptions.ExecutionDoesNotExist:
        return None
    # The execution may have been aborted. Then the next upload's execution gathers in its place.
    if execution["status"] != "RUNNING":
        return None
    return Run(arn, execution["status"], execution["startDate"], None)


def _interval(stack: Stack) -> float:
    return 0.5 if stack.target.local else 2


def _gatherer(stack: Stack, run: Run, sleep: Callable[[float], None]) -> Run:
    while (joined := history.joined(history.events_of(stack.target.stepfunctions, run.arn))) is None:
        sleep(_interval(stack))
    return (_named(joined, recent(stack, _LISTED)) if joined else None) or run


def _named(name: str | None, runs: Sequence[Run]) -> Run | None:
    return next((run for run in runs if name and run.id == id_in(name)), None)


def _is_from(stack: Stack, run: Run, uploaded: Uploaded) -> bool:
    execution = stack.target.stepfunctions.describe_execution(executionArn=run.arn)
    event = upload_in(history.parsed(execution.get("input", "")))
    return (
        event.get("key") == uploaded.key
        and str(event.get("etag")).strip('"') == uploaded.etag
        and (
            not uploaded.version_id
            or event.get("version_id", uploaded.version_id) in (uploaded.version_id, "")
        )
    )
