"""The reports that the runs left in the bucket, and the price table beside them."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from lexline import report_files, runs
from lexline.errors import UserError
from lexline.report_files import Stored
from lexline.runs import Run
from lexline.target import Stack, Target
from steps import report
from tests.unit.lexline.conftest import EXECUTION

Stub = Callable[[Any], Stubber]
WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ONE, TWO = "lexline-sotu-111111111111", "lexline-wiki-222222222222"


def listed(s3: Stubber) -> None:
    """Two runs' reports; S3 lists by name, and the first is the newer."""
    s3.add_response(
        "list_objects_v2",
        {
            "Contents": [
                {"Key": f"reports/{run}.{kind}", "LastModified": WHEN - timedelta(hours=hours)}
                for hours, run in enumerate((ONE, TWO))
                for kind in ("html", "json")
            ]
        },
        {"Bucket": "lexline-bucket", "Prefix": "reports/"},
    )


def body(content: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(content), len(content))


class TestFinding:
    @pytest.mark.parametrize(
        ("wanted", "run"), [(None, ONE), (ONE, ONE), ("111111111111", ONE), ("222222222222", TWO)]
    )
    def test_a_report_is_found_by_its_run_and_is_the_newest_without(
        self, target: Target, stack: Stack, stub: Stub, wanted: str | None, run: str
    ) -> None:
        listed(stub(target.s3))
        stored = report_files.find(target, stack, wanted)
        assert (stored.run, stored.uri) == (run, f"s3://lexline-bucket/reports/{run}.html")

    def test_an_executions_name_leads_to_its_run(
        self, target: Target, stack: Stack, stub: Stub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = Run(EXECUTION + "by-name", "SUCCEEDED", WHEN, WHEN)
        monkeypatch.setattr(runs, "find", lambda *_: found)
        run = f"lexline-sotu-{found.id}"
        content = [{"Key": f"reports/{run}.html", "LastModified": WHEN}]
        stub(target.s3).add_response("list_objects_v2", {"Contents": content})
        assert report_files.find(target, stack, "by-name").run == run

    def test_a_run_without_a_report_says_why_and_where_to_look(
        self, target: Target, stack: Stack, stub: Stub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed(stub(target.s3))
        found = Run(EXECUTION + "one", "RUNNING", WHEN, None)
        monkeypatch.setattr(runs, "find", lambda *_: found)
        with pytest.raises(UserError, match="has left no report") as refusal:
            report_files.find(target, stack, "one")
        assert f"lexline status {found.id}" in refusal.value.hint

    def test_before_the_first_run_there_is_none(self, target: Target, stack: Stack, stub: Stub) -> None:
        stub(target.s3).add_response("list_objects_v2", {})
        with pytest.raises(UserError, match="No run has left a report"):
            report_files.find(target, stack, None)


def test_a_page_is_read_as_it_was_written(target: Target, stack: Stack, stub: Stub) -> None:
    stub(target.s3).add_response(
        "get_object", {"Body": body(b"<p>")}, {"Bucket": "lexline-bucket", "Key": f"reports/{ONE}.html"}
    )
    assert report_files.page(target, stack, Stored(ONE, "", WHEN)) == b"<p>"


def test_a_run_that_left_no_document_has_none(target: Target, stack: Stack, stub: Stub) -> None:
    stub(target.s3).add_client_error("get_object", "NoSuchKey", "no", 404)
    assert report_files.document(target, stack, ONE) is None


def test_ones_own_prices_lie_where_the_pipeline_reads_them(target: Target, stack: Stack, stub: Stub) -> None:
    assert report_files.PRICES == report.PRICES
    s3 = stub(target.s3)
    s3.add_response("list_objects_v2", {"Contents": [{"Key": "prices.json.old"}]})
    s3.add_response("list_objects_v2", {"Contents": [{"Key": "prices.json"}]})
    assert report_files.own_prices(target, stack) == ""
    assert report_files.own_prices(target, stack) == "s3://lexline-bucket/prices.json"
    s3.add_response(
        "put_object",
        {},
        {
            "Bucket": "lexline-bucket",
            "Key": "prices.json",
            "Body": b"{}",
            "ContentType": "application/json",
        },
    )
    assert report_files.put_prices(target, stack, b"{}") == "s3://lexline-bucket/prices.json"
