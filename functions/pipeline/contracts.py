"""Every field that crosses a step, named and typed once.

The state machine passes these documents between the steps as JSON, and each handler checks its own on the
way in (`step.py`). Unknown fields are refused, so a misspelt hyperparameter is an error that names itself and
not a silent default. `...Input` is what a step is given; the other documents are what steps answer.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

# Infinity and NaN are not JSON; as strings they survive the trip and pydantic reads them back.
_CONFIG = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings", protected_namespaces=())

# At most 30 characters, so that endpoint + 18 of dataset + 12 of hash fit SageMaker's 63-character names. No
# two hyphens in a row, for in a run's name these end it (names.prefix).
EndpointName = Annotated[str, Field(pattern=r"^[a-z0-9](-?[a-z0-9]){0,29}$", max_length=30)]
DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$", max_length=63)]
# A bucket's name has at most 63 characters, a key 1,024, line breaks among them.
S3Uri = Annotated[str, Field(pattern=r"^s3://[^/]+/(?s:.+)$", max_length=5 + 63 + 1 + 1024)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Contract(BaseModel):
    """A document that crosses a step: frozen, and closed to fields nobody declared."""

    model_config = _CONFIG


# --- what a person may ask for -------------------------------------------------------------------


def _auto_is_none(value: object) -> object:
    return None if value == "auto" else value


RecipesOwn = BeforeValidator(_auto_is_none)
"""None, "auto" or absence leave a number to the recipe, whose numbers `model_scripts/` alone knows."""


class Hyperparameters(Contract):
    """What `model_scripts/train.py` is told; what is None here it is not told, and decides by the recipe."""

    recipe: Literal["classic", "fast", "awd"] = "fast"
    emsize: int = Field(default=200, ge=1, le=4096)
    nhid: int = Field(default=200, ge=1, le=8192)
    nlayers: int = Field(default=2, ge=1, le=16)
    lr: Annotated[float | None, RecipesOwn] = Field(default=None, gt=0, le=1000, allow_inf_nan=False)
    clip: Annotated[float | None, RecipesOwn] = Field(default=None, gt=0, le=1000, allow_inf_nan=False)
    epochs: Annotated[int | None, RecipesOwn] = Field(default=None, ge=1, le=1000)
    batch_size: int = Field(default=20, ge=1, le=4096)
    bptt: int = Field(default=35, ge=1, le=4096)
    dropout: Annotated[float | None, RecipesOwn] = Field(default=None, ge=0, lt=1)
    tied: bool = True
    seed: int = Field(default=1111, ge=0, le=2**32 - 1)
    log_interval: int = Field(default=200, ge=1, le=1_000_000)
    tokenizer: Literal["auto", "prose", "tokenized"] = "auto"

    @model_validator(mode="after")
    def _rate_is_of_the_recipe(self) -> Hyperparameters:
        # A stack's Lr may have been chosen for another recipe than a run asks for.
        if self.recipe == "fast" and self.lr is not None and self.lr > 1:
            raise ValueError(
                f"lr {self.lr:g} is no rate for recipe fast, whose Adam takes 1 at the very most; "
                "leave it to the recipe with lr=auto, or choose recipe classic or awd"
            )
        return self


class TrainingResources(Contract):
    """The training job's machines; several train one model together, each on a part of the text.

    `spot` takes capacity that AWS sells for less and may take back; the job then goes on from its checkpoint.
    `max_wait_seconds` bounds waiting and training together, by default at twice `max_runtime_seconds`.
    """

    instance_type: InstanceType = "ml.m5.xlarge"
    instance_count: int = Field(default=1, ge=1, le=64)
    # SageMaker's default quota for the longest run is 5 days.
    max_runtime_seconds: int = Field(default=86_400, ge=60, le=432_000)
    spot: bool = True
    max_wait_seconds: int | None = Field(default=None, ge=60, le=864_000)

    @model_validator(mode="after")
    def _waits_as_long_as_it_runs(self) -> TrainingResources:
        if self.max_wait_seconds is not None and self.max_wait_seconds < self.max_runtime_seconds:
            raise ValueError(
                f"max_wait_seconds {self.max_wait_seconds} is less than max_runtime_seconds "
                f"{self.max_runtime_seconds}; it bounds waiting for spot capacity and training together"
            )
        return self


class HostingResources(Contract):
    """The production variant's fleet, and how traffic moves to it.

    With `endpoint_type` serverless, `serverless_memory_mb` and `serverless_max_concurrency` count and the
    rest of the fleet does not. `traffic_shifting` is how a real-time endpoint's traffic moves to a new fleet;
    a single instance cannot be split, so its traffic moves at once. Each step is watched for `watch_seconds`,
    and the old fleet stays for as long after the last. `max_instance_count` above `instance_count` lets
    target tracking add instances, aiming at `invocations_per_instance` a minute. `max_latency_seconds` is the
    longest that an answer to the smoke test may take.
    """

    endpoint_type: Literal["real-time", "serverless"] = "real-time"
    instance_type: InstanceType = "ml.m5.large"
    instance_count: int = Field(default=1, ge=1, le=100)
    max_instance_count: int = Field(default=0, ge=0, le=1000)
    invocations_per_instance: int = Field(default=300, ge=1, le=1_000_000)
    traffic_shifting: Literal["all_at_once", "canary", "linear"] = "canary"
    watch_seconds: int = Field(default=120, ge=0, le=3600)
    serverless_memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 3072
    serverless_max_concurrency: int = Field(default=5, ge=1, le=200)
    max_latency_seconds: float = Field(default=10, gt=0, le=60)

    @property
    def scales(self) -> bool:
        """Whether instances come and go with the traffic."""
        return self.endpoint_type == "real-time" and self.max_instance_count > self.instance_count

    @model_validator(mode="after")
    def _most_is_not_least(self) -> HostingResources:
        if 0 < self.max_instance_count < self.instance_count:
            raise ValueError(
                f"max_instance_count {self.max_instance_count} is less than instance_count "
                f"{self.instance_count}; take 0 for a fleet that does not scale"
            )
        return self

    @model_validator(mode="after")
    def _scales_by_what_can(self) -> HostingResources:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
        if self.scales and re.match(r"ml\.t\d", self.instance_type):
            raise ValueError(
                f"instance_type {self.instance_type} is burstable, and SageMaker lets no such fleet scale; "
                "take another type, or 0 for max_instance_count"
            )
        return self


class Upload(Contract):
    """The S3 object whose arrival started the execution, as EventBridge describes it."""

    bucket: str
    key: str
    etag: str
    size: int = Field(ge=0)
    # Absent (an empty string, from EventBridge's input transformer) when the bucket keeps no versions.
    version_id: str = ""


class GitSource(Contract):
    """A Git repository whose scripts train and host the model, instead of the deployment's own.

    `secret` names a secret in Secrets Manager that holds the credential; a public repository needs none.
    Without `branch` and `commit` it is the default branch's newest commit.
    """

    repo: str = Field(min_length=1, max_length=2048)
    branch: str | None = Field(default=None, min_length=1, max_length=255)
    commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{7,40}$")
    secret: str | None = Field(default=None, min_length=1, max_length=512)


def _duration_is_text(value: object) -> object:
    # pydantic would read a number as seconds, which nobody who writes 8 for eight hours means.
    if isinstance(value, timedelta) or (isinstance(value, str) and value.startswith("P")):
        return value
    raise ValueError("give an ISO 8601 duration, such as PT8H or P1D")


Duration = Annotated[
    timedelta, BeforeValidator(_duration_is_text), Field(ge=timedelta(seconds=1), le=timedelta(days=366))
]


def iso8601(duration: timedelta) -> str:
    """A duration as it is written in a document."""
    return str(TypeAdapter(timedelta).dump_python(duration, mode="json"))


class TeardownAfter(Contract):
    """The endpoint goes this long after it was deployed."""

    after: Duration


class TeardownWhenIdle(Contract):
    """The endpoint goes once nobody has asked it for text for this long."""

    when_idle: Duration


def _one_teardown(value: object, validated: ValidatorFunctionWrapHandler) -> object:
    """A template parameter is text: `after:PT8H` stands for {"after": "PT8H"}."""
    name, colon, duration = value.partition(":") if isinstance(value, str) else ("", "", "")
    try:
        return validated({name: duration} if colon else value)
    except ValidationError as error:
        # Else there would be a line for each of the forms that it is not.
        raise ValueError(
            'give "never", "always", "on_failure", {"after": DURATION} or {"when_idle": DURATION}, with a '
            "duration such as PT8H or P1D, of at most 366 days"
        ) from error


Teardown = Annotated[
    Literal["never", "always", "on_failure"] | TeardownAfter | TeardownWhenIdle,
    WrapValidator(_one_teardown),
]

RunName = Annotated[str, Field(pattern=r"^[a-z0-9](-*[a-z0-9])*$", max_length=63)]


class TakeDown(Contract):
    """A schedule's wish: what `run` serves goes, unless it was used within `when_idle`."""

    run: RunName
    when_idle: Duration | None = None


