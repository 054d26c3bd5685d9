import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from core import names
from lexline import runs
from lexline.errors import UsageError, UserError
from lexline.run_ids import id_in, run_id
from lexline.runs import Uploaded
from lexline.target import Stack, Target
from tests.unit.lexline.conftest import EXECUTION, MACHINE

Stub = Callable[[Any], Stubber]
WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
UPLOADED = Uploaded("uploads/sotu/a.txt", "0f343b09", "v2")


def listed(*executions: str) -> dict[str, Any]:
    return {
        "executions": [
            {
                "executionArn": EXECUTION + name,
                "stateMachineArn": MACHINE,
                "name": name,
                "status": "RUNNING",
                "startDate": WHEN,
            }
            for name in executions
        ]
    }


def described(name: str, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "executionArn": EXECUTION + name,
        "stateMachineArn": MACHINE,
        "status": "RUNNING",
        "startDate": WHEN,
        "input": json.dumps(request),
    }


def event(**changes: str) -> dict[str, Any]:
    return {"upload": {"bucket": "b", "key": UPLOADED.key, "etag": "0f343b09", "version_id": "v2", **changes}}


def entered(state: str) -> dict[str, Any]:
    details = {"stateEnteredEventDetails": {"name": state}}
    return {"id": 1, "type": "TaskStateEntered", "timestamp": WHEN, **details}


def joined(gatherer: str) -> dict[str, Any]:
    """The gathering step's word that another execution takes the upload along."""
    reason = f"uploads/sotu/a.txt joined run lexline-sotu-{run_id(EXECUTION + gatherer)}, which begins soon"
    details = {"resource": "invoke", "resourceType": "lambda", "error": "NothingToDo", "cause": reason}
    return {"id": 2, "type": "TaskFailed", "timestamp": WHEN, "taskFailedEventDetails": details}


def gathers(machine: Stubber) -> None:
    """The execution whose history is asked for next gathers the uploads itself."""
    answered = {"id": 2, "type": "TaskSucceeded", "timestamp": WHEN}
    machine.add_response("get_execution_history", {"events": [entered("Gather"), answered]})


def test_a_runs_id_is_the_end_of_the_name_that_the_pipeline_gives_its_resources() -> None:
    arn = EXECUTION + "8f92eb39"
    name = names.run_name("lexline", "sotu", arn)
    assert name.endswith(f"-{run_id(arn)}")
    assert id_in(name) == run_id(arn)
    assert id_in("by-hand") == "by-hand"


@pytest.mark.parametrize(
    ("files", "given", "problem"),
    [
        ([], ["nowhere.txt"], "no file nowhere.txt"),
        (["a.txt", "b.txt"], ["a.txt", "b.txt"], "these are 2"),
        (["d/train.txt"], ["d"], "holds 1 files"),
        (["d/train.txt", "e.txt", "f.txt"], ["d", "e.txt", "f.txt"], "d is not a file"),
    ],
)
def test_what_cannot_be_a_dataset_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], given: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in files:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("text")
    with pytest.raises(UsageError, match=problem):
        runs.files_of([Path(name) for name in given])


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(UsageError, match="is empty"):
        runs.files_of([tmp_path / "a.txt"])


def test_a_folder_gives_its_three_files_and_no_hidden_ones(tmp_path: Path) -> None:
    for name in ("train.txt", "valid.txt", "test.txt", ".DS_Store"):
        (tmp_path / name).write_text("text")
    assert [path.name for path in runs.files_of([tmp_path])] == ["test.txt", "train.txt", "valid.txt"]


@pytest.mark.parametrize(
    ("given", "path", "name"),
    [
        (None, "State of the Union.txt.gz", "state-of-the-union"),
        (None, "corpora/wiki_103/", "wiki-103"),
        ("My.data_1", "x.txt", "My.data_1"),
    ],
)
def test_a_dataset_is_named_after_its_file_unless_told(given: str | None, path: str, name: str) -> None:
    assert runs.dataset_name(given, [Path(path)]) == name


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "x" * 64])
def test_a_name_that_the_pipeline_would_refuse_is_refused_at_once(name: str) -> None:
    with pytest.raises(UsageError):
        runs.dataset_name(name, [])


