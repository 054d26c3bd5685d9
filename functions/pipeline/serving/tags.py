"""The tags on a run's model and endpoint config: what is served, and since when.

The endpoint itself carries only its owner's tag (core.ownership). Its config's tags are read instead, so they
always belong to the model that serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.registry import Registered
from contracts.run import Run
from core import aws, environment, names, ownership

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import TagTypeDef

# The run that created the model or config, the run that trained the model, and the training data.
RUN, MODEL, DATASET = "lexline:run", "lexline:model", "lexline:dataset"
FINGERPRINT, IDENTITY, PERPLEXITY = "lexline:fingerprint", "lexline:identity", "lexline:test-perplexity"
UNKNOWN_SHARE = "lexline:test-unknown-share"
# The lease's generation when the config was created, and the config and model that it replaced.
GENERATION, PREVIOUS, PREVIOUS_MODEL = "lexline:generation", "lexline:previous", "lexline:previous-model"
# On a config that passed its smoke test: when it passed, how its instances scale, and when the endpoint is to
# be torn down, at a time or after how long without a request.
VERIFIED, SCALES = "lexline:verified", "lexline:scales"
TEARDOWN_AT, TEARDOWN_WHEN_IDLE = "lexline:teardown-at", "lexline:teardown-when-idle"
# This tag on a failed run's config says that the rollback deleted the endpoint and creates it again with the
# previous config.
RESTORING = "lexline:restoring"


def describing(run: Run, registered: Registered) -> list[TagTypeDef]:
    """Return the tags that describe the model, for a model or an endpoint config."""
    perplexity, unknown = registered.test_perplexity, registered.test_unknown_share
    values = {
        ownership.STACK: environment.stack_id(),
        RUN: run.name,
        MODEL: registered.model,
        DATASET: registered.dataset,
        FINGERPRINT: registered.fingerprint,
        IDENTITY: registered.identity,
        PERPLEXITY: "" if perplexity is None else f"{perplexity:.4f}",
        UNKNOWN_SHARE: "" if unknown is None else f"{unknown:.4f}",
    }
    return [{"Key": key, "Value": value} for key, value in values.items() if value]


def of_config(sibling_arn: str, config: str) -> dict[str, str]:
    """Return the tags of an endpoint config.

    Args:
        sibling_arn: any ARN of the same partition, region and account.
        config: the endpoint config's name.

    Returns:
        The values by key; empty if the config does not exist.
    """
    return aws.tags_of(names.beside(sibling_arn, "endpoint-config", config)) or {}


def add(run: Run, config: str, values: dict[str, str]) -> None:
    """Add tags to an endpoint config, or change their values."""
    aws.sagemaker().add_tags(
        ResourceArn=names.arn(run, "endpoint-config", config),
        Tags=[{"Key": key, "Value": value} for key, value in values.items()],
    )
