"""Serving: model, endpoint, smoke test, and how a deployment is finished, torn down or undone."""

from __future__ import annotations

from pydantic import AwareDatetime

from contracts.base import Contract, S3Uri
from contracts.registry import Registered
from contracts.run import Lease, Run


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


class TeardownDone(Contract):
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
