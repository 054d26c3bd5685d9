"""An execution's input: what a person, a schedule or an event may ask for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, WrapValidator, model_validator

from contracts.base import Contract, DatasetName, Duration, InstanceType, RunName

# With None, "auto" or no value, the recipe decides. Only `model_scripts/` knows the recipes' numbers.
RecipesOwn = BeforeValidator(lambda value: None if value == "auto" else value)


class Hyperparameters(Contract):
    """The hyperparameters of `model_scripts/train.py`. One that is None is not passed: the recipe decides."""

    recipe: Literal["classic", "fast", "awd"] = "fast"
    emsize: int = Field(default=200, ge=1, le=4096)
    nhid: int = Field(default=200, ge=1, le=8192)
    nlayers: int = Field(default=2, ge=1, le=16)
    lr: Annotated[float | None, RecipesOwn] = Field(default=None, gt=0, le=1000, allow_inf_nan=False)
    clip: Annotated[float | None, RecipesOwn] = Field(default=None, gt=0, le=1000, allow_inf_nan=False)
    epochs: Annotated[int | None, RecipesOwn] = Field(default=None, ge=1, le=1000)
    batch_size: Annotated[int | None, RecipesOwn] = Field(default=None, ge=1, le=4096)
    bptt: int = Field(default=35, ge=1, le=4096)
    dropout: Annotated[float | None, RecipesOwn] = Field(default=None, ge=0, lt=1)
    tied: bool = True
    seed: int = Field(default=1111, ge=0, le=2**32 - 1)
    log_interval: int = Field(default=200, ge=1, le=1_000_000)
    tokenizer: Literal["auto", "prose", "tokenized", "joined"] = "auto"
    max_vocabulary: int = Field(default=250_000, ge=3, le=9_999_999)

    @model_validator(mode="after")
    def _rate_is_of_the_recipe(self) -> Hyperparameters:
        # The stack's default Lr may be meant for another recipe than this run's.
        if self.recipe == "fast" and self.lr is not None and self.lr > 1:
            raise ValueError(
                f"lr {self.lr:g} is too high for recipe fast, which uses Adam: the limit is 1. "
                "Set lr=auto to use the recipe's own, or choose recipe classic or awd"
            )
        return self


class TrainingResources(Contract):
    """The training job's instances; several instances train one model together, each on a part of the text.

    `spot` uses cheaper capacity that AWS may interrupt; the job then resumes from its checkpoint.
    `max_wait_seconds` limits waiting and training together; the default is twice `max_runtime_seconds`.
    """

    instance_type: InstanceType = "ml.m5.xlarge"
    instance_count: int = Field(default=1, ge=1, le=64)
    # SageMaker's default quota for the longest training job is 5 days.
    max_runtime_seconds: int = Field(default=86_400, ge=60, le=432_000)
    spot: bool = True
    max_wait_seconds: int | None = Field(default=None, ge=60, le=864_000)

    @model_validator(mode="after")
    def _waits_as_long_as_it_runs(self) -> TrainingResources:
        if self.max_wait_seconds is not None and self.max_wait_seconds < self.max_runtime_seconds:
            raise ValueError(
                f"max_wait_seconds {self.max_wait_seconds} is less than max_runtime_seconds "
                f"{self.max_runtime_seconds}; it limits waiting for spot capacity and training together"
            )
        return self


class HostingResources(Contract):
    """The endpoint's instances, and how traffic moves to them.

    With `endpoint_type` serverless, only `serverless_memory_mb` and `serverless_max_concurrency` matter.
    `traffic_shifting` says how the traffic of a real-time endpoint moves to new instances; with a single
    instance it moves at once. Alarms watch each shift for `watch_seconds`, and the old instances stay for
    the same time after the last shift. With 0, no alarm watches. If `max_instance_count` exceeds
    `instance_count`, target tracking adds instances to keep each near `invocations_per_instance` requests a
    minute. `max_latency_seconds` limits each response of the smoke test.
    """

    endpoint_type: Literal["real-time", "serverless"] = "real-time"
    instance_type: InstanceType = "ml.m5.large"
    instance_count: int = Field(default=1, ge=1, le=100)
    max_instance_count: int = Field(default=0, ge=0, le=1000)
    invocations_per_instance: int = Field(default=300, ge=1, le=1_000_000)
    traffic_shifting: Literal["all_at_once", "canary", "linear"] = "canary"
    watch_seconds: int = Field(default=300, ge=0, le=3600)
    serverless_memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 3072
    serverless_max_concurrency: int = Field(default=5, ge=1, le=200)
    max_latency_seconds: float = Field(default=10, gt=0, le=60)

    @property
    def scales(self) -> bool:
        """Whether instances are added and removed with the traffic."""
        return self.endpoint_type == "real-time" and self.max_instance_count > self.instance_count

    @model_validator(mode="after")
    def _alarms_have_time_to_go_off(self) -> HostingResources:
        # A minute is the period of SageMaker's metrics, and they come a minute or two after its end:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
        if 0 < self.watch_seconds < 180:
            raise ValueError(
                f"watch_seconds {self.watch_seconds} is too short: an alarm may know of a failed request "
                "only 180 seconds later. Choose 180 or more, or 0 to watch nothing"
            )
        return self

    @model_validator(mode="after")
    def _can_scale(self) -> HostingResources:
        if 0 < self.max_instance_count < self.instance_count:
            raise ValueError(
                f"max_instance_count {self.max_instance_count} is less than instance_count "
                f"{self.instance_count}; choose 0 to turn scaling off"
            )
        # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
        if self.scales and re.match(r"ml\.t\d", self.instance_type):
            raise ValueError(
                f"instance_type {self.instance_type} is burstable, and SageMaker does not scale these; "
                "choose another type, or 0 for max_instance_count"
            )
        return self


class Upload(Contract):
    """The S3 object whose upload started the execution, as EventBridge describes it."""

    bucket: str
    key: str
    etag: str
    size: int = Field(ge=0)
    # Empty if the bucket keeps no versions: EventBridge's input transformer passes an empty string.
    version_id: str = ""


class GitSource(Contract):
    """A Git repository whose scripts train and host the model, instead of the deployment's own scripts.

    `secret` is the name of a secret in Secrets Manager with the credential; a public repository needs none.
    Without `branch` and `commit`, the newest commit of the default branch is used.
    """

    repo: str = Field(min_length=1, max_length=2048)
    branch: str | None = Field(default=None, min_length=1, max_length=255)
    commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{7,40}$")
    secret: str | None = Field(default=None, min_length=1, max_length=512)


class TeardownAfter(Contract):
    """Delete the endpoint this long after the deployment."""

    after: Duration


class TeardownWhenIdle(Contract):
    """Delete the endpoint when it has had no request for this long."""

    when_idle: Duration


def _one_teardown(value: object, validated: Callable[[object], object]) -> object:
    """Read `after:PT8H`, which is how a template parameter says {"after": "PT8H"}."""
    name, colon, duration = value.partition(":") if isinstance(value, str) else ("", "", "")
    try:
        return validated({name: duration} if colon else value)
    except ValidationError as error:
        # pydantic would list an error for each of the possible forms.
        raise ValueError(
            'give "never", "always", "on_failure", {"after": DURATION} or {"when_idle": DURATION}, with a '
            "duration such as PT8H or P1D, of at most 366 days"
        ) from error


Teardown = Annotated[
    Literal["never", "always", "on_failure"] | TeardownAfter | TeardownWhenIdle,
    WrapValidator(_one_teardown),
]


class TeardownOf(Contract):
    """A request to delete the endpoint if it serves `run`, and was not used within `when_idle`."""

    run: RunName
    when_idle: Duration | None = None


class CleanupOf(Contract):
    """A request to clean up after `run`, whose `execution` ended with `status` and could not do so itself.

    `dataset` is the dataset that the run trained on; None if it did not, or if nobody knows.
    """

    run: RunName
    execution: str
    status: str
    dataset: DatasetName | None = None


Incomparable = Literal["reject", "accept"]


class ExecutionInput(Contract):
    """The input of an execution.

    Exactly one of the first five fields says what to do. `dataset` is the name of a folder under uploads/ and
    trains on it; `upload` is an S3 event and does the same after a quiet period; `model` deploys a registered
    model, by the name of the run that trained it, by its version, or as "previous". `teardown_of` and
    `cleanup_of` come from schedules and from the pipeline itself.

    All other fields have defaults. `force` trains even if nothing has changed, and deploys even a rejected
    model. `max_perplexity` is an absolute limit for the test perplexity, unknown
    words charged. `tolerance` is the share by which
    the new model's perplexity may exceed the champion's. `incomparable` says whether to accept a model that
    cannot be compared with the champion.
    """

    dataset: DatasetName | None = None
    upload: Upload | None = None
    model: str | None = Field(default=None, pattern=r"^[a-z0-9](-*[a-z0-9])*$", max_length=63)
    teardown_of: TeardownOf | None = None
    cleanup_of: CleanupOf | None = None
    force: bool = False
    source: GitSource | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    training: TrainingResources = TrainingResources()
    hosting: HostingResources = HostingResources()
    max_perplexity: float | None = Field(default=None, gt=1)
    tolerance: float = Field(default=0, ge=0, le=10)
    incomparable: Incomparable = "reject"
    teardown: Teardown = "never"

    @model_validator(mode="after")
    def _one_task(self) -> ExecutionInput:
        tasks = (self.dataset, self.upload, self.model, self.teardown_of, self.cleanup_of)
        if sum(task is not None for task in tasks) != 1:
            raise ValueError(
                'give exactly one of "dataset" (a folder under uploads/), "upload" (an S3 event) and "model" '
                "(a registered model)"
            )
        return self