class CleanUp(Contract):
    """What `run` left half-made goes, because its execution ended as `status` without cleaning up itself."""

    run: RunName
    execution: str
    status: str


class ExecutionInput(Contract):
    """What an execution is started with. Exactly one of the first five says what is to be done:

    `dataset`, the name of a folder under uploads/, trains on it; `upload`, an S3 event, does so after a quiet
    period; `model` deploys a registered model, by the name of the run that trained it, by its version, or
    "previous"; `take_down` and `clean_up` come from schedules and from the pipeline itself.

    Everything else has a default. `force` trains even on the very data of the model that serves, and deploys
    even a model that was rejected. `max_perplexity` is an absolute ceiling for the test perplexity,
    `tolerance` the share by which it may be worse than that of the model that serves.
    """

    dataset: DatasetName | None = None
    upload: Upload | None = None
    model: str | None = Field(default=None, pattern=r"^[a-z0-9](-*[a-z0-9])*$", max_length=63)
    take_down: TakeDown | None = None
    clean_up: CleanUp | None = None
    force: bool = False
    source: GitSource | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    training: TrainingResources = TrainingResources()
    hosting: HostingResources = HostingResources()
    max_perplexity: float | None = Field(default=None, gt=1)
    tolerance: float = Field(default=0, ge=0, le=10)
    teardown: Teardown = "never"

    @model_validator(mode="after")
    def _one_task(self) -> ExecutionInput:
        tasks = (self.dataset, self.upload, self.model, self.take_down, self.clean_up)
        if sum(task is not None for task in tasks) != 1:
            raise ValueError(
                'give exactly one of "dataset" (a folder under uploads/), "upload" (an S3 event) and "model" '
                "(a registered model)"
            )
        return self


