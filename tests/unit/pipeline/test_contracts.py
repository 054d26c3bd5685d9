"""The documents that cross the steps keep to their form, and say what is wrong with one that does not."""

import dataclasses
import importlib
import json
import pkgutil
from datetime import timedelta
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

import contracts
import hyperparameters as script
from contracts.base import Contract, iso8601
from contracts.dataset import PREPARE_OUTCOME, Prepared
from contracts.registry import Registered
from contracts.request import (
    ExecutionInput,
    HostingResources,
    Hyperparameters,
    TeardownAfter,
    TeardownWhenIdle,
)
from contracts.run import Execution, Lease, Run
from contracts.serving import Deployed, Finished, ModelCreated, SmokeTested
from contracts.training import Champion, Evaluated, Source, Trained


def _all(contract: type[BaseModel]) -> list[type[BaseModel]]:
    return [each for below in contract.__subclasses__() for each in (below, *_all(below))]


for _module in pkgutil.iter_modules(contracts.__path__):
    importlib.import_module(f"contracts.{_module.name}")
CONTRACTS = _all(Contract)


@pytest.mark.parametrize("model", CONTRACTS)
def test_no_contract_lets_an_undeclared_field_through(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate({"surprise": 1})
    assert "surprise" in {problem["loc"][0] for problem in refused.value.errors() if problem["loc"]}


@pytest.mark.parametrize(
    ("name", "contract"),
    [
        ("execution", Execution),
        ("run", Run),
        ("lease", Lease),
        ("prepared", Prepared),
        ("source", Source),
        ("champion", Champion),
        ("trained", Trained),
        ("evaluated", Evaluated),
        ("registered", Registered),
        ("model", ModelCreated),
        ("deployed", Deployed),
        ("smoke_test", SmokeTested),
        ("finished", Finished),
    ],
)
def test_a_document_survives_the_trip_through_json(
    documents: Any, name: str, contract: type[BaseModel]
) -> None:
    document = contract.model_validate(getattr(documents, name))
    assert contract.model_validate_json(document.model_dump_json()) == document


def test_the_sizes_are_the_notebooks_and_the_rest_is_the_recipes() -> None:
    assert Hyperparameters().model_dump() == {
        "recipe": "fast",
        "emsize": 200,
        "nhid": 200,
        "nlayers": 2,
        "lr": None,
        "clip": None,
        "epochs": None,
        "batch_size": 20,
        "bptt": 35,
        "dropout": None,
        "tied": True,
        "seed": 1111,
        "log_interval": 200,
        "tokenizer": "auto",
    }


def test_the_training_script_takes_the_same_hyperparameters_with_the_same_defaults() -> None:
    """Each side checks them alone: the contract when a run starts, the script when its job does."""
    theirs = {field.name: field.default for field in dataclasses.fields(script.Hyperparameters)}
    assert Hyperparameters().model_dump() == theirs
    assert get_args(Hyperparameters.model_fields["recipe"].annotation) == tuple(script.RECIPES)
    for recipe, own in script.RECIPES.items():
        Hyperparameters.model_validate({"recipe": recipe, **own._asdict()})


@pytest.mark.parametrize("field", ["lr", "clip", "epochs", "dropout"])
def test_auto_leaves_a_number_to_the_recipe(field: str) -> None:
    assert Hyperparameters.model_validate({field: "auto"}) == Hyperparameters()
    assert Hyperparameters.model_validate({field: "0.5" if field != "epochs" else "5"}) != Hyperparameters()


def test_a_dataset_is_all_an_execution_needs() -> None:
    asked = ExecutionInput.model_validate({"dataset": "sotu"})
    assert (asked.training.instance_type, asked.training.spot) == ("ml.m5.xlarge", True)
    assert (asked.hosting.endpoint_type, asked.hosting.instance_type) == ("real-time", "ml.m5.large")
    assert asked.teardown == "never"
    # A new model may not be worse than the one that serves, and need not be better than any number.
    assert (asked.max_perplexity, asked.tolerance, asked.force) == (None, 0, False)


@pytest.mark.parametrize(
    "task",
    [
        {"dataset": "sotu"},
        {"upload": {"bucket": "texts", "key": "uploads/sotu/1.txt", "etag": "9b2cf535", "size": 1}},
        {"model": "previous"},
        {"teardown_of": {"run": "lexline--sotu-0123456789ab"}},
        {"cleanup_of": {"run": "lexline--sotu-0123456789ab", "execution": "arn", "status": "TIMED_OUT"}},
    ],
)
def test_each_of_the_five_tasks_is_enough_and_two_are_too_many(task: dict[str, Any]) -> None:
    ExecutionInput.model_validate(task)
    other = {"model": "1"} if "model" not in task else {"dataset": "sotu"}
    with pytest.raises(ValidationError, match='exactly one of "dataset"'):
        ExecutionInput.model_validate({**task, **other})


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("never", "never"),
        ("always", "always"),
        ("on_failure", "on_failure"),
        ("after:PT8H", TeardownAfter(after="PT8H")),  # type: ignore[arg-type]
        ({"after": "P1D"}, TeardownAfter(after="P1D")),  # type: ignore[arg-type]
        ("when_idle:PT90M", TeardownWhenIdle(when_idle="PT90M")),  # type: ignore[arg-type]
        ({"when_idle": "PT1H30M"}, TeardownWhenIdle(when_idle="PT90M")),  # type: ignore[arg-type]
    ],
)
def test_when_an_endpoint_goes_is_told_as_json_or_as_a_parameters_text(told: Any, meant: Any) -> None:
    asked = ExecutionInput.model_validate({"dataset": "sotu", "teardown": told})
    assert asked.teardown == meant
    assert ExecutionInput.model_validate_json(asked.model_dump_json()) == asked


