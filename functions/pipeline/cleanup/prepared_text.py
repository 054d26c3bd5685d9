"""Delete the text that a run has prepared, with all its versions."""

from cleanup import objects
from core import aws, environment


def delete_half_made(dataset: str, run: str) -> list[str]:
    """Delete the run's folder under prepared/ unless it has a manifest: a corpus with a manifest is complete.

    Returns:
        What was deleted, as `<kind>/<name>`; nothing if there was nothing to delete.
    """
    bucket, prefix = environment.bucket(), f"prepared/{dataset}/{run}/"
    manifest = aws.s3().list_object_versions(Bucket=bucket, Prefix=f"{prefix}corpus/manifest.json", MaxKeys=1)
    if manifest.get("Versions") or not objects.delete_versions(bucket, prefix):
        return []
    return [prefix.rstrip("/")]
