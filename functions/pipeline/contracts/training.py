"""Training: scripts, champion, training job and the verdict on the new model."""

from pydantic import Field

from contracts.base import Contract, S3Uri, Sha256
from contracts.dataset import Prepared
from contracts.run import LeasedInput, StepInput


class SourceInput(StepInput):
    """The input of Source."""


class Source(Contract):
    """The packed scripts that SageMaker runs.

    `repo`, `branch` and `commit` are None for the deployment's own scripts.
    """

    uri: S3Uri
    sha256: Sha256
    repo: str | None = None
    branch: str | None = None
    commit: str | None = None


class ChampionInput(StepInput):
    """The input of Champion."""

    prepared: Prepared
    source: Source


class Champion(Contract):
    """The model that serves while a challenger is trained; all fields are None if nothing serves.

    `config` is its endpoint config, and `model` the run that trained it. `artifact_prefix` is the S3 prefix
    whose only object is its model.tar.gz.
    """

    config: str | None = None
    model: str | None = None
    dataset: str | None = None
    artifact_prefix: S3Uri | None = None


class TrainInput(LeasedInput):
    """The input of Train; `token` is the state's task token, completed with a Trained or an error."""

    token: str
    prepared: Prepared
    source: Source
    champion: Champion


class Trained(Contract):
    """A completed training job. `metrics` are the last values, by the names in MetricDefinitions.

    Seconds are counted for one instance, as SageMaker does: `training_seconds` from download to upload,
    `billable_seconds` those that are charged.
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


class EvaluateInput(StepInput):
    """The input of Evaluate."""

    prepared: Prepared
    trained: Trained
    champion: Champion


class Metrics(Contract):
    """The metrics that training reported; None for one that it did not.

    `test_unknown_share` is the share of the test split that the model reads as unknown words.
    `test_exact_perplexity` charges these words: the model must say which of `test_words` words it means.
    `notes` say where training deviated from the request, for example with a smaller batch_size.
    """

    test_perplexity: float | None
    valid_perplexity: float | None
    train_perplexity: float | None
    words_per_second: float | None
    vocabulary_size: int | None
    test_unknown_share: float | None = None
    test_exact_perplexity: float | None = None
    test_words: int | None = None
    notes: list[str] = Field(default=[])


class Comparison(Contract):
    """Perplexities of challenger and champion on the new test split, both over the same set of words.

    `reason` says why the two cannot be compared; then both perplexities are None. `notes` say what limits the
    comparison.
    """

    champion: str
    champion_perplexity: float | None = None
    challenger_perplexity: float | None = None
    tolerance: float
    reason: str | None = None
    notes: list[str] = Field(default=[])


class Evaluated(Contract):
    """The gate's verdict. `reason` says in sentences why the model was accepted or rejected.

    `objection` is the reason of a rejection in a clause: "it is worse than ...". `comparison` compares the
    new model with the one that served when the run began; None if none did.
    """

    accepted: bool
    reason: str
    objection: str | None = None
    metrics: Metrics
    comparison: Comparison | None
