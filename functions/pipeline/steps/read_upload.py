"""ReadUpload: read one item of the plan, check its text, and write it where training reads it.

The step runs once for each item, many at the same time. It never fails for the content of a file: a file that
is no text is left out, with the reason in the item's result.
"""

from contracts.dataset import ReadUploadInput
from coordination import executions
from core import aws, environment
from core.errors import NothingToDo
from core.logging import logger
from entry_point import step
from uploads import items
from uploads.corpus_folder import CorpusFolder

# Lambda stops the function after 900 s without warning. This leaves time to write what was read.
SECONDS = 840


@step(ReadUploadInput)
def handler(given: ReadUploadInput) -> None:
    """Write the item's text and its result.

    Raises:
        DatasetReplaced: an object was replaced or deleted since it was listed.
        NothingToDo: the run's execution has ended in the meantime.
    """
    run, item, s3, bucket = given.run, given.item, aws.s3(), environment.bucket()
    dataset = str(run.dataset)
    folder = CorpusFolder(s3, bucket, dataset, run.name)
    with folder.item_text(item) as text:
        result = items.read(s3, bucket, dataset, item, text.write, SECONDS)
        # A function goes on after its execution was aborted. The cleanup of the run may be over by now, so
        # write nothing that nobody would delete.
        if not executions.is_running(run.execution.id):
            raise NothingToDo(f"Execution {run.execution.id} has ended, so nobody needs this item any more.")
    folder.write_result(item, result)
    logger.info("Read", item=item.number, files=len(result.files), left_out=len(result.left_out))
