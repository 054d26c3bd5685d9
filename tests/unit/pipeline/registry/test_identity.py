"""identity: models of the same data, scripts and hyperparameters are the same model, and only those."""

import pytest

from contracts.request import Hyperparameters
from registry import identity

DATA, CODE = "ab" * 32, "cd" * 32


def test_the_same_data_scripts_and_hyperparameters_make_the_same_model() -> None:
    first = identity.of(Hyperparameters(epochs=6), DATA, CODE)
    assert identity.of(Hyperparameters.model_validate({"epochs": "6", "lr": "auto"}), DATA, CODE) == first
    # A tag's value and a model package's metadata take 256 characters.
    assert len(first) == 64


@pytest.mark.parametrize("field", list(Hyperparameters.model_fields))
def test_every_hyperparameter_makes_another_model(field: str) -> None:
    other = {
        "recipe": "classic",
        "tied": False,
        "tokenizer": "prose",
        "lr": 0.5,
        "clip": 0.5,
        "dropout": 0.5,
        "epochs": 5,
    }
    plain = Hyperparameters()
    changed = Hyperparameters.model_validate({field: other.get(field, 7)})
    assert changed != plain
    assert identity.of(changed, DATA, CODE) != identity.of(plain, DATA, CODE)


def test_other_data_and_other_scripts_make_another_model() -> None:
    told = {
        identity.of(Hyperparameters(), *of) for of in ((DATA, CODE), (CODE, DATA), (DATA, DATA), (CODE, CODE))
    }
    assert len(told) == 4
