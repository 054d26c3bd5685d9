"""The reports in the bucket, and the price table beside them."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from lexline.aws import prices, reports
from lexline.aws.reports import Stored
from lexline.aws.runs import Run
from lexline.aws.stack import Stack
from lexline.core.errors import UserError
from tests.unit.lexline import pipeline
from tests.unit.lexline.conftest import Patch, Stubs
from tests.unit.lexline.samples import EXECUTION, JOB, ONE, RUN, TWO, WHEN

BUCKET = {"Bucket": "lexline-bucket"}


def listed(stubs: Stubs, *runs: str) -> None:
    """The reports of runs, newest first."""
    contents = [
        {"Key": f"reports/{run}.{kind}", "LastModified": WHEN - timedelta(hours=hours)}
        for hours, run in enumerate(runs)
        for kind in ("html", "json")
    ]
    # S3 lists by name.
    contents.sort(key=lambda item: str(item["Key"]), reverse=True)
    stubs.s3.add_response("list_objects_v2", {"Contents": contents}, {**BUCKET, "Prefix": "reports/"})


@pytest.mark.parametrize(
    ("wanted", "run"), [(None, ONE), (ONE, ONE), ("111111111111", ONE), ("222222222222", TWO)]
)
def test_a_report_is_found_by_its_run_and_is_the_newest_without_one(
    stack: Stack, stubs: Stubs, wanted: str | None, run: str
) -> None:
    listed(stubs, ONE, TWO)
    report = reports.find(stack, wanted)
    assert (report.run, report.uri) == (run, f"s3://lexline-bucket/reports/{run}.html")


def test_a_report_is_found_by_the_name_of_its_execution(stack: Stack, stubs: Stubs, patch: Patch) -> None:
    patch("aws.runs.find", RUN)
    listed(stubs, ONE, JOB)
    assert reports.find(stack, "one").run == JOB


def test_a_run_without_a_report_says_why_and_where_to_look(stack: Stack, stubs: Stubs, patch: Patch) -> None:
    patch("aws.runs.find", Run(EXECUTION + "two", "RUNNING", WHEN, None))
    listed(stubs, ONE, JOB)
    with pytest.raises(UserError, match="has no report") as error:
        reports.find(stack, "two")
    assert "lexline status" in error.value.hint


def test_before_the_first_run_there_is_no_report(stack: Stack, stubs: Stubs) -> None:
    stubs.s3.add_response("list_objects_v2", {})
    with pytest.raises(UserError, match="no reports yet"):
        reports.find(stack, None)


def test_a_page_and_a_document_are_read_as_they_were_written(stack: Stack, stubs: Stubs) -> None:
    for kind, content in (("html", b"<p>"), ("json", b'{"a": 1}')):
        body: Any = StreamingBody(io.BytesIO(content), len(content))
        key = {"Key": f"reports/{ONE}.{kind}"}
        stubs.s3.add_response("get_object", {"Body": body}, {**BUCKET, **key})
    assert reports.page(stack, Stored(ONE, "", WHEN)) == b"<p>"
    assert reports.document(stack, ONE) == {"a": 1}


def test_a_run_may_have_no_document(stack: Stack, stubs: Stubs) -> None:
    stubs.s3.add_client_error("get_object", "NoSuchKey", "no", 404)
    assert reports.document(stack, ONE) is None


def test_the_users_prices_are_where_the_pipeline_reads_them(stack: Stack, stubs: Stubs) -> None:
    assert prices.KEY == pipeline.prices.KEY
    for keys, uploaded in ((["prices.json.old"], False), (["prices.json"], True)):
        contents = [{"Key": key} for key in keys]
        stubs.s3.add_response("list_objects_v2", {"Contents": contents})
        assert prices.uploaded(stack) == uploaded
    table = {"Key": "prices.json", "Body": b"{}", "ContentType": "application/json"}
    stubs.s3.add_response("put_object", {}, {**BUCKET, **table})
    assert prices.upload(stack, b"{}") == "s3://lexline-bucket/prices.json"


OWN = {"training": {"ml.m5.xlarge": 1.5}, "hosting": {}}


@pytest.mark.parametrize(
    ("content", "price"),
    [(json.dumps(OWN), 1.5), ("{}", 0.23), ("[1]", 0.23), ("no JSON", 0.23), (None, 0.23)],
)
def test_the_current_prices_are_the_users_own_or_the_lists(
    stack: Stack, stubs: Stubs, content: str | None, price: float
) -> None:
    if content is None:
        stubs.s3.add_client_error("get_object", "NoSuchKey", "no", 404)
    else:
        body: Any = StreamingBody(io.BytesIO(content.encode()), len(content))
        stubs.s3.add_response("get_object", {"Body": body}, {**BUCKET, "Key": "prices.json"})
    assert prices.current(stack)["training"]["ml.m5.xlarge"] == price


def test_prices_that_cannot_be_read_now_are_an_error(stack: Stack, stubs: Stubs) -> None:
    stubs.s3.add_client_error("get_object", "SlowDown", "slow", 503)
    with pytest.raises(ClientError, match="SlowDown"):
        prices.current(stack)