def test_a_duration_is_written_as_it_is_read() -> None:
    for duration in (timedelta(hours=8), timedelta(days=1, seconds=5), timedelta(minutes=90)):
        assert TeardownAfter.model_validate({"after": iso8601(duration)}).after == duration


@pytest.mark.parametrize(
    ("asked", "scales"),
    [
        ({}, False),
        ({"max_instance_count": 1}, False),
        ({"max_instance_count": 4}, True),
        ({"instance_count": 4, "max_instance_count": 4}, False),
        ({"endpoint_type": "serverless", "max_instance_count": 4}, False),
    ],
)
def test_a_fleet_scales_where_it_may_have_more_instances_than_it_begins_with(
    asked: dict[str, Any], scales: bool
) -> None:
    assert HostingResources.model_validate(asked).scales is scales


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("dataset", {"dataset": "../secrets"}),
        ("teardown", {"dataset": "a", "teardown": "sometimes"}),
        ("hyperparameters.epochs", {"dataset": "a", "hyperparameters": {"epochs": 0}}),
        ("hyperparameters.epoch", {"dataset": "a", "hyperparameters": {"epoch": 3}}),
        ("hyperparameters.dropout", {"dataset": "a", "hyperparameters": {"dropout": 1}}),
        ("hyperparameters.lr", {"dataset": "a", "hyperparameters": {"lr": float("inf")}}),
        ("hyperparameters.recipe", {"dataset": "a", "hyperparameters": {"recipe": "slow"}}),
        ("hyperparameters", {"dataset": "a", "hyperparameters": {"recipe": "fast", "lr": 20}}),
        ("training.instance_type", {"dataset": "a", "training": {"instance_type": "m5.xlarge"}}),
        ("training.instance_count", {"dataset": "a", "training": {"instance_count": 65}}),
        ("training.instance_count", {"dataset": "a", "training": {"instance_count": 0}}),
        ("hosting.instance_count", {"dataset": "a", "hosting": {"instance_count": 0}}),
        ("max_perplexity", {"dataset": "a", "max_perplexity": 0.5}),
        ("training.max_wait_seconds", {"dataset": "a", "training": {"max_wait_seconds": 1}}),
        ("training", {"dataset": "a", "training": {"max_runtime_seconds": 7200, "max_wait_seconds": 7199}}),
        ("hosting", {"dataset": "a", "hosting": {"instance_count": 3, "max_instance_count": 2}}),
        ("hosting.endpoint_type", {"dataset": "a", "hosting": {"endpoint_type": "batch"}}),
        ("hosting.serverless_memory_mb", {"dataset": "a", "hosting": {"serverless_memory_mb": 1000}}),
        ("hosting.traffic_shifting", {"dataset": "a", "hosting": {"traffic_shifting": "sometimes"}}),
        ("tolerance", {"dataset": "a", "tolerance": -0.1}),
        ("source.repo", {"dataset": "a", "source": {"repo": ""}}),
        ("source.commit", {"dataset": "a", "source": {"repo": "r", "commit": "main"}}),
        ("source.password", {"dataset": "a", "source": {"repo": "r", "password": "p"}}),
        ("model", {"model": "../previous"}),
        ("teardown_of.run", {"teardown_of": {"run": "Not A Run"}}),
        ("teardown_of.when_idle", {"teardown_of": {"run": "a", "when_idle": 3600}}),
        ("", {}),
        ("", {"dataset": "a", "upload": {"bucket": "b", "key": "k", "etag": "e", "size": 1}}),
    ],
)
def test_a_wrong_execution_input_is_refused_by_the_fields_name(field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        ExecutionInput.model_validate(wrong)
    assert [".".join(str(part) for part in problem["loc"]) for problem in refused.value.errors()] == [field]


@pytest.mark.parametrize(
    "wrong",
    [
        "later",
        "after:",
        "after:8h",
        "after:-PT8H",
        {"after": 8},
        {"after": "8"},
        {"after": "PT0S"},
        {"after": "P400D"},
        {"after": "PT8H", "when_idle": "PT1H"},
        {},
        None,
        3600,
    ],
)
def test_a_wrong_end_of_an_endpoint_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        ExecutionInput.model_validate({"dataset": "sotu", "teardown": wrong})
    (problem,) = refused.value.errors()
    assert problem["loc"] == ("teardown",)
    assert 'give "never", "always", "on_failure", {"after": DURATION} or' in problem["msg"]


@pytest.mark.parametrize("outcome", ["waiting", "seen"])
def test_prepare_answers_data_or_a_reason_for_none(documents: Any, outcome: str) -> None:
    assert isinstance(PREPARE_OUTCOME.validate_python(documents.prepared), Prepared)
    none = {"outcome": outcome, "dataset": "sotu", "reason": "valid.txt and test.txt are still to come."}
    assert PREPARE_OUTCOME.validate_python(none).outcome == outcome
    for other in ("prepared", "superseded"):
        with pytest.raises(ValidationError):
            PREPARE_OUTCOME.validate_python({**none, "outcome": other})


def test_infinite_perplexity_survives_the_trip_through_json(documents: Any) -> None:
    documents.trained["metrics"] = {"test:perplexity": float("inf"), "valid:perplexity": float("nan")}
    text = Trained.model_validate(documents.trained).model_dump_json()
    assert json.loads(text)["metrics"] == {"test:perplexity": "Infinity", "valid:perplexity": "NaN"}
    metrics = Trained.model_validate_json(text).metrics
    assert metrics["test:perplexity"] == float("inf")
    assert metrics["valid:perplexity"] != metrics["valid:perplexity"]