# --- plan ----------------------------------------------------------------------------------------


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
    work: Literal["train", "deploy", "take_down", "clean_up"]
    subject: RunName
    dataset: DatasetName | None
    upload: Upload | None
    model: str | None
    take_down: TakeDown | None
    clean_up: CleanUp | None
    force: bool
    source: GitSource | None
    hyperparameters: Hyperparameters
    training: TrainingResources
    hosting: HostingResources
    max_perplexity: float | None
    tolerance: float
    teardown: Teardown


# --- gather and acquire --------------------------------------------------------------------------


class GatherInput(Contract):
    run: Run


class Gathered(Contract):
    """How long until the dataset's uploads have been quiet for long enough; 0 when they have."""

    seconds: int = Field(ge=0)


class AcquireInput(Contract):
    """`token` is the state's task token; it is answered when the lease is this run's."""

    token: str
    run: Run


class Lease(Contract):
    """The right to change the endpoint, held by one run at a time. `generation` rises with every holder."""

    owner: RunName
    generation: int = Field(ge=1)


# --- prepare -------------------------------------------------------------------------------------


class PrepareInput(Contract):
    run: Run
    lease: Lease


class SourceObject(Contract):
    """One uploaded object, pinned to the very bytes that were read."""

    uri: S3Uri
    etag: str
    version_id: str = ""


class Split(Contract):
    """The size of one prepared file."""

    lines: int = Field(ge=0)
    words: int = Field(ge=0)
    bytes: int = Field(ge=0)


