"""Datasets as the bucket has them: files, what the newest run read and left out, and the last run."""

import io
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from botocore.response import StreamingBody

from lexline.aws import datasets, runs
from lexline.aws.datasets import LastRun, StoredFile
from lexline.aws.reports import Stored
from lexline.aws.stack import Stack
from lexline.core.dataset_names import DatasetName
from lexline.core.errors import UsageError
from tests.unit.lexline.conftest import Patch, Stubs
from tests.unit.lexline.pipeline import run_name
from tests.unit.lexline.samples import EXECUTION, JOB, RUN, WHEN

MINUTE = timedelta(minutes=1)
MANIFEST: dict[str, Any] = {
    "dataset": "sotu",
    "fingerprint": "ab" * 32,
    "run": JOB,
    "prepared_at": WHEN.isoformat(),
    "splits": {
        split: {"lines": 1, "words": words, "bytes": 9, "ranges": [["00000", 0, 9]]}
        for split, words in {"train": 900, "valid": 50, "test": 51}.items()
    },
    "files": [{"name": "a.txt", "bytes": 18, "lines": 3, "words": 1001, "notes": ["It was cut."]}],
    "left_out": [{"name": "README.md", "reason": "It describes the corpus and is no part of it."}],
    "source": [{"uri": "s3://lexline-bucket/uploads/sotu/a.txt", "etag": "a", "version_id": "v1"}],
    "preview": [],
}


def objects(stubs: Stubs, **keys: int) -> None:
    """One listing: the keys with the minute of their upload. The ETag is the first letter of the name."""
    contents = [
        {
            "Key": key,
            "Size": 18,
            "LastModified": WHEN + minute * MINUTE,
            "ETag": f'"{key.rpartition("/")[2][:1]}"',
        }
        for key, minute in keys.items()
    ]
    stubs.returns("s3", "list_objects_v2", Contents=contents)


def manifest(stubs: Stubs, document: Mapping[str, Any] = MANIFEST) -> None:
    body = json.dumps(document).encode()
    response = {"Body": StreamingBody(io.BytesIO(body), len(body)), "LastModified": WHEN}
    stubs.s3.add_response("get_object", response)


@pytest.fixture(autouse=True)
def _no_runs(patch: Patch) -> None:
    patch("aws.runs.recent", [])
    patch("aws.reports.newest_first", [])


def test_datasets_are_the_folders_with_files(stack: Stack, stubs: Stubs) -> None:
    keys = {"uploads/b/x/y.txt": 1, "uploads/a/1.txt": 1, "uploads/folder/": 1, "uploads/nowhere.txt": 1}
    objects(stubs, **keys)
    objects(stubs)
    read = datasets.read_all(stack)
    assert [(each.name, [file.name for file in each.files]) for each in read] == [
        ("a", ["1.txt"]),
        ("b", ["x/y.txt"]),
    ]
    assert [each.unread for each in read] == [each.files for each in read]


def test_the_newest_manifest_says_what_was_read_and_left_out(stack: Stack, stubs: Stubs) -> None:
    objects(stubs, **{"uploads/sotu/README.md": -1, "uploads/sotu/a.txt": -1, "uploads/sotu/b.txt": 1})
    folder = "prepared/sotu"
    newest = f"{folder}/two/corpus/manifest.json"
    objects(
        stubs,
        **{f"{folder}/one/corpus/manifest.json": -5, newest: 0, f"{folder}/three/corpus/00000": 1},
    )
    manifest(stubs)
    dataset = datasets.read(stack, "sotu")
    assert dataset
    assert dataset.manifest
    assert (dataset.manifest.run, dataset.manifest.words["train"]) == (JOB, 900)
    assert dataset.manifest.files == {"a.txt": (1001, ["It was cut."])}
    assert dataset.manifest.left_out == {"README.md": "It describes the corpus and is no part of it."}
    assert [file.name for file in dataset.unread] == ["b.txt"]
    assert dataset.size == 54


@pytest.mark.parametrize("changes", [{"splits": 7}, {"files": [{}]}, {"left_out": None}, {"source": ["x"]}])
def test_a_manifest_of_another_form_counts_as_none(
    stack: Stack, stubs: Stubs, changes: dict[str, Any]
) -> None:
    objects(stubs, **{"uploads/sotu/a.txt": 0})
    objects(stubs, **{"prepared/sotu/one/corpus/manifest.json": 0})
    manifest(stubs, {**MANIFEST, **changes})
    dataset = datasets.read(stack, "sotu")
    assert dataset
    assert dataset.manifest is None


def test_a_dataset_without_files_does_not_exist(stack: Stack, stubs: Stubs) -> None:
    objects(stubs)
    objects(stubs)
    assert datasets.read(stack, "sotu") is None


