"""identity: models with the same data, scripts and hyperparameters are the same model, and only those."""

import pytest

from contracts.request import Hyperparameters
from registry import identity

DATA, CODE = "ab" * 32, "cd" * 32
# Values that each hyperparameter may have, other than its default; 7 where none is given.
OTHER_VALUES = {
    "recipe": "classic",
    "tied": False,
    "tokenizer": "prose",
    "lr": 0.5,
    "clip": 0.5,
    "dropout": 0.5,
    "epochs": 5,
}


def test_the_same_data_scripts_and_hyperparameters_make_the_same_model() -> None:
    first = identity.of(Hyperparameters(epochs=6), DATA, CODE)
    assert identity.of(Hyperparameters.model_validate({"epochs": "6", "lr": "auto"}), DATA, CODE) == first
    # The value of a tag, and of a model package's metadata, has at most 256 characters.
    assert len(first) == 64


@pytest.mark.parametrize("field", list(Hyperparameters.model_fields))
def test_another_value_of_any_hyperparameter_makes_another_model(field: str) -> None:
    changed = Hyperparameters.model_validate({field: OTHER_VALUES.get(field, 7)})
    assert identity.of(changed, DATA, CODE) != identity.of(Hyperparameters(), DATA, CODE)


def test_other_data_and_other_scripts_make_another_model() -> None:
    inputs = ((DATA, CODE), (CODE, DATA), (DATA, DATA), (CODE, CODE))
    assert len({identity.of(Hyperparameters(), *each) for each in inputs}) == 4
