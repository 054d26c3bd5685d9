"""The report: what the last step receives and what it tells people."""

from __future__ import annotations

from datetime import date
from typing import Literal

from contracts.base import Contract, S3Uri
from contracts.dataset import PrepareOutcome
from contracts.registry import Registered
from contracts.run import Execution, Lease, Run
from contracts.serving import Caught, Compensated, Deployed, Finished, ModelCreated, SmokeTested, TeardownDone
from contracts.training import Champion, Comparison, Evaluated, Metrics, Source, Trained


class ReportInput(Contract):
    """Everything known when the run ends; None for what was never reached.

    `caught` holds the error that ended the run first, then those of the clean-up. `skipped` is a step's word
    that this run has nothing to do. `durations` are seconds by step.
    """

    execution: Execution
    run: Run | None
    lease: Lease | None
    prepared: PrepareOutcome | None
    source: Source | None
    champion: Champion | None
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
    durations: dict[str, float]


class Estimate(Contract):
    """`prices_date` and `prices_region` are the table's; `notes` are sentences that qualify the figures."""

    prices_date: date
    prices_region: str
    notes: list[str]


class RunCost(Estimate):
    """What a run cost, in US dollars; None where it is not known.

    `training` is billable seconds x instances x `price_per_hour`. `orchestration` is the state machine's and
    the functions' part, None where it was not counted; `total` is then training alone. With spot instances,
    `spot_saving` is the share that SageMaker saved, and `spot_saved` the money.
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
    orchestration: float | None
    total: float | None


class EndpointCost(Estimate):
    """What an endpoint costs for as long as it stands, in US dollars; None where it is not known.

    A real-time endpoint has `instance_type` and `instance_count`, a serverless one `memory_mb`. The latter
    costs nothing while nobody asks, so its `per_hour`, `per_day` and `per_month` are 0. What it does cost is
    `per_1000_requests`, each of `seconds_per_request`.
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
    """Why a run failed: the error's class, its sentence, the step, and what went wrong while cleaning up."""

    error: str
    message: str
    step: str
    cleanup: list[str]


class Report(Contract):
    """The execution's output and the message published to the results topic.

    `page` is the S3 URI of the same as a web page; None for a run that never began.
    """

    status: Literal["Succeeded", "Unchanged", "Skipped", "Rejected", "Failed"]
    event: Literal[
        "deployed",
        "rolled_back",
        "teardown",
        "cleanup",
        "unchanged",
        "skipped",
        "rejected",
        "failed",
    ]
    reason: str
    run: str | None
    work: str | None
    execution: str
    dataset: PrepareOutcome | None
    source: Source | None
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
