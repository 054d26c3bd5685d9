"""AssembleDataset: decide which text trains, validates and tests, and write the manifest."""

from cleanup import objects
from contracts.dataset import AssembleDatasetInput, NotPrepared, Prepared
from core import aws, environment
from core.errors import SplitIncomplete
from core.logging import logger
from entry_point import step
from uploads.assembly import assemble
from uploads.corpus_folder import CorpusFolder


@step(AssembleDatasetInput)
def handler(given: AssembleDatasetInput) -> Prepared | NotPrepared:
    """Write the manifest, and return the corpus that it describes.

    Raises:
        InvalidDataset: the uploads are no corpus. The subclass and the message say why, and what to do.
    """
    run, bucket = given.run, environment.bucket()
    dataset = str(run.dataset)
    folder = CorpusFolder(aws.s3(), bucket, dataset, run.name)
    plan = folder.plan()
    try:
        manifest = assemble(plan, folder.results(plan), run.name)
    except SplitIncomplete as error:
        # If an upload started the run, the missing files of the set may still be uploaded.
        if run.upload is None:
            raise
        objects.delete_versions(bucket, folder.prefix)
        return NotPrepared(outcome="waiting", dataset=dataset, reason=str(error))
    prepared = folder.publish(manifest)
    logger.info("Prepared", uri=prepared.prepared_uri, files=prepared.files)
    return prepared
