"""Champion: find the model that serves, and check whether a new one is needed."""

from contracts.training import Champion, ChampionInput
from core import aws, environment
from core.errors import Unchanged
from entry_point import step
from registry import identity
from serving import endpoint, tags


@step(ChampionInput)
def handler(given: ChampionInput) -> Champion:
    """Return the champion, or an empty one if nothing serves.

    Raises:
        Unchanged: the champion was trained from the same data, scripts and hyperparameters as this run would
            use.
    """
    run = given.run
    live = endpoint.describe(run.endpoint)
    # Check this now, before the run pays for training a model that it could not deploy.
    values = endpoint.check_can_take(run, live)
    if live is None or live["EndpointStatus"] not in endpoint.SERVING:
        return Champion()
    config = live.get("EndpointConfigName", "")
    model = values.get(tags.MODEL)
    new = identity.of(run.hyperparameters, given.prepared.fingerprint, given.source.sha256)
    if not run.force and tags.VERIFIED in values and values.get(tags.IDENTITY) == new:
        raise Unchanged(
            f"Endpoint {run.endpoint} already serves {model}, which was trained from the same data (dataset "
            f"{run.dataset}), scripts and hyperparameters. To train it again, start a run with "
            '"force": true.'
        )
    return Champion(
        config=config,
        model=model,
        dataset=values.get(tags.DATASET),
        artifact_prefix=_artifact(model) if model else None,
    )


def _artifact(model: str) -> str | None:
    """Return the S3 URI of the model's artifact, or None if the artifact does not exist.

    A training job fails on a channel without objects, so a missing artifact must not become a channel.
    """
    bucket, key = environment.bucket(), f"runs/{model}/output/model.tar.gz"
    found = aws.or_none(lambda: aws.s3().head_object(Bucket=bucket, Key=key), aws.is_missing_object)
    return f"s3://{bucket}/{key}" if found is not None else None
