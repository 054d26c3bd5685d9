"""leftovers: what an endpoint's runs have made is told from what those of another endpoint have."""

import re

import pytest
from pydantic import TypeAdapter

from contracts.base import RunName
from core import names

EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:lexline-pipeline:first"
# SageMaker's for training jobs, models and endpoint configs.
SAGEMAKERS = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


@pytest.mark.parametrize(
    ("endpoint", "dataset"),
    [
        ("lexline", "sotu"),
        ("lexline", "2-sotu"),
        ("lexline-2", "sotu"),
        ("a", "A"),
        ("a" * 30, "z" * 63),
        ("lexline", "State of the Union, 1790--2020".replace(" ", ".").replace(",", "_")),
    ],
)
def test_a_runs_name_is_one_that_sagemaker_takes(endpoint: str, dataset: str) -> None:
    name = names.run_name(endpoint, dataset, EXECUTION)
    assert re.fullmatch(SAGEMAKERS, name)
    assert TypeAdapter(RunName).validate_python(name) == name
    assert name.startswith(names.prefix(endpoint))


@pytest.mark.parametrize(
    ("mine", "others"), [("lexline", "lexline-2"), ("lexline", "lexline-a-b"), ("a", "a-a")]
)
def test_an_endpoints_names_are_no_other_endpoints(mine: str, others: str) -> None:
    """Both may be stacks of one account, and one may be deleted."""
    name = names.run_name(others, "sotu", EXECUTION)
    assert name.startswith(f"{mine}-")
    assert not name.startswith(names.prefix(mine))
    assert not names.run_name(mine, "2-sotu", EXECUTION).startswith(names.prefix(others))
