"""`lexline status` and `lexline logs` of one run."""

import pytest

from lexline.aws.history import Step
from lexline.aws.logs import Line
from lexline.aws.watcher import Snapshot
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.unit.lexline.samples import RUN, WHEN

pytestmark = pytest.mark.usefixtures("deployed")


@pytest.fixture(autouse=True)
def _run(patch: Patch) -> None:
    patch("aws.runs.find", RUN)
    patch("aws.runs.newest", RUN)


def test_a_run_in_progress_is_shown_once_and_a_run_that_ended_with_its_result(patch: Patch) -> None:
    patch("aws.watcher.Watcher.look", Snapshot(RUN, {}, "RUNNING", [Step("Train", "running", WHEN, 0)]))
    assert run_lexline("status", "one").output == "Train ...\n"
    patch("aws.watcher.Watcher.look", Snapshot(RUN, {}, "TIMED_OUT"))
    assert "The run ended with the status TIMED_OUT." in run_lexline("status", "one").output


def test_a_log_has_its_lines_with_local_time_and_an_empty_one_is_called_empty(patch: Patch) -> None:
    patch("aws.logs.of_functions", [])
    patch("aws.logs.merged", [Line(WHEN, "Planned.", "Plan")])
    output = run_lexline("logs", "--source", "functions").output
    assert output == f"{WHEN.astimezone():%H:%M:%S}  Plan  Planned.\n"
    patch("aws.logs.merged", [])
    assert "The log is empty." in run_lexline("logs", "--source", "functions").output
