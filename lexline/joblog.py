"""Reads CloudWatch log streams from where the last reading ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

TRAINING_JOBS = "/aws/sagemaker/TrainingJobs"
ENDPOINTS = "/aws/sagemaker/Endpoints/"


@dataclass(frozen=True)
class Line:
    """One log event. `stream` tells which host or process wrote it."""

    when: datetime
    stream: str
    text: str


class LogReader:
    """All streams of a log group whose names begin with a prefix; each `new` goes on where the last one
    ended.
    """

    def __init__(self, client: CloudWatchLogsClient, group: str, prefix: str = "") -> None:
        self._client = client
        self._group = group
        self._prefix = prefix
        self._tokens: dict[str, str] = {}

    def new(self) -> list[Line]:
        """The lines since the last call, in order of time. A group that is not there yet has none."""
        lines: list[Line] = []
        try:
            for stream in self._streams():
                lines.extend(self._read(stream))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
        return sorted(lines, key=lambda line: line.when)

    def _streams(self) -> Iterator[str]:
        pages = self._client.get_paginator("describe_log_streams")
        # CloudWatch refuses an empty prefix.
        found = (
            pages.paginate(logGroupName=self._group, logStreamNamePrefix=self._prefix)
            if self._prefix
            else pages.paginate(logGroupName=self._group)
        )
        for page in found:
            for stream in page["logStreams"]:
                yield stream["logStreamName"]

    def _read(self, stream: str) -> Iterator[Line]:
        while True:
            token = self._tokens.get(stream)
            page = (
                self._client.get_log_events(
                    logGroupName=self._group, logStreamName=stream, startFromHead=True, nextToken=token
                )
                if token
                else self._client.get_log_events(
                    logGroupName=self._group, logStreamName=stream, startFromHead=True
                )
            )
            for event in page["events"]:
                when = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                yield Line(when, stream, event["message"].rstrip("\n"))
            self._tokens[stream] = page["nextForwardToken"]
            # CloudWatch says "the end" by giving back the token it was given.
            if not page["events"] or page["nextForwardToken"] == token:
                return
