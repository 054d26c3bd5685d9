"""A run: the plan, the gathering of its uploads, and its lease."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from contracts.base import Contract, DatasetName, EndpointName, RunName
from contracts.request import (
    CleanupOf,
    GitSource,
    HostingResources,
    Hyperparameters,
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
    """`request` is checked against ExecutionInput after the deployment's defaults are laid under it."""

    execution: Execution
    request: dict[str, object]


class Run(Contract):
    """One run, fully decided.

    Training job, model and endpoint config all carry `name`; the endpoint is `endpoint`. `subject` is the run
    whose resources are meant: this one, or the one to take down or to clean up after. `dataset` is None where
    `work` is on no dataset in particular.
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
    teardown: Teardown


class GatherInput(Contract):
    """The run whose dataset's uploads are gathered."""

    run: Run


class Gathered(Contract):
    """Seconds until the run may begin; 0 if it may begin now.

    `joined` is the other run that takes this run's upload along; this run then ends.
    """

    seconds: int = Field(ge=0)
    joined: RunName | None = None


class AcquireInput(Contract):
    """`token` is the state's task token; it is answered when the lease is this run's."""

    token: str
    run: Run


class Lease(Contract):
    """The right to change the endpoint, held by one run at a time. `generation` rises with every holder."""

    owner: RunName
    generation: int = Field(ge=1)
