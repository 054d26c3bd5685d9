"""request: an execution's input is complete with a dataset alone, and each wrong field is named."""

import dataclasses
from typing import Any, get_args

import pytest
from pydantic import ValidationError

import hyperparameters as script
from contracts.request import (
    ExecutionInput,
    HostingResources,
    Hyperparameters,
    TeardownAfter,
    TeardownWhenIdle,
)

RUN = "lexline--sotu-0123456789ab"


def test_a_dataset_alone_is_a_complete_request() -> None:
    request = ExecutionInput.model_validate({"dataset": "sotu"})
    assert (request.training.instance_type, request.training.spot) == ("ml.m5.xlarge", True)
    assert (request.hosting.endpoint_type, request.hosting.instance_type) == ("real-time", "ml.m5.large")
    assert request.teardown == "never"
    assert (request.max_perplexity, request.tolerance, request.force) == (None, 0, False)


@pytest.mark.parametrize(
    "task",
    [
        {"dataset": "sotu"},
        {"upload": {"bucket": "texts", "key": "uploads/sotu/1.txt", "etag": "9b2cf535", "size": 1}},
        {"model": "previous"},
        {"teardown_of": {"run": RUN}},
        {"cleanup_of": {"run": RUN, "execution": "arn", "status": "TIMED_OUT"}},
    ],
)
def test_a_request_has_exactly_one_task(task: dict[str, Any]) -> None:
    ExecutionInput.model_validate(task)
    other = {"model": "1"} if "model" not in task else {"dataset": "sotu"}
    with pytest.raises(ValidationError, match='exactly one of "dataset"'):
        ExecutionInput.model_validate({**task, **other})


# --- hyperparameters


def test_the_training_script_has_the_same_hyperparameters_with_the_same_defaults() -> None:
    """Each side checks them by itself: the contract when a run starts, the script when its job does."""
    in_script = {field.name: field.default for field in dataclasses.fields(script.Hyperparameters)}
    assert Hyperparameters().model_dump() == in_script
    assert get_args(Hyperparameters.model_fields["recipe"].annotation) == tuple(script.RECIPES)
    for recipe, values in script.RECIPES.items():
        Hyperparameters.model_validate({"recipe": recipe, **values._asdict()})


@pytest.mark.parametrize("field", ["lr", "clip", "epochs", "dropout"])
def test_auto_leaves_a_hyperparameter_to_the_recipe(field: str) -> None:
    assert Hyperparameters.model_validate({field: "auto"}) == Hyperparameters()
    assert Hyperparameters.model_validate({field: "0.5" if field != "epochs" else "5"}) != Hyperparameters()


# --- teardown


@pytest.mark.parametrize(
    ("given", "meaning"),
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
def test_a_teardown_policy_is_json_or_the_text_of_a_stack_parameter(given: Any, meaning: Any) -> None:
    request = ExecutionInput.model_validate({"dataset": "sotu", "teardown": given})
    assert request.teardown == meaning
    assert ExecutionInput.model_validate_json(request.model_dump_json()) == request


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
def test_a_wrong_teardown_policy_is_refused_with_all_that_are_possible(wrong: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        ExecutionInput.model_validate({"dataset": "sotu", "teardown": wrong})
    (problem,) = refused.value.errors()
    assert problem["loc"] == ("teardown",)
    assert 'give "never", "always", "on_failure", {"after": DURATION} or' in problem["msg"]


# --- refusals


@pytest.mark.parametrize("instance_type", ["ml.t2.medium", "ml.t3.large", "ml.t4g.large"])
def test_a_burstable_instance_type_cannot_scale(instance_type: str) -> None:
    """Application Auto Scaling refuses these too, but only when the model already serves."""
    with pytest.raises(ValidationError, match=f"instance_type {instance_type} is burstable"):
        HostingResources(instance_type=instance_type, max_instance_count=2)
    HostingResources(instance_type=instance_type)
    HostingResources(instance_type=instance_type, max_instance_count=2, endpoint_type="serverless")
    HostingResources(instance_type="ml.trn1.2xlarge", max_instance_count=2)


@pytest.mark.parametrize("seconds", [1, 120, 179])
def test_a_watch_that_ends_before_an_alarm_can_know_is_refused(seconds: int) -> None:
    with pytest.raises(ValidationError, match=f"watch_seconds {seconds} is too short: an alarm may know"):
        HostingResources(watch_seconds=seconds)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("dataset", {"dataset": "../secrets"}),
        ("model", {"model": "../previous"}),
        ("teardown_of.run", {"teardown_of": {"run": "Not A Run"}}),
        ("teardown_of.when_idle", {"teardown_of": {"run": "a", "when_idle": 3600}}),
        ("", {"dataset": None}),
        ("teardown", {"teardown": "sometimes"}),
        ("hyperparameters.epochs", {"hyperparameters": {"epochs": 0}}),
        ("hyperparameters.epoch", {"hyperparameters": {"epoch": 3}}),
        ("hyperparameters.dropout", {"hyperparameters": {"dropout": 1}}),
        ("hyperparameters.lr", {"hyperparameters": {"lr": float("inf")}}),
        ("hyperparameters.recipe", {"hyperparameters": {"recipe": "slow"}}),
        ("hyperparameters", {"hyperparameters": {"recipe": "fast", "lr": 20}}),
        ("training.instance_type", {"training": {"instance_type": "m5.xlarge"}}),
        ("training.instance_count", {"training": {"instance_count": 65}}),
        ("training.instance_count", {"training": {"instance_count": 0}}),
        ("training.instances", {"training": {"instances": 2}}),
        ("training.max_wait_seconds", {"training": {"max_wait_seconds": 1}}),
        ("training", {"training": {"max_runtime_seconds": 7200, "max_wait_seconds": 7199}}),
        ("hosting", {"hosting": {"instance_count": 3, "max_instance_count": 2}}),
        ("hosting.instance_count", {"hosting": {"instance_count": 0}}),
        ("hosting.endpoint_type", {"hosting": {"endpoint_type": "batch"}}),
        ("hosting.serverless_memory_mb", {"hosting": {"serverless_memory_mb": 1000}}),
        ("hosting.traffic_shifting", {"hosting": {"traffic_shifting": "sometimes"}}),
        ("max_perplexity", {"max_perplexity": 0.5}),
        ("tolerance", {"tolerance": -0.1}),
        ("source.repo", {"source": {"repo": ""}}),
        ("source.commit", {"source": {"repo": "r", "commit": "main"}}),
        ("source.password", {"source": {"repo": "r", "password": "p"}}),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(field: str, wrong: dict[str, Any]) -> None:
    task = {} if wrong.keys() & {"model", "teardown_of"} else {"dataset": "a"}
    with pytest.raises(ValidationError) as refused:
        ExecutionInput.model_validate(task | wrong)
    fields = [".".join(str(part) for part in problem["loc"]) for problem in refused.value.errors()]
    assert fields == [field]