class Splits(Contract):
    train: Split
    valid: Split
    test: Split


class Prepared(Contract):
    """A corpus checked, split and written under `prepared_uri` as train, valid, test and manifest.json.

    `fingerprint` is a SHA-256 over what was prepared: the same corpus prepared again lands in the same place.
    """

    outcome: Literal["prepared"] = "prepared"
    dataset: DatasetName
    source: list[SourceObject] = Field(min_length=1)
    fingerprint: Sha256
    prepared_uri: S3Uri = Field(pattern=r"^s3://[^/]+/.+/$")
    manifest_uri: S3Uri
    splits: Splits


class NotPrepared(Contract):
    """Nothing to train on in this run.

    `waiting`: some of the three split files have not arrived yet. `seen`: an earlier run has read these very
    uploads. `reason` is a sentence for the person who uploaded.
    """

    outcome: Literal["waiting", "seen"]
    dataset: DatasetName
    reason: str


PrepareOutcome = Annotated[Prepared | NotPrepared, Field(discriminator="outcome")]
PREPARE_OUTCOME: TypeAdapter[Prepared | NotPrepared] = TypeAdapter(PrepareOutcome)


# --- source and champion -------------------------------------------------------------------------


class SourceInput(Contract):
    run: Run


class Source(Contract):
    """The scripts that SageMaker runs, packed. `repo`, `branch` and `commit` are None for the deployment's
    own scripts.
    """

    uri: S3Uri
    sha256: Sha256
    repo: str | None = None
    branch: str | None = None
    commit: str | None = None


class ChampionInput(Contract):
    run: Run
    prepared: Prepared
    source: Source


class Champion(Contract):
    """The model that serves while a challenger is trained; all None when nothing serves.

    `config` is its endpoint config, `model` the run that trained it, `artifact_prefix` the S3 prefix whose
    one object is its model.tar.gz.
    """

    config: str | None = None
    model: str | None = None
    dataset: str | None = None
    fingerprint: str | None = None
    artifact_prefix: S3Uri | None = None


# --- training and evaluate -----------------------------------------------------------------------


class TrainingInput(Contract):
    """`token` is the state's task token; whoever sees the job end answers it with a Trained or an error."""

    token: str
    run: Run
    lease: Lease
    prepared: Prepared
    source: Source
    champion: Champion


class Trained(Contract):
    """A training job that completed. `metrics` are its last values, by the names in MetricDefinitions.

    Seconds are counted as SageMaker does: `training_seconds` from download to upload, `billable_seconds` what
    is paid for; both of one instance.
    """

    job: str
    arn: str
    model_artifacts: S3Uri
    instance_type: str
    instance_count: int
    spot: bool
    training_seconds: int
    billable_seconds: int
    metrics: dict[str, float]


class EvaluateInput(Contract):
    run: Run
    prepared: Prepared
    trained: Trained
    champion: Champion


class Metrics(Contract):
    """What training reported, under the names people use. None: not reported."""

    test_perplexity: float | None
    valid_perplexity: float | None
    train_perplexity: float | None
    words_per_second: float | None
    vocabulary_size: int | None


class Comparison(Contract):
    """Challenger and champion on the new test split, both over the same set of words.

    `reason` says why the two do not compare; then there are no figures. `notes` qualify figures that stand.
    """

    champion: str
    champion_perplexity: float | None = None
    challenger_perplexity: float | None = None
    tolerance: float
    reason: str | None = None
    notes: list[str] = []


class Evaluated(Contract):
    """The gate's verdict. `reason` says, in a sentence, why the model was taken or refused.

    `comparison` is None where nothing served that it could be compared with.
    """

    accepted: bool
    reason: str
    metrics: Metrics
    comparison: Comparison | None


# --- register and find_model ---------------------------------------------------------------------


class RegisterInput(Contract):
    run: Run
    prepared: Prepared
    source: Source
    trained: Trained
    evaluated: Evaluated


class FindModelInput(Contract):
    run: Run


class Registered(Contract):
    """A version in the model package group: what is served, or refused.

    `model` is the run that trained it. `identity` is a hash over data, scripts and hyperparameters: models of
    one identity are the same model.
    """

    arn: str
    version: int
    model: RunName
    approved: bool
    model_artifacts: S3Uri
    dataset: str
    fingerprint: str
    identity: str
    test_perplexity: float | None


