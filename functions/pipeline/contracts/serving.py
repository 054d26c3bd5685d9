"""Serving: model, endpoint, smoke test, and how a deployment is finished, torn down or undone."""

from pydantic import AwareDatetime

from contracts.base import Contract, S3Uri
from contracts.registry import Registered
from contracts.run import Lease, LeasedInput, StepInput


class CreateModelInput(StepInput):
    """The input of CreateModel."""

    registered: Registered


class ModelCreated(Contract):
    """The SageMaker model that CreateModel created."""

    name: str
    arn: str
    image: str
    model_artifacts: S3Uri


class DeployInput(LeasedInput):
    """The input of Deploy; `token` is the state's task token, completed with a Deployed or an error."""

    token: str
    registered: Registered


class Deployed(Contract):
    """The result of Deploy: the endpoint is InService with this run's endpoint config."""

    endpoint: str
    arn: str
    config: str
    instance_count: int


class SmokeTestInput(LeasedInput):
    """The input of SmokeTest."""

    registered: Registered
    deployed: Deployed


class GeneratedText(Contract):
    """One response of the endpoint, and how many seconds it took."""

    prompt: str
    seed: int
    temperature: float
    text: str
    seconds: float


class SmokeTested(Contract):
    """Texts that the endpoint generated; each seed gave the same text twice."""

    texts: list[GeneratedText]
    slowest_seconds: float


class FinishInput(LeasedInput):
    """The input of Finish."""

    deployed: Deployed


class Finished(Contract):
    """The result of Finish. `teardown_at` is None if no teardown is scheduled.

    `replaced` is the model that the endpoint served before; None if it served none.
    """

    scales: bool
    teardown_at: AwareDatetime | None
    replaced: str | None = None


class TeardownInput(LeasedInput):
    """The input of Teardown."""


class TeardownDone(Contract):
    """The result of Teardown: the deleted resources, as `<kind>/<name>`."""

    removed: list[str]


class Caught(Contract):
    """An error that a state caught. `Cause` is a sentence, or the JSON of a failed Lambda function."""

    Error: str
    Cause: str = ""
    Step: str


class CompensateInput(StepInput):
    """The input of Compensate.

    `lease` is the lease that the run held. It is not renewed before the step works: the step checks itself
    whether the run still holds it. `at_work` says that a function of the aborted run may still be running.
    """

    lease: Lease
    at_work: bool
    registered: Registered | None
    caught: list[Caught]


class Compensated(Contract):
    """The state of AWS after a failed run was undone.

    `training_job` is the job's status, None if there is no job. `serving` is the endpoint config that the
    endpoint has now, None if there is no endpoint, and `model` is the model behind it, if it is known.
    `restored` says that this step put the former config back. `removed` are the deleted resources, as
    `<kind>/<name>`.
    """

    training_job: str | None
    serving: str | None
    restored: bool
    removed: list[str]
    model: str | None = None
