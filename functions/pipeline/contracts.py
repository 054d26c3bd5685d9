"""Every field that crosses a step, named and typed once.

The state machine passes these documents between the steps as JSON, and each handler checks its own on the
way in (`step.py`). Unknown fields are refused, so a misspelt hyperparameter is an error that names itself and
not a silent default. `...Input` is what a step is given; the other documents are what steps answer.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

# Infinity and NaN are not JSON; as strings they survive the trip and pydantic reads them back.
_CONFIG = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings", protected_namespaces=())

# At most 30 characters, so that endpoint + 18 of dataset + 12 of hash fit SageMaker's 63-character names.
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
    """The training job's machines; several train one model together, each on a part of the text."""

    instance_type: InstanceType = "ml.m5.xlarge"
    instance_count: int = Field(default=1, ge=1, le=64)
    # SageMaker's default quota for the longest run is 5 days.
    max_runtime_seconds: int = Field(default=86_400, ge=60, le=432_000)


class HostingResources(Contract):
    """The production variant's fleet."""

    instance_type: InstanceType = "ml.m5.large"
    instance_count: int = Field(default=1, ge=1, le=100)


class Upload(Contract):
    """The S3 object whose arrival started the execution, as EventBridge describes it."""

    bucket: str
    key: str
    etag: str
    size: int = Field(ge=0)
    # Absent (an empty string, from EventBridge's input transformer) when the bucket keeps no versions.
    version_id: str = ""


Teardown = Literal["never", "always", "on_failure"]


class ExecutionInput(Contract):
    """What an execution is started with: a dataset's name, or the upload that EventBridge saw; never both.

    Everything else has a default. `max_perplexity` is an absolute ceiling for the test perplexity.
    """

    dataset: DatasetName | None = None
    upload: Upload | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    training: TrainingResources = TrainingResources()
    hosting: HostingResources = HostingResources()
    max_perplexity: float | None = Field(default=None, gt=1)
    teardown: Teardown = "never"

    @model_validator(mode="after")
    def _one_source(self) -> ExecutionInput:
        if (self.dataset is None) == (self.upload is None):
            raise ValueError(
                'give exactly one of "dataset" (a folder under uploads/) and "upload" (an S3 event)'
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

    Training job, model and endpoint config all carry `name`; the endpoint is `endpoint`.
    """

    name: str = Field(pattern=r"^[a-z0-9](-*[a-z0-9])*$", max_length=63)
    endpoint: EndpointName
    execution: Execution
    dataset: DatasetName
    upload: Upload | None
    hyperparameters: Hyperparameters
    training: TrainingResources
    hosting: HostingResources
    max_perplexity: float | None
    teardown: Teardown


# --- prepare -------------------------------------------------------------------------------------


class PrepareInput(Contract):
    run: Run


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
    """Nothing to do in this run, and nothing written.

    `waiting`: some of the three split files have not arrived yet. `superseded`: a later upload of the dataset
    has its own run. `ignored`: the upload is a README, a hidden file or the like. `reason` is a sentence
    for the person who uploaded.
    """

    outcome: Literal["waiting", "superseded", "ignored"]
    dataset: DatasetName
    reason: str


PrepareOutcome = Annotated[Prepared | NotPrepared, Field(discriminator="outcome")]
PREPARE_OUTCOME: TypeAdapter[Prepared | NotPrepared] = TypeAdapter(PrepareOutcome)


# --- training and evaluate -----------------------------------------------------------------------


class TrainingInput(Contract):
    """`token` is the state's task token; whoever sees the job end answers it with a Trained or an error."""

    token: str
    run: Run
    prepared: Prepared


class Trained(Contract):
    """A training job that completed. `metrics` are its last values, by the names in MetricDefinitions."""

    job: str
    arn: str
    model_artifacts: S3Uri
    instance_type: str
    training_seconds: int
    billable_seconds: int
    metrics: dict[str, float]


class EvaluateInput(Contract):
    run: Run
    trained: Trained


class Metrics(Contract):
    """What training reported, under the names people use. None: not reported."""

    test_perplexity: float | None
    valid_perplexity: float | None
    train_perplexity: float | None
    words_per_second: float | None
    vocabulary_size: int | None


class Evaluated(Contract):
    """The gate's verdict. `reason` says, in a sentence, why the model was taken or refused."""

    accepted: bool
    reason: str
    metrics: Metrics


# --- create_model, deploy, smoke_test ------------------------------------------------------------


class CreateModelInput(Contract):
    run: Run
    trained: Trained
    evaluated: Evaluated


class ModelCreated(Contract):
    name: str
    arn: str
    image: str
    model_artifacts: S3Uri


class DeployInput(Contract):
    """`token` is the state's task token; whoever sees the endpoint settle answers it likewise."""

    token: str
    run: Run
    evaluated: Evaluated


class Deployed(Contract):
    """The endpoint is InService with this run's endpoint config."""

    endpoint: str
    arn: str
    config: str
    instance_count: int


class SmokeTestInput(Contract):
    run: Run
    deployed: Deployed


class SmokeTested(Contract):
    """Text the endpoint generated, twice the same for the same seed."""

    text: str
    words: int
    seed: int
    temperature: float


# --- teardown, compensate, report ----------------------------------------------------------------


class TeardownInput(Contract):
    run: Run


class TornDown(Contract):
    """What is gone when the step ends, as `<kind>/<name>`."""

    removed: list[str]


class CompensateInput(Contract):
    run: Run


class Compensated(Contract):
    """How things stand after a failed run was undone.

    `training_job` is the job's status (None: there is none), `serving` the endpoint config that the endpoint
    has now (None: no endpoint), `removed` what is gone, as `<kind>/<name>`.
    """

    training_job: str | None
    serving: str | None
    removed: list[str]


class Caught(Contract):
    """An error as a state's Catch saw it. `Cause` is a sentence, or the JSON a failed Lambda leaves."""

    Error: str
    Cause: str = ""
    Step: str


class ReportInput(Contract):
    """Everything known when the run ends; None for what was never reached.

    `caught` holds the error that ended the run first, then those of the clean-up. `skipped` is a step's word
    that this run has nothing to do. `durations` are seconds by step.
    """

    execution: Execution
    run: Run | None
    prepared: PrepareOutcome | None
    trained: Trained | None
    evaluated: Evaluated | None
    model: ModelCreated | None
    deployed: Deployed | None
    smoke_test: SmokeTested | None
    torn_down: TornDown | None
    compensated: Compensated | None
    caught: list[Caught]
    skipped: Caught | None
    durations: dict[str, float]


class Failure(Contract):
    """Why a run failed: the error's class, its sentence, the step, and what went wrong while cleaning up."""

    error: str
    message: str
    step: str
    cleanup: list[str]


class Report(Contract):
    """The execution's output and the message published to the results topic."""

    status: Literal["Succeeded", "Skipped", "Rejected", "Failed"]
    reason: str
    run: str | None
    execution: str
    dataset: PrepareOutcome | None
    job: Trained | None
    metrics: Metrics | None
    model: ModelCreated | None
    endpoint: Deployed | None
    smoke_test: SmokeTested | None
    durations: dict[str, float]
    torn_down: list[str]
    error: Failure | None


# --- callback ------------------------------------------------------------------------------------


class StateChange(BaseModel):
    """EventBridge's word that a training job or an endpoint changed; only its ARN is read.

    The event's own status is not: its spelling differs from Describe's, and it may come late. AWS adds fields
    to its events at will, so unknown ones are ignored here and only here.
    """

    resources: list[str] = Field(min_length=1)
