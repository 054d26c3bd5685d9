"""ListUploads: list a dataset's objects, and plan how to read them."""

from contracts.dataset import Listed, ListUploadsInput
from coordination import arrivals
from core import aws, environment
from core.errors import NothingToDo
from core.logging import logger
from entry_point import step
from uploads import listing, planning
from uploads.corpus_folder import CorpusFolder


@step(ListUploadsInput)
def handler(given: ListUploadsInput) -> Listed:
    """End the gathering, write the plan, and return where its items are.

    Raises:
        NothingToDo: an earlier run has read the same objects. An upload's event may come a second time.
        InvalidDataset: there is nothing to read. The subclass and the message say why.
    """
    run, s3, bucket = given.run, aws.s3(), environment.bucket()
    dataset = str(run.dataset)
    arrivals.close(run)
    found = listing.listed(s3, bucket, dataset)
    arrivals.mark_handled(dataset, found)
    if not arrivals.first_to_read(run, found) and run.upload:
        raise NothingToDo(
            f"An earlier run has already read these uploads of dataset {dataset}. To run them again, "
            f'start an execution with {{"dataset": "{dataset}"}}.'
        )
    plan = planning.plan(s3, bucket, dataset, found)
    folder = CorpusFolder(s3, bucket, dataset, run.name)
    folder.write_plan(plan)
    logger.info("Planned", objects=len(found), items=len(plan.items), left_out=len(plan.left_out))
    return Listed(bucket=bucket, items_key=folder.items_key, items=len(plan.items))
