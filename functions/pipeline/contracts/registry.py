"""The registry: what Register and FindModel receive and return."""

from __future__ import annotations

from contracts.base import Contract, RunName, S3Uri
from contracts.dataset import Prepared
from contracts.run import Run
from contracts.training import Evaluated, Source, Trained


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
