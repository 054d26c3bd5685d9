"""The step that looks at what serves: the model that the new one has to match, and whether one is needed at
all.
"""

from __future__ import annotations

from botocore.exceptions import ClientError

from contracts.training import Champion, ChampionInput
from core import aws, environment
from core.errors import Unchanged, code_of
from entry_point import step
from registry import identity
from serving import endpoint


@step(ChampionInput)
def handler(given: ChampionInput) -> Champion:
    """Raises Unchanged when the model that serves is the one that this run would train."""
    run = given.run
    live = endpoint.describe(run.endpoint)
    if live is None or live["EndpointStatus"] not in endpoint.SERVING:
        return Champion()
    # Told here already, before a model is trained that could not be deployed.
    endpoint.must_take(run, live)
    config = live.get("EndpointConfigName", "")
    tags = endpoint.config_tags(run.execution.id, config)
    model = tags.get(endpoint.MODEL)
    mine = identity.of(run.hyperparameters, given.prepared.fingerprint, given.source.sha256)
    if not run.force and endpoint.VERIFIED in tags and tags.get(endpoint.IDENTITY) == mine:
        raise Unchanged(
            f"The data of dataset {run.dataset}, the scripts and the hyperparameters are those of {model}, "
            f"which endpoint {run.endpoint} serves. To train it again all the same, start a run with "
            '"force": true.'
        )
    return Champion(
        config=config,
        model=model,
        dataset=tags.get(endpoint.DATASET),
        fingerprint=tags.get(endpoint.FINGERPRINT),
        artifact_prefix=_artifact(model) if model else None,
    )


def _artifact(model: str) -> str | None:
    """Where the champion's artifact is; None when it is gone, for a channel without objects fails a job."""
    bucket, key = environment.bucket(), f"runs/{model}/output/model.tar.gz"
    try:
        aws.s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        # Without the permission to list a bucket, S3 answers 403 for an object that is not there.
        if code_of(error) not in ("404", "403", "NoSuchKey", "NotFound", "Forbidden"):
            raise
        return None
    return f"s3://{bucket}/{key}"
