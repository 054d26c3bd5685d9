"""The documents that cross the steps keep to their form, and say what is wrong with one that does not."""

import dataclasses
import inspect
import json
from typing import Any, get_args

import contracts
import pytest
from contracts import PREPARE_OUTCOME, ExecutionInput, Hyperparameters, Prepared, Run, Trained
from pydantic import BaseModel, ValidationError

import hyperparameters as script

CONTRACTS = [
    model
    for _, model in inspect.getmembers(contracts, inspect.isclass)
    if issubclass(model, contracts.Contract) and model is not contracts.Contract
]


@pytest.mark.parametrize("model", CONTRACTS)
def test_no_contract_lets_an_undeclared_field_through(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate({"surprise": 1})
    assert "surprise" in {problem["loc"][0] for problem in refused.value.errors() if problem["loc"]}


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
    assert asked.training.instance_type == "ml.m5.xlarge"
    assert asked.hosting.instance_type == "ml.m5.large"
    assert asked.teardown == "never"
    assert asked.max_perplexity is None


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
        ("", {}),
        ("", {"dataset": "a", "upload": {"bucket": "b", "key": "k", "etag": "e", "size": 1}}),
    ],
)
def test_a_wrong_execution_input_is_refused_by_the_fields_name(field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        ExecutionInput.model_validate(wrong)
    assert [".".join(str(part) for part in problem["loc"]) for problem in refused.value.errors()] == [field]


def test_prepare_answers_data_or_a_reason_for_none(documents: Any) -> None:
    assert isinstance(PREPARE_OUTCOME.validate_python(documents.prepared), Prepared)
    waiting = {"outcome": "waiting", "dataset": "sotu", "reason": "valid.txt and test.txt are still to come."}
    assert PREPARE_OUTCOME.validate_python(waiting).outcome == "waiting"
    with pytest.raises(ValidationError):
        PREPARE_OUTCOME.validate_python({**waiting, "outcome": "prepared"})


def test_infinite_perplexity_survives_the_trip_through_json(documents: Any) -> None:
    documents.trained["metrics"] = {"test:perplexity": float("inf"), "valid:perplexity": float("nan")}
    text = Trained.model_validate(documents.trained).model_dump_json()
    assert json.loads(text)["metrics"] == {"test:perplexity": "Infinity", "valid:perplexity": "NaN"}
    metrics = Trained.model_validate_json(text).metrics
    assert metrics["test:perplexity"] == float("inf")
    assert metrics["valid:perplexity"] != metrics["valid:perplexity"]


def test_a_run_survives_the_trip_through_json(documents: Any) -> None:
    run = Run.model_validate(documents.run)
    assert Run.model_validate_json(run.model_dump_json()) == run
