"""The registry: what Register and FindModel receive and return."""

from contracts.base import Contract, RunName, S3Uri
from contracts.dataset import Prepared
from contracts.run import StepInput
from contracts.training import Evaluated, Source, Trained


class RegisterInput(StepInput):
    """The input of Register."""

    prepared: Prepared
    source: Source
    trained: Trained
    evaluated: Evaluated


class FindModelInput(StepInput):
    """The input of FindModel."""


class Registered(Contract):
    """A version in the model package group.

    `model` is the run that trained it. `identity` is a hash of data, scripts and hyperparameters: two models
    with the same identity are the same model.
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
    test_unknown_share: float | None = None