def test_the_run_of_an_upload_is_the_one_with_its_key_etag_and_version(
    target: Target, stack: Stack, stub: Stub
) -> None:
    machine = stub(target.stepfunctions)
    machine.add_response("list_executions", listed("older"))
    machine.add_response("describe_execution", described("older", event(version_id="v1")))
    machine.add_response("list_executions", listed("by-name", "mine", "older"))
    machine.add_response("describe_execution", described("mine", event()))
    gathers(machine)
    found = runs.started_by(target, stack, UPLOADED, patience=60, sleep=lambda seconds: None)
    # Oldest first, so "by-name" was not asked about, and "older" not twice.
    assert found.name == "mine"


@pytest.mark.parametrize("request_", [[1], "text", None, {"upload": "text"}, {"upload": {"key": 7}}])
def test_an_execution_with_an_input_of_another_kind_is_nobodys_run(
    target: Target, stack: Stack, stub: Stub, request_: Any
) -> None:
    machine = stub(target.stepfunctions)
    machine.add_response("list_executions", listed("mine", "odd"))
    machine.add_response("describe_execution", described("odd", request_))
    machine.add_response("describe_execution", described("mine", event()))
    gathers(machine)
    assert runs.started_by(target, stack, UPLOADED, patience=60).name == "mine"


def test_an_upload_that_joined_another_run_is_followed_there(
    target: Target, stack: Stack, stub: Stub
) -> None:
    machine = stub(target.stepfunctions)
    machine.add_response("list_executions", listed("mine", "gatherer"))
    machine.add_response("describe_execution", described("gatherer", event(key="uploads/sotu/b.txt")))
    machine.add_response("describe_execution", described("mine", event()))
    # Whether it gathers is not decided at the first look.
    machine.add_response("get_execution_history", {"events": [entered("Plan")]})
    machine.add_response("get_execution_history", {"events": [entered("Gather"), joined("gatherer")]})
    machine.add_response("list_executions", listed("mine", "gatherer"))
    found = runs.started_by(target, stack, UPLOADED, patience=60, sleep=lambda seconds: None)
    assert found.name == "gatherer"


def test_an_upload_that_starts_nothing_says_how_to_start_by_hand(
    target: Target, stack: Stack, stub: Stub
) -> None:
    stub(target.stepfunctions).add_response("list_executions", listed())
    with pytest.raises(UserError) as refusal:
        runs.started_by(target, stack, UPLOADED, patience=-1, sleep=lambda seconds: None)
    assert "lexline run --dataset sotu" in refusal.value.hint


@pytest.mark.parametrize(
    "wanted",
    [
        "second",
        run_id(EXECUTION + "second"),
        f"lexline-sotu-{run_id(EXECUTION + 'second')}",
    ],
)
def test_a_run_is_found_by_name_id_and_job(target: Target, stack: Stack, stub: Stub, wanted: str) -> None:
    stub(target.stepfunctions).add_response("list_executions", listed("first", "second"))
    assert runs.find(target, stack, wanted).name == "second"


def test_without_a_name_the_newest_run_is_meant(target: Target, stack: Stack, stub: Stub) -> None:
    machine = stub(target.stepfunctions)
    machine.add_response("list_executions", listed("first", "second"))
    # It is only being planned, so what becomes of it is open.
    machine.add_response("get_execution_history", {"events": [entered("Plan")]})
    assert runs.find(target, stack, None).name == "first"


def test_the_newest_uploads_run_is_the_one_that_it_joined(target: Target, stack: Stack, stub: Stub) -> None:
    machine = stub(target.stepfunctions)
    machine.add_response("list_executions", listed("joined", "gatherer"))
    machine.add_response("get_execution_history", {"events": [entered("Gather"), joined("gatherer")]})
    assert runs.find(target, stack, None).name == "gatherer"


def test_an_unknown_run_is_refused(target: Target, stack: Stack, stub: Stub) -> None:
    stub(target.stepfunctions).add_response("list_executions", listed("first"))
    with pytest.raises(UsageError, match="nosuch"):
        runs.find(target, stack, "nosuch")


def test_an_execution_is_started_with_the_request_and_named_after_what_it_is_about(
    target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def start_execution(**arguments: Any) -> dict[str, Any]:
        asked.update(arguments)
        return {"executionArn": EXECUTION + arguments["name"], "startDate": WHEN}

    monkeypatch.setattr(target.stepfunctions, "start_execution", start_execution)
    runs.start(target, stack, "a.very.long_dataset" * 3, {"dataset": "x", "teardown": "always"})
    assert json.loads(asked["input"]) == {"dataset": "x", "teardown": "always"}
    assert asked["name"].startswith("a-very-long-dataset")
    # Step Functions takes names of 80 characters.
    assert len(asked["name"]) <= 80
