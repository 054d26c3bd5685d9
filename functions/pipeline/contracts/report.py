"""The contract of Report: the state of the finished run, and the document about it."""

from datetime import date
from typing import Literal

from pydantic import Field

from contracts.base import Contract, RunName, S3Uri
from contracts.dataset import PrepareOutcome
from contracts.registry import Registered
from contracts.run import Execution, Gathered, Lease, Run
from contracts.serving import Caught, Compensated, Deployed, Finished, ModelCreated, SmokeTested, TeardownDone
from contracts.training import Comparison, Evaluated, Metrics, Source, Trained

Status = Literal["Succeeded", "Unchanged", "Skipped", "Rejected", "Failed"]
Event = Literal[
    "deployed", "rolled_back", "teardown", "cleanup", "unchanged", "skipped", "rejected", "failed"
]


HyperparameterValue = bool | int | float | str


class ReportInput(Contract):
    """The results of all steps; None for a step that the run did not reach.

    `caught` holds the error that ended the run, then the errors of the cleanup. `skipped` is the error with
    which a step said that this run has nothing to do.
    """

    execution: Execution
    run: Run | None
    gathered: Gathered | None
    lease: Lease | None
    prepared: PrepareOutcome | None
    source: Source | None
    trained: Trained | None
    evaluated: Evaluated | None
    registered: Registered | None
    model: ModelCreated | None
    deployed: Deployed | None
    smoke_test: SmokeTested | None
    finished: Finished | None
    teardown: TeardownDone | None
    compensated: Compensated | None
    caught: list[Caught]
    skipped: Caught | None


class Estimate(Contract):
    """An estimate of cost from the price table of `prices_date` for `prices_region`.

    `notes` are sentences that qualify the numbers.
    """

    prices_date: date
    prices_region: str
    notes: list[str]


class RunCost(Estimate):
    """The cost of a run's training job in US dollars; None if the price table lacks the instance type.

    `training` is billable seconds x instances x `price_per_hour` / 3600, and `total` has no other part. With
    spot instances, `spot_saving` is the share that SageMaker saved, and `spot_saved` the saved amount.
    """

    instance_type: str
    instance_count: int
    training_seconds: int
    billable_seconds: int
    price_per_hour: float | None
    training: float | None
    spot: bool
    spot_saving: float | None
    spot_saved: float | None
    total: float | None


class EndpointCost(Estimate):
    """The running cost of an endpoint in US dollars; None if the price table lacks its price.

    A real-time endpoint has `instance_type` and `instance_count`, a serverless endpoint has `memory_mb`. A
    serverless endpoint costs nothing while it is idle: `per_hour`, `per_day` and `per_month` are 0, and
    `per_1000_requests` is the price of requests that take `seconds_per_request` each.
    """

    kind: Literal["real-time", "serverless"]
    instance_type: str | None = None
    instance_count: int | None = None
    memory_mb: int | None = None
    per_hour: float | None = None
    per_day: float | None = None
    per_month: float | None = None
    seconds_per_request: float | None = None
    per_1000_requests: float | None = None


class Failure(Contract):
    """The reason for a failure: error class, message and step; then the errors of the cleanup."""

    error: str
    message: str
    step: str
    cleanup: list[str]


class Report(Contract):
    """The execution's output, and the message that the topic gets. `build` in steps/report.py fills it.

    `headline` says the outcome in a sentence or two, and `reason` explains it. `hyperparameters` are the
    values that the training job used, those left to the recipe included; if no training job reported them,
    those that the request sets.
    `joined` is the run that takes this run's upload along. `durations` are seconds by step and in `total`;
    empty if they are not known. `removed` lists deleted resources as `<kind>/<name>`. `page` is the S3 URI of
    this report as a web page; None if there is no page.
    """

    status: Status
    event: Event
    headline: str = ""
    reason: str
    run: str | None
    work: str | None
    execution: str
    joined: RunName | None
    dataset: PrepareOutcome | None
    source: Source | None
    hyperparameters: dict[str, HyperparameterValue] = Field(default={})
    job: Trained | None
    metrics: Metrics | None
    comparison: Comparison | None
    registered: Registered | None
    model: ModelCreated | None
    endpoint: Deployed | None
    smoke_test: SmokeTested | None
    finished: Finished | None
    cost: RunCost | None
    standing_cost: EndpointCost | None
    durations: dict[str, float]
    removed: list[str]
    error: Failure | None
    page: S3Uri | None