# --- create_model, deploy, smoke_test ------------------------------------------------------------


class CreateModelInput(Contract):
    run: Run
    registered: Registered


class ModelCreated(Contract):
    name: str
    arn: str
    image: str
    model_artifacts: S3Uri


class DeployInput(Contract):
    """`token` is the state's task token; whoever sees the endpoint settle answers it likewise."""

    token: str
    run: Run
    lease: Lease
    registered: Registered


class Deployed(Contract):
    """The endpoint is InService with this run's endpoint config."""

    endpoint: str
    arn: str
    config: str
    instance_count: int


class SmokeTestInput(Contract):
    run: Run
    lease: Lease
    registered: Registered
    deployed: Deployed


class GeneratedText(Contract):
    """One answer of the endpoint, and how long it took."""

    prompt: str
    seed: int
    temperature: float
    text: str
    seconds: float


class SmokeTested(Contract):
    """Texts that the endpoint generated, each twice the same for the same seed."""

    texts: list[GeneratedText]
    slowest_seconds: float


# --- teardown, compensate, report ----------------------------------------------------------------


class FinishInput(Contract):
    run: Run
    lease: Lease
    deployed: Deployed


class Finished(Contract):
    """What a model that passed its smoke test was given. `teardown_at` is None where the endpoint stays."""

    scales: bool
    teardown_at: AwareDatetime | None


class TeardownInput(Contract):
    run: Run
    lease: Lease


class TornDown(Contract):
    """What is gone when the step ends, as `<kind>/<name>`."""

    removed: list[str]


class Caught(Contract):
    """An error as a state's Catch saw it. `Cause` is a sentence, or the JSON a failed Lambda leaves."""

    Error: str
    Cause: str = ""
    Step: str


class CompensateInput(Contract):
    """`lease` as the run held it; whether it still does is asked. `at_work`: a function of the run that is
    cleaned up after may not have come to its end.
    """

    run: Run
    lease: Lease
    at_work: bool
    registered: Registered | None
    caught: list[Caught]


class Compensated(Contract):
    """How things stand after a failed run was undone.

    `training_job` is the job's status (None: there is none), `serving` the endpoint config that the endpoint
    has now (None: no endpoint), `restored` whether that is the former one, put back by this step, `removed`
    what is gone, as `<kind>/<name>`.
    """

    training_job: str | None
    serving: str | None
    restored: bool
    removed: list[str]


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
    torn_down: TornDown | None
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
        "torn_down",
        "cleaned_up",
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
    torn_down: list[str]
    error: Failure | None
    page: S3Uri | None


# --- callback, ended, sweep, alarm ---------------------------------------------------------------


class StateChange(BaseModel):
    """EventBridge's word that a training job or an endpoint changed; only its ARN is read.

    The event's own status is not: its spelling differs from Describe's, and it may come late. AWS adds fields
    to its events at will, so unknown ones are ignored here and only here.
    """

    resources: list[str] = Field(min_length=1)


class ExecutionDetail(BaseModel):
    execution_arn: str = Field(alias="executionArn")


class ExecutionChange(BaseModel):
    """EventBridge's word that an execution has ended; only its ARN is read, for the same reasons."""

    detail: ExecutionDetail


class AlarmState(BaseModel):
    reason: str


class AlarmConfiguration(BaseModel):
    description: str = ""


class Alarm(BaseModel):
    """A CloudWatch alarm that went off: what it stands for, and the data that set it off."""

    name: str = Field(alias="alarmName")
    state: AlarmState
    configuration: AlarmConfiguration


class AlarmChange(BaseModel):
    """EventBridge's word that an alarm has gone off."""

    detail: Alarm


class SweepInput(BaseModel):
    """The schedule's event, of which nothing is read."""


class Swept(Contract):
    """What the sweep found.

    `orphans` are `<kind>/<name>`, `removed` says whether they are gone now, `started` are executions that
    make up for events that never came.
    """

    orphans: list[str]
    removed: bool
    started: list[str]
