"""plan: an execution's input becomes a run with everything decided, or an error that names the field."""

import json
import re
from typing import Any

import plan
import pytest
from errors import InvalidInput, Misconfigured, NothingToDo

UPLOAD = {
    "bucket": "texts",
    "key": "uploads/Héllo World/a/sotu.txt",
    "etag": "9b2cf535",
    "size": 120,
    "version_id": "3sL4kqtJ",
}


def planned(documents: Any, context: Any, request: Any) -> dict[str, Any]:
    return plan.handler({"execution": documents.execution, "request": request}, context)


def uploaded(**changes: Any) -> dict[str, Any]:
    return {"upload": {**UPLOAD, "key": "uploads/sotu/sotu.txt", **changes}}


def test_a_dataset_alone_becomes_a_whole_run(stubbed: Any, documents: Any, context: Any) -> None:
    run = planned(documents, context, {"dataset": "State.of_the-Union"})
    assert re.fullmatch(r"lexline-state-of-the-union-[0-9a-f]{12}", run["name"])
    assert run["endpoint"] == "lexline"
    assert run["dataset"] == "State.of_the-Union"
    assert (run["hyperparameters"]["recipe"], run["hyperparameters"]["epochs"]) == ("fast", None)
    assert run["training"]["max_runtime_seconds"] == 86400
    assert run["teardown"] == "never"


def test_the_deployments_defaults_are_laid_under_the_input(
    stubbed: Any, documents: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {
        "hyperparameters": {"epochs": "3", "emsize": 128, "nhid": 128, "tied": "true"},
        "training": {"instance_type": "ml.c5.xlarge"},
        "teardown": "on_failure",
    }
    monkeypatch.setenv("DEFAULTS", json.dumps(defaults))
    run = planned(documents, context, {"dataset": "sotu", "hyperparameters": {"epochs": 5}})
    assert run["hyperparameters"]["epochs"] == 5
    assert run["hyperparameters"]["emsize"] == 128
    assert run["hyperparameters"]["tied"] is True
    assert run["training"]["instance_type"] == "ml.c5.xlarge"
    assert run["teardown"] == "on_failure"


def test_the_same_execution_always_gets_the_same_name_and_another_one_another(
    stubbed: Any, documents: Any, context: Any
) -> None:
    first = planned(documents, context, {"dataset": "sotu"})["name"]
    assert planned(documents, context, {"dataset": "sotu"})["name"] == first
    documents.execution["id"] += "-again"
    assert planned(documents, context, {"dataset": "sotu"})["name"] != first


@pytest.mark.parametrize("dataset", ["a", "x" * 63, "Ends.In.Dots...", "a------------------------b"])
def test_every_allowed_name_fits_sagemakers_63_characters(
    stubbed: Any, documents: Any, context: Any, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDPOINT_NAME", "e" * 30)
    name = planned(documents, context, {"dataset": dataset})["name"]
    # The pattern of TrainingJobName, ModelName and EndpointConfigName in botocore's model.
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)


def test_an_upload_names_its_dataset_and_is_claimed_for_the_run(
    stubbed: Any, documents: Any, context: Any
) -> None:
    stubbed.answers("dynamodb", "put_item", {})
    run = planned(documents, context, uploaded(key="uploads/sotu/part/1.txt"))
    assert run["dataset"] == "sotu"
    assert run["upload"]["version_id"] == "3sL4kqtJ"


def test_an_upload_announced_twice_is_not_trained_twice(stubbed: Any, documents: Any, context: Any) -> None:
    stubbed.refuses("dynamodb", "put_item", "ConditionalCheckFailedException")
    with pytest.raises(NothingToDo, match="announced twice"):
        planned(documents, context, uploaded())


def test_without_a_version_an_upload_is_not_claimed(stubbed: Any, documents: Any, context: Any) -> None:
    assert planned(documents, context, uploaded(version_id=""))["upload"]["version_id"] == ""
    assert stubbed.calls == []


def test_a_folder_made_in_the_console_starts_nothing(stubbed: Any, documents: Any, context: Any) -> None:
    with pytest.raises(NothingToDo, match="is a folder"):
        planned(documents, context, uploaded(key="uploads/sotu/", size=0))


@pytest.mark.parametrize(
    ("upload", "said"),
    [
        ({"key": "uploads/sotu.txt"}, "in no dataset's folder"),
        ({"key": "elsewhere/sotu/sotu.txt"}, "is not under s3://texts/uploads/"),
        ({"bucket": "another"}, "s3://another/uploads/sotu/sotu.txt is not under"),
        ({"key": "uploads/a b/sotu.txt"}, "dataset: "),
        ({"size": -1}, "upload.size: "),
    ],
)
def test_a_wrong_upload_is_refused_by_field(
    stubbed: Any, documents: Any, context: Any, upload: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        planned(documents, context, uploaded(**upload))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "exactly one of"),
        ({"Comment": "Insert your JSON here"}, "Comment: Extra inputs are not permitted"),
        ({"dataset": "a", "hyperparameters": {"epochs": 0}}, r"hyperparameters.epochs: .*\(given: 0\)"),
        ({"dataset": "a", "hyperparameters": 3}, "hyperparameters: "),
        ({"dataset": "a", "training": {"instances": 2}}, "training.instances: Extra"),
        ([1], "request: "),
    ],
)
def test_a_wrong_input_is_refused_by_field(
    stubbed: Any, documents: Any, context: Any, request_: Any, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        planned(documents, context, request_)


@pytest.mark.parametrize(
    "request_", [{"dataset": "x" * 200_000}, {"x" * 200_000: 1}, {str(number): 1 for number in range(9000)}]
)
def test_what_is_wrong_is_said_in_a_sentence_that_fits_into_the_report(
    stubbed: Any, documents: Any, context: Any, request_: Any
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        planned(documents, context, request_)
    assert 50 < len(str(refusal.value)) <= 4000


def test_a_missing_setting_is_named(
    stubbed: Any, documents: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENDPOINT_NAME")
    with pytest.raises(Misconfigured, match="ENDPOINT_NAME"):
        planned(documents, context, {"dataset": "sotu"})
