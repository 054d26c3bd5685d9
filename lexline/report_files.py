"""The reports that runs leave in the bucket, a document and a page each, and the price table beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from lexline import runs
from lexline.errors import UserError
from lexline.run_ids import id_in
from lexline.target import Stack, Target

PRICES = "prices.json"
_FOLDER = "reports/"
_PAGE = ".html"


@dataclass(frozen=True)
class Stored:
    """A run's report page, and when it was written."""

    run: str
    uri: str
    written: datetime


def newest_first(target: Target, stack: Stack) -> list[Stored]:
    """Every report, the one that was written last first."""
    return sorted(_all(target, stack), key=lambda stored: stored.written, reverse=True)


def find(target: Target, stack: Stack, wanted: str | None) -> Stored:
    """The report of the run with this id or name; the newest one for None. Raises UserError."""
    stored = newest_first(target, stack)
    if wanted is None:
        if not stored:
            raise UserError("No run has left a report yet.", "Start one with `lexline run FILE`.")
        return stored[0]
    for each in stored:
        if wanted in (each.run, id_in(each.run)):
            return each
    # An execution's name says nothing of the run's; the execution itself has to be found for that.
    found = runs.find(target, stack, wanted)
    for each in stored:
        if found.id == id_in(each.run):
            return each
    raise UserError(
        f"Run {found.id} has left no report: it has not ended, or never had the endpoint's lease.",
        f"`lexline status {found.id}` tells how it stands.",
    )


def page(target: Target, stack: Stack, stored: Stored) -> bytes:
    """The report as a web page."""
    key = f"{_FOLDER}{stored.run}{_PAGE}"
    return target.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()


def document(target: Target, stack: Stack, run: str) -> dict[str, Any] | None:
    """The report as the run's execution ended with; None when the run left none."""
    try:
        stored = target.s3.get_object(Bucket=stack.bucket, Key=f"{_FOLDER}{run}.json")
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    read: dict[str, Any] = json.loads(stored["Body"].read())
    return read


def own_prices(target: Target, stack: Stack) -> str:
    """Where the user's own price table is; "" when there is none."""
    listed = target.s3.list_objects_v2(Bucket=stack.bucket, Prefix=PRICES)
    there = any(each["Key"] == PRICES for each in listed.get("Contents", []))
    return f"s3://{stack.bucket}/{PRICES}" if there else ""


def put_prices(target: Target, stack: Stack, table: bytes) -> str:
    """Has runs from now on estimated by this table; answers where it is."""
    target.s3.put_object(Bucket=stack.bucket, Key=PRICES, Body=table, ContentType="application/json")
    return f"s3://{stack.bucket}/{PRICES}"


def _all(target: Target, stack: Stack) -> Iterator[Stored]:
    pages = target.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, Prefix=_FOLDER)
    for listed in pages:
        for each in listed.get("Contents", []):
            if each["Key"].endswith(_PAGE):
                run = each["Key"].removeprefix(_FOLDER).removesuffix(_PAGE)
                yield Stored(run, f"s3://{stack.bucket}/{each['Key']}", each["LastModified"])