class TestLastRun:
    @pytest.fixture(autouse=True)
    def _file(self, stubs: Stubs) -> None:
        objects(stubs, **{"uploads/sotu/a.txt": 0})
        objects(stubs)

    @staticmethod
    def last_run(stack: Stack) -> LastRun | None:
        dataset = datasets.read(stack, "sotu")
        assert dataset
        return dataset.last_run

    def test_a_run_in_progress_is_the_last(self, stack: Stack, stubs: Stubs, patch: Patch) -> None:
        patch("aws.runs.recent", [RUN])
        given = {"executionArn": RUN.arn, "input": json.dumps({"dataset": "sotu"})}
        stubs.returns("stepfunctions", "describe_execution", {"executionArn": RUN.arn}, **given)
        assert self.last_run(stack) == LastRun(RUN.id, "Running", WHEN)

    def test_otherwise_the_newest_report_that_is_this_datasets(
        self, stack: Stack, stubs: Stubs, patch: Patch
    ) -> None:
        """A similar name, a report of another form and a run that had nothing to do are passed over."""
        written = [
            "lexline--sotu-0123456789ab",
            "lexline--sotu-bbbbbbbbbbbb",
            "lexline--sotu-dddddddddddd",
            JOB,
            "lexline--other-cccccccccccc",
        ]
        patch("aws.reports.newest_first", [Stored(run, "", WHEN) for run in written])
        found = {
            written[0]: {"status": "Succeeded", "dataset": {"dataset": "SOTU"}},
            written[1]: {"status": "Failed"},
            written[2]: {"status": "Skipped", "dataset": {"dataset": "sotu"}},
            JOB: {"status": "Failed", "dataset": None, "execution": RUN.arn},
        }
        patch("aws.reports.document", lambda stack, run: found[run])
        upload = {"upload": {"key": "uploads/sotu/a.txt"}}
        given = {"executionArn": RUN.arn, "input": json.dumps(upload)}
        stubs.returns("stepfunctions", "describe_execution", {"executionArn": RUN.arn}, **given)
        assert self.last_run(stack) == LastRun(RUN.id, "Failed", WHEN)

    def test_if_all_runs_had_nothing_to_do_it_is_the_newest_of_them(self, stack: Stack, patch: Patch) -> None:
        written = [f"lexline--sotu-{digit * 12}" for digit in "ab"]
        patch("aws.reports.newest_first", [Stored(run, "", WHEN) for run in written])
        patch("aws.reports.document", {"status": "Skipped", "dataset": {"dataset": "sotu"}})
        assert self.last_run(stack) == LastRun("a" * 12, "Skipped", WHEN)


@pytest.mark.parametrize("dataset", ["sotu", "My.data_1", "a-very-long-name-of-a-dataset", "0"])
def test_the_beginning_of_a_runs_name_is_the_pipelines(stack: Stack, dataset: str) -> None:
    assert run_name("lexline", dataset, EXECUTION).startswith(runs.beginning_of_name(stack, dataset))
    assert len(run_name("lexline", dataset, EXECUTION)) == len(runs.beginning_of_name(stack, dataset)) + 12


FILES = [StoredFile("b.txt", 4, WHEN + MINUTE, "b"), StoredFile("a.txt", 4, WHEN, "a")]


@pytest.mark.parametrize(
    ("metadata", "wanted", "original"),
    [
        ({"dataset-name": "%C3%A9t%C3%A9"}, DatasetName("ete", "été", "été.txt"), "été"),
        # With --dataset ete, the dataset is meant whatever it was made from.
        ({"dataset-name": "%C3%A9t%C3%A9"}, DatasetName("ete"), "été"),
        ({}, DatasetName("ete", "ete", "ete.txt"), "ete"),
        ({}, DatasetName("ete"), "ete"),
        ({"dataset-name": "%C3%A9t%C3%A9"}, DatasetName("ete", "ete", "ete.txt"), None),
        ({}, DatasetName("ete", "été", "été.txt"), None),
    ],
)
def test_two_names_never_share_a_dataset_unsaid(
    stack: Stack, stubs: Stubs, metadata: dict[str, str], wanted: DatasetName, original: str | None
) -> None:
    request = {"Bucket": "lexline-bucket", "Key": "uploads/ete/a.txt"}
    stubs.s3.add_response("head_object", {"Metadata": metadata}, request)
    if original is not None:
        assert datasets.check_name(stack, wanted, FILES) == original
        return
    with pytest.raises(UsageError, match="was made from the name") as error:
        datasets.check_name(stack, wanted, FILES)
    assert "--dataset ete" in error.value.hint


def test_a_new_dataset_may_have_any_name(stack: Stack) -> None:
    assert datasets.check_name(stack, DatasetName("ete", "été", "été.txt"), []) == "été"
    assert datasets.check_name(stack, DatasetName("ete"), []) == "ete"
