"""plan: an execution's input becomes a run with everything decided, or an error that names the field."""

import json
import re
from typing import Any

import pytest

from contracts.run import Run
from core import names
from core.errors import InvalidInput, Misconfigured, NothingToDo
from steps import plan

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
    assert re.fullmatch(r"lexline-+state-of-the-union-[0-9a-f]{12}", run["name"])
    assert (run["work"], run["subject"]) == ("train", run["name"])
    assert run["endpoint"] == "lexline"
    assert run["dataset"] == "State.of_the-Union"
    assert (run["hyperparameters"]["recipe"], run["hyperparameters"]["epochs"]) == ("fast", None)
    assert (run["training"]["max_runtime_seconds"], run["training"]["spot"]) == (86400, True)
    assert (run["tolerance"], run["force"], run["source"]) == (0, False, None)
    assert run["teardown"] == "never"
    assert Run.model_validate(run).model_dump(mode="json") == run


def test_the_deployments_defaults_are_laid_under_the_input(
    stubbed: Any, documents: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {
        "hyperparameters": {"epochs": "3", "emsize": 128, "nhid": 128, "tied": "true"},
        "training": {"instance_type": "ml.c5.xlarge", "spot": "false"},
        "tolerance": 0.02,
        "teardown": "after:PT8H",
    }
    monkeypatch.setenv("DEFAULTS", json.dumps(defaults))
    run = planned(
        documents, context, {"dataset": "sotu", "hyperparameters": {"epochs": 5}, "training": {"spot": True}}
    )
    assert run["hyperparameters"]["epochs"] == 5
    assert run["hyperparameters"]["emsize"] == 128
    assert run["hyperparameters"]["tied"] is True
    assert (run["training"]["instance_type"], run["training"]["spot"]) == ("ml.c5.xlarge", True)
    assert run["tolerance"] == 0.02
    assert run["teardown"] == {"after": "PT8H"}


def test_what_a_run_asks_for_takes_the_place_of_a_default_of_another_form(
    stubbed: Any, documents: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULTS", json.dumps({"teardown": "when_idle:PT1H"}))
    for asked in ("never", {"after": "PT8H"}):
        assert planned(documents, context, {"dataset": "sotu", "teardown": asked})["teardown"] == asked


def test_the_same_execution_always_gets_the_same_name_and_another_one_another(
    stubbed: Any, documents: Any, context: Any
) -> None:
    first = planned(documents, context, {"dataset": "sotu"})["name"]
    assert planned(documents, context, {"dataset": "sotu"})["name"] == first
    documents.execution["id"] += "-again"
    assert planned(documents, context, {"dataset": "sotu"})["name"] != first


@pytest.mark.parametrize(
    "request_",
    [
        {"dataset": "sotu"},
        {"model": "3"},
        {"teardown_of": {"run": "lexline--sotu-0123456789ab"}},
        {"cleanup_of": {"run": "lexline--sotu-0123456789ab", "execution": "arn", "status": "ABORTED"}},
    ],
)
def test_a_run_is_named_after_its_endpoint_and_no_two_alike(
    stubbed: Any, documents: Any, context: Any, request_: dict[str, Any]
) -> None:
    run = planned(documents, context, request_)
    assert run["name"].startswith(f"{run['endpoint']}-")
    slug = {"train": "sotu", "deploy": "deploy", "teardown": "teardown", "cleanup": "cleanup"}
    # settle knows a clean-up's run by this name before it is planned.
    assert run["name"] == names.run_name("lexline", slug[run["work"]], documents.execution["id"])


@pytest.mark.parametrize("model", ["lexline--sotu-0123456789ab", "17", "previous"])
def test_a_model_is_deployed_and_nothing_is_trained(
    stubbed: Any, documents: Any, context: Any, model: str
) -> None:
    run = planned(documents, context, {"model": model, "force": True})
    assert (run["work"], run["model"], run["dataset"], run["force"]) == ("deploy", model, None, True)
    assert run["subject"] == run["name"]


def test_a_schedule_has_taken_down_what_it_names(stubbed: Any, documents: Any, context: Any) -> None:
    wish = {"run": "lexline--sotu-0123456789ab", "when_idle": "PT1H"}
    run = planned(documents, context, {"teardown_of": wish})
    assert (run["work"], run["subject"], run["teardown_of"]) == ("teardown", wish["run"], wish)
    assert run["name"] != run["subject"]


def test_a_clean_up_is_about_the_run_that_was_ended(stubbed: Any, documents: Any, context: Any) -> None:
    ended = {"run": "lexline--sotu-0123456789ab", "execution": documents.execution["id"], "status": "ABORTED"}
    run = planned(documents, context, {"cleanup_of": ended})
    assert (run["work"], run["subject"], run["cleanup_of"]) == ("cleanup", ended["run"], ended)


def test_the_scripts_may_come_from_a_git_repository(stubbed: Any, documents: Any, context: Any) -> None:
    source = {"repo": "https://git.example.com/models.git", "branch": "main", "commit": None, "secret": "git"}
    assert planned(documents, context, {"dataset": "sotu", "source": source})["source"] == source


@pytest.mark.parametrize("dataset", ["a", "x" * 63, "Ends.In.Dots...", "a------------------------b"])
def test_every_allowed_name_fits_sagemakers_63_characters(
    stubbed: Any, documents: Any, context: Any, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDPOINT_NAME", "e" * 30)
    name = planned(documents, context, {"dataset": dataset})["name"]
    # The pattern of TrainingJobName, ModelName and EndpointConfigName in botocore's model.
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)


def test_an_upload_names_its_dataset(stubbed: Any, documents: Any, context: Any) -> None:
    run = planned(documents, context, uploaded(key="uploads/sotu/part/1.txt"))
    assert (run["work"], run["dataset"]) == ("train", "sotu")
    assert run["upload"]["version_id"] == "3sL4kqtJ"


def test_a_bucket_without_versions_is_fine(stubbed: Any, documents: Any, context: Any) -> None:
    assert planned(documents, context, uploaded(version_id=""))["upload"]["version_id"] == ""


@pytest.mark.parametrize("file", ["README.md", "LICENSE", ".DS_Store", "a/.hidden/b.txt", "CITATION.cff"])
def test_what_goes_along_with_a_corpus_starts_nothing(
    stubbed: Any, documents: Any, context: Any, file: str
) -> None:
    with pytest.raises(NothingToDo, match="is no corpus: hidden files, READMEs and licences never are"):
        planned(documents, context, uploaded(key=f"uploads/sotu/{file}"))


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
        ({"key": "uploads//sotu.txt"}, "is not under s3://texts/uploads/"),
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
        ({"dataset": "a", "model": "3"}, "exactly one of"),
        ({"dataset": "a", "teardown": {"after": 8}}, r"teardown: give .*PT8H or P1D"),
        (
            {"dataset": "a", "training": {"max_runtime_seconds": 7200, "max_wait_seconds": 3600}},
            "training: max_wait_seconds 3600 is less than max_runtime_seconds 7200",
        ),
        ({"dataset": "a", "source": {"branch": "main"}}, "source.repo: Field required"),
        (
            {"dataset": "a", "hosting": {"max_instance_count": 1, "instance_count": 2}},
            "hosting: max_instance",
        ),
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
