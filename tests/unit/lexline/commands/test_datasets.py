"""`lexline datasets`: the tables, as a user sees them."""

import json

import pytest

from lexline.aws.datasets import Dataset, LastRun, Manifest, StoredFile
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.unit.lexline.samples import JOB, RUN, WHEN

pytestmark = pytest.mark.usefixtures("deployed")

MANIFEST = Manifest(
    run=JOB,
    prepared=WHEN,
    words={"train": 900, "valid": 50, "test": 50},
    files={
        "[a].txt": (400, []),
        "novels.zip/one.txt": (300, ["It ends without a line break."]),
        "novels.zip/two.txt": (300, []),
    },
    left_out={"README.md": "it describes the corpus", "novels.zip/cover.jpg": "it is no text"},
    sources={"[a].txt": "etag", "novels.zip": "etag"},
)
FILES = [StoredFile(name, 1000, WHEN, "etag") for name in ("README.md", "[a].txt", "new.txt", "novels.zip")]
SOTU = Dataset("sotu", FILES, MANIFEST, LastRun(RUN.id, "Succeeded", WHEN))
NEW = Dataset("[/so]", FILES[1:2])


def test_each_dataset_has_its_size_what_was_left_out_and_its_last_run(patch: Patch) -> None:
    patch("aws.datasets.read_all", [NEW, SOTU])
    lines = [" ".join(line.split()) for line in run_lexline("datasets").output.splitlines()]
    assert lines[:3] == [
        "Dataset Files Size Words Left out Last run",
        "[/so] 1 1.0 kB 1 not read yet none",
        "sotu 4 4.0 kB 1,000 2, for example README.md: it describes the corpus; 1 not read yet "
        f"{RUN.id}: Succeeded, {WHEN.astimezone():%Y-%m-%d %H:%M}",
    ]
    assert "`lexline datasets NAME` lists the files" in lines[-1]


def test_without_datasets_it_says_how_to_make_one(patch: Patch) -> None:
    patch("aws.datasets.read_all", [])
    result = run_lexline("datasets")
    assert result.exit_code == 0
    assert "There are no datasets yet. `lexline run FILE`" in result.output


def test_a_dataset_shows_its_files_and_why_some_were_left_out(patch: Patch) -> None:
    patch("aws.datasets.read", SOTU)
    lines = [" ".join(line.split()) for line in run_lexline("datasets", "sotu").output.splitlines()]
    assert lines == [
        f"sotu: 4 files, 4.0 kB. Run {JOB} read 900 words for train, 50 words for valid, 50 words for test",
        f"Last run: {RUN.id}: Succeeded, {WHEN.astimezone():%Y-%m-%d %H:%M}",
        "",
        "File Size Words Note",
        "novels.zip/cover.jpg left out: it is no text",
        "README.md 1.0 kB left out: it describes the corpus",
        "new.txt 1.0 kB not read yet",
        "novels.zip 1.0 kB 600 2 texts. It ends without a line break.",
        "[a].txt 1.0 kB 400",
    ]


def test_a_dataset_of_many_files_ends_with_the_number_of_the_others(patch: Patch) -> None:
    files = [StoredFile(f"{number}.txt", 1, WHEN, "etag") for number in range(1000)]
    patch("aws.datasets.read", Dataset("sotu", files))
    output = run_lexline("datasets", "sotu").output
    assert "199.txt" in output
    assert "and 800 more. `lexline datasets sotu --json` lists all." in output


def test_the_name_of_a_dataset_is_understood_as_in_run(patch: Patch) -> None:
    asked: list[str] = []
    patch("aws.datasets.read", lambda stack, name: asked.append(name))
    result = run_lexline("datasets", "My Data")
    assert (result.exit_code, asked) == (1, ["my-data"])
    assert "There is no dataset My Data." in result.output
    assert "`lexline datasets` lists the datasets" in result.output


def test_everything_is_available_as_json(patch: Patch) -> None:
    patch("aws.datasets.read_all", [SOTU])
    (dataset,) = json.loads(run_lexline("datasets", "--json").output)
    assert dataset["manifest"]["left_out"] == MANIFEST.left_out
    assert [file["name"] for file in dataset["files"]] == [file.name for file in FILES]
    assert dataset["last_run"]["status"] == "Succeeded"
