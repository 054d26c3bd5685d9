"""The reports that runs write to the bucket: for each run a JSON document and a web page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from lexline.aws import history, runs
from lexline.aws.runs import id_in
from lexline.aws.stack import Stack
from lexline.core.errors import UserError

UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)
"""The errors of code that reads a report whose fields are not those that the pipeline writes.

Anybody may start an execution, complete its tasks or write to the bucket.
"""
_FOLDER = "reports/"
_PAGE = ".html"


@dataclass(frozen=True)
class Stored:
    """A run's report page in the bucket."""

    run: str
    uri: str
    written: datetime


def newest_first(stack: Stack) -> list[Stored]:
    """Return all reports, newest first."""
    pages = stack.target.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, Prefix=_FOLDER)
    reports = [
        Stored(
            item["Key"].removeprefix(_FOLDER).removesuffix(_PAGE),
            f"s3://{stack.bucket}/{item['Key']}",
            item["LastModified"],
        )
        for page in pages
        for item in page.get("Contents", [])
        if item["Key"].endswith(_PAGE)
    ]
    return sorted(reports, key=lambda report: report.written, reverse=True)


def find(stack: Stack, wanted: str | None) -> Stored:
    """Return the report of a run.

    Args:
        stack: The stack to search.
        wanted: The run's name or id, or its execution's name. None means the newest report.

    Raises:
        UserError: There is no report yet, or this run has none.
    """
    reports = newest_first(stack)
    if wanted is None:
        if not reports:
            raise UserError("There are no reports yet.", "Start a run with `lexline run FILE`.")
        return reports[0]
    for report in reports:
        if wanted in (report.run, id_in(report.run)):
            return report
    # The name of an execution does not contain the run's id, so look the execution up.
    run = runs.find(stack, wanted)
    for report in reports:
        if run.id == id_in(report.run):
            return report
    raise UserError(
        f"The run {run.id} has no report: it is in progress, or it ended before it got the lease.",
        f"`lexline status {run.id}` shows the run.",
    )


def page(stack: Stack, report: Stored) -> bytes:
    """Return a report as a web page."""
    key = f"{_FOLDER}{report.run}{_PAGE}"
    return stack.target.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()


def document(stack: Stack, run: str) -> dict[str, Any] | None:
    """Return the report of a run as a JSON document, or None if the run has none that can be read."""
    try:
        stored = stack.target.s3.get_object(Bucket=stack.bucket, Key=f"{_FOLDER}{run}.json")
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    report = history.parsed(stored["Body"].read().decode(errors="replace"))
    return report if isinstance(report, dict) else None
