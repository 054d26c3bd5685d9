"""plan: an execution's input becomes a run with everything decided, or an error that names the field."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.run import Run
from core import names
from core.errors import InvalidInput, NothingToDo
from steps import plan
from tests.unit.pipeline.documents import NAME, Document, Documents

UPLOAD = {"bucket": "texts", "etag": "9b2cf535", "size": 120, "version_id": "3sL4kqtJ"}
Plans = Callable[[Any], Document]


@pytest.fixture
def plans(documents: Documents, context: LambdaContext) -> Plans:
    return lambda request: plan.handler({"execution": documents.execution, "request": request}, context)


def uploaded(key: str = "uploads/sotu/sotu.txt", **changes: Any) -> Document:
    return {"upload": {**UPLOAD, "key": key, **changes}}


def test_a_dataset_alone_is_a_complete_request(plans: Plans, documents: Documents) -> None:
    run = plans({"dataset": "State.of_the-Union"})
    assert run["name"] == names.run_name("lexline", "State.of_the-Union", documents.execution["id"])
    assert (run["work"], run["subject"]) == ("train", run["name"])
    assert (run["endpoint"], run["dataset"]) == ("lexline", "State.of_the-Union")
    assert (run["hyperparameters"]["recipe"], run["hyperparameters"]["epochs"]) == ("fast", None)
    assert (run["training"]["max_runtime_seconds"], run["training"]["spot"]) == (86400, True)
    assert (run["tolerance"], run["force"], run["source"]) == (0, False, None)
    assert run["teardown"] == "never"
    assert Run.model_validate(run).model_dump(mode="json") == run


def test_the_deployments_defaults_fill_in_what_the_request_leaves_out(
    plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {
        "hyperparameters": {"epochs": "3", "emsize": 128, "nhid": 128, "tied": "true"},
        "training": {"instance_type": "ml.c5.xlarge", "spot": "false"},
        "tolerance": 0.02,
        "teardown": "after:PT8H",
    }
    monkeypatch.setenv("DEFAULTS", json.dumps(defaults))
    run = plans({"dataset": "sotu", "hyperparameters": {"epochs": 5}, "training": {"spot": True}})
    assert run["hyperparameters"]["epochs"] == 5
    assert run["hyperparameters"]["emsize"] == 128
    assert run["hyperparameters"]["tied"] is True
    assert (run["training"]["instance_type"], run["training"]["spot"]) == ("ml.c5.xlarge", True)
    assert (run["tolerance"], run["teardown"]) == (0.02, {"after": "PT8H"})


@pytest.mark.parametrize("teardown", ["never", {"after": "PT8H"}])
def test_a_request_replaces_a_default_of_another_form(
    plans: Plans, monkeypatch: pytest.MonkeyPatch, teardown: Any
) -> None:
    monkeypatch.setenv("DEFAULTS", json.dumps({"teardown": "when_idle:PT1H"}))
    assert plans({"dataset": "sotu", "teardown": teardown})["teardown"] == teardown


@pytest.mark.parametrize("model", [NAME, "17", "previous"])
def test_a_model_is_deployed_without_training(plans: Plans, documents: Documents, model: str) -> None:
    run = plans({"model": model, "force": True})
    assert (run["work"], run["model"], run["dataset"], run["force"]) == ("deploy", model, None, True)
    assert run["subject"] == run["name"] == names.run_name("lexline", "deploy", documents.execution["id"])


@pytest.mark.parametrize(
    ("work", "request_"),
    [
        ("teardown", {"run": NAME, "when_idle": "PT1H"}),
        ("cleanup", {"run": NAME, "execution": "arn", "status": "ABORTED", "dataset": "sotu"}),
    ],
)
def test_a_teardown_and_a_cleanup_are_about_another_run(
    plans: Plans, documents: Documents, work: str, request_: Document
) -> None:
    run = plans({f"{work}_of": request_})
    assert (run["work"], run["subject"], run[f"{work}_of"]) == (work, NAME, request_)
    # The handover knows a cleanup's run by this name before it is planned.
    assert run["name"] == names.run_name("lexline", work, documents.execution["id"])


# --- uploads


@pytest.mark.parametrize("version_id", ["3sL4kqtJ", ""])
def test_an_uploads_folder_is_its_dataset(plans: Plans, version_id: str) -> None:
    run = plans(uploaded("uploads/sotu/part/1.txt", version_id=version_id))
    assert (run["work"], run["dataset"], run["upload"]["version_id"]) == ("train", "sotu", version_id)


@pytest.mark.parametrize("file", ["a b+c%41.txt", "ποίημα/été.txt", '\'"x".txt', "README of mine.txt"])
def test_a_file_may_have_any_name(plans: Plans, file: str) -> None:
    assert plans(uploaded(f"uploads/sotu/{file}"))["dataset"] == "sotu"


@pytest.mark.parametrize("file", ["README.md", "LICENSE", ".DS_Store", "a/.hidden/b.txt", "CITATION.cff", ""])
def test_a_folder_and_a_file_that_is_no_corpus_start_nothing(plans: Plans, file: str) -> None:
    with pytest.raises(NothingToDo, match="is no corpus" if file else "is a folder"):
        plans(uploaded(f"uploads/sotu/{file}"))


@pytest.mark.parametrize(
    ("upload", "message"),
    [
        ({"key": "uploads/sotu.txt"}, "is not in a dataset's folder"),
        ({"key": "elsewhere/sotu/sotu.txt"}, "is not under s3://texts/uploads/"),
        ({"bucket": "another"}, "s3://another/uploads/sotu/sotu.txt is not under"),
        (
            {"key": "uploads/My Data/1.txt"},
            "the folder 'My Data' .* Upload the file as uploads/My-Data/1.txt",
        ),
        ({"key": "uploads/été/a/b.txt"}, "the folder 'été' .* Upload the file as uploads/ete/a/b.txt"),
        ({"key": "uploads/корпус/1.txt"}, "'корпус' .* uploads/my-dataset/1.txt, or with `lexline run`"),
        ({"key": "uploads/" + "x" * 64 + "/1.txt"}, "Upload the file as uploads/" + "x" * 63 + "/1.txt"),
        ({"key": "uploads//sotu.txt"}, "is not under s3://texts/uploads/"),
        ({"size": -1}, "upload.size: "),
    ],
)
def test_a_wrong_upload_is_refused_by_field(plans: Plans, upload: Document, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        plans(uploaded(**upload))


# --- fields that AWS adds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Comment", "Insert your JSON here"),
        ("AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID", "arn:aws:states:us-east-1:1:execution:other:one"),
    ],
)
def test_a_field_that_aws_adds_is_ignored(plans: Plans, field: str, value: str) -> None:
    assert plans({"dataset": "sotu", field: value}) == plans({"dataset": "sotu"})


# --- refusals


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "exactly one of"),
        ({"Comment": "Insert your JSON here"}, "exactly one of"),
        ({"dataset": "a", "comment": "mine"}, "comment: is not a field here"),
        ({"dataset": "a", "Comments": "mine"}, "Comments: is not a field here"),
        ({"dataset": "My Data"}, r'dataset: the name of a dataset .* a name that works: "My-Data"'),
        ({"dataset": "..."}, r'a name that works: "my-dataset"'),
        ({"datset": "a"}, r"datset: is not a field here; did you mean dataset\? \(given: 'a'\)"),
        ({"dataset": "a", "hyperparameters": {"epochs": 0}}, r"hyperparameters.epochs: .*\(given: 0\)"),
        ({"dataset": "a", "hyperparameters": 3}, "hyperparameters: "),
        ([1], "request: "),
    ],
)
def test_a_wrong_request_is_refused_by_field(plans: Plans, request_: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        plans(request_)


@pytest.mark.parametrize(
    "request_", [{"dataset": "x" * 200_000}, {"x" * 200_000: 1}, {str(number): 1 for number in range(9000)}]
)
def test_the_error_is_short_enough_for_the_report(plans: Plans, request_: Document) -> None:
    with pytest.raises(InvalidInput) as refusal:
        plans(request_)
    assert 50 < len(str(refusal.value)) <= 4000
