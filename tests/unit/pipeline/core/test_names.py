"""names: every run's name suits SageMaker and tells its endpoint from every other endpoint."""

import re

import pytest
from pydantic import TypeAdapter

from contracts.base import RunName
from core import names

EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:lexline-pipeline:first"


@pytest.mark.parametrize(
    ("endpoint", "dataset"),
    [
        ("lexline", "sotu"),
        ("lexline-2", "2-sotu"),
        ("a", "A"),
        ("a" * 30, "z" * 63),
        ("lexline", "State.of.the.Union_1790--2020"),
        ("lexline", "Ends.In.Dots..."),
    ],
)
def test_a_runs_name_is_valid_in_sagemaker_and_begins_with_its_endpoint(endpoint: str, dataset: str) -> None:
    name = names.run_name(endpoint, dataset, EXECUTION)
    # The pattern of TrainingJobName, ModelName and EndpointConfigName in botocore's model.
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)
    assert TypeAdapter(RunName).validate_python(name) == name
    assert name.startswith(names.prefix(endpoint))


def test_a_run_has_its_executions_own_name() -> None:
    name = names.run_name("lexline", "sotu", EXECUTION)
    assert names.run_name("lexline", "sotu", EXECUTION) == name
    assert names.run_name("lexline", "sotu", f"{EXECUTION}-again") != name


@pytest.mark.parametrize(
    ("endpoint", "other"), [("lexline", "lexline-2"), ("lexline", "lexline-a-b"), ("a", "a-a")]
)
def test_no_run_of_another_endpoint_has_the_prefix(endpoint: str, other: str) -> None:
    """Both endpoints may be stacks of one account, and one of them may be deleted."""
    name = names.run_name(other, "sotu", EXECUTION)
    assert name.startswith(f"{endpoint}-")
    assert not name.startswith(names.prefix(endpoint))
    assert not names.run_name(endpoint, "2-sotu", EXECUTION).startswith(names.prefix(other))
