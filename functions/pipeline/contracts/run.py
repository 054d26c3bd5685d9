"""A run: the plan, the gathering of its uploads, and its lease."""

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.base import Contract, DatasetName, EndpointName, RunName
from contracts.request import (
    CleanupOf,
    GitSource,
    HostingResources,
    Hyperparameters,
    Incomparable,
    Teardown,
    TeardownOf,
    TrainingResources,
    Upload,
)


class Execution(Contract):
    """The state machine's execution, from its context object."""

    id: str = Field(pattern=r"^arn:[^:]+:states:[^:]+:[^:]+:(execution|express):.+$")
    started: AwareDatetime


class PlanInput(Contract):
    """The input of Plan; `request` becomes an ExecutionInput, with the deployment's defaults filled in."""

    execution: Execution
    request: dict[str, object]


class Run(Contract):
    """One run, with everything decided.

    The training job, the model and the endpoint config all have the name `name`; the endpoint is `endpoint`.
    `subject` is the run whose resources are meant: this one, or the one to tear down or to clean up after.
    `dataset` is None if the work is not about a dataset.
    """

    name: RunName
    endpoint: EndpointName
    execution: Execution
    work: Literal["train", "deploy", "teardown", "cleanup"]
    subject: RunName
    dataset: DatasetName | None
    upload: Upload | None
    model: str | None
    teardown_of: TeardownOf | None
    cleanup_of: CleanupOf | None
    force: bool
    source: GitSource | None
    hyperparameters: Hyperparameters
    training: TrainingResources
    hosting: HostingResources
    max_perplexity: float | None
    tolerance: float
    incomparable: Incomparable = "reject"
    teardown: Teardown


class Lease(Contract):
    """The right to change the endpoint, held by one run at a time. `generation` rises with every owner."""

    owner: RunName
    generation: int = Field(ge=1)


class StepInput(Contract):
    """The input of a step: the run, and the results of the steps before that it needs."""

    run: Run


class LeasedInput(StepInput):
    """The input of a step that changes the endpoint or may take long.

    The lease is renewed before the step works (entry_point.py).
    """

    lease: Lease


class GatherInput(StepInput):
    """The input of Gather."""


class Gathered(Contract):
    """The result of Gather.

    `seconds` is how long the dataset still has to be quiet; 0 when the run may begin. `joined` is the run
    that takes this upload along, if another execution gathers for the dataset already.
    """

    seconds: int = Field(ge=0)
    joined: RunName | None = None


class AcquireInput(StepInput):
    """The input of Acquire; `token` is the state's task token, completed when the run has the lease."""

    token: str
