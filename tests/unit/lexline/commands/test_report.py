from pathlib import Path

import pytest

from lexline.aws.reports import Stored
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.unit.lexline.samples import ONE, WHEN

pytestmark = pytest.mark.usefixtures("deployed")
URI = f"s3://lexline-bucket/reports/{ONE}.html"


@pytest.fixture(autouse=True)
def _report(patch: Patch) -> None:
    patch("aws.reports.find", Stored(ONE, URI, WHEN))
    patch("aws.reports.page", b"<p>caf\xc3\xa9</p>")


def test_the_address_of_the_page_and_how_to_save_it_are_printed() -> None:
    output = run_lexline("report").output
    assert URI in output
    assert "`lexline report 111111111111 --save FILE`" in output
    output = run_lexline("report", "--stack", "second").output
    assert "`lexline report 111111111111 --save FILE --stack second`" in output


def test_a_saved_page_is_the_one_that_the_run_wrote(tmp_path: Path) -> None:
    result = run_lexline("report", ONE, "--save", str(tmp_path / "a b.html"))
    assert (tmp_path / "a b.html").read_bytes() == b"<p>caf\xc3\xa9</p>"
    assert "/a%20b.html" in result.output


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    result = run_lexline("report", "--save", str(tmp_path / "none" / "a.html"))
    assert result.exit_code == 1
    assert "a.html cannot be written: No such file or directory." in result.output
