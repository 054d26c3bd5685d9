from dataclasses import asdict

import pytest

from hyperparameters import RECIPES, Hyperparameters, parse
from user_error import UserError


def test_the_sizes_are_the_notebooks_and_the_recipe_is_fast() -> None:
    settings = asdict(parse([]))
    own = RECIPES["fast"]._asdict()
    assert {name: settings.pop(name) for name in own} == own
    assert settings == {
        "recipe": "fast",
        "emsize": 200,
        "nhid": 200,
        "nlayers": 2,
        "batch_size": 20,
        "bptt": 35,
        "tied": True,
        "seed": 1111,
        "log_interval": 200,
        "tokenizer": "auto",
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_not_asked_for_is_the_recipes_own(recipe: str) -> None:
    settings = asdict(parse(["--recipe", recipe, "--epochs", "3"]))
    expected = RECIPES[recipe]._asdict() | {"epochs": 3}
    assert {name: settings[name] for name in expected} == expected


def test_the_classic_recipes_numbers_are_the_word_language_model_examples() -> None:
    assert RECIPES["classic"] == (20, 0.25, 40, 0.2)


def test_a_tied_model_may_have_layers_of_another_width_than_its_word_vectors() -> None:
    assert parse(["--tied", "true", "--emsize", "100"]).emsize == 100


@pytest.mark.parametrize("arguments", [["--batch-size", "7"], ["--batch_size", "7"], ["--batch-size=7"]])
def test_names_take_a_hyphen_or_an_underscore(arguments: list[str]) -> None:
    assert parse(arguments).batch_size == 7


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("true", True),
        ("1", True),
        ("yes", True),
        ("False", False),
        ("false", False),
        ("0", False),
        ("no", False),
    ],
)
def test_booleans_mean_what_they_say(text: str, value: bool) -> None:
    assert parse(["--tied", text]).tied is value


def test_a_boolean_may_stand_alone() -> None:
    assert parse(["--tied", "--epochs", "3"]) == Hyperparameters(tied=True, epochs=3)


def test_numbers_may_be_written_as_json_writes_them() -> None:
    assert parse(["--lr", "1e-3", "--dropout", "0"]).lr == 0.001


def test_the_toolkits_own_arguments_are_passed_over() -> None:
    assert parse(["--sagemaker_job_name", "j", "--epochs", "2", "--sagemaker-flag"]).epochs == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hidden", "3"], "Unknown hyperparameter 'hidden'"),
        (["--epochs"], "epochs has no value"),
        (["--epochs", "three"], "epochs must be a whole number, not 'three'"),
        (["--epochs", "2.5"], "epochs must be a whole number"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--lr", "fast"], "lr must be a number"),
        (["--lr", "nan"], "lr must be a finite number above 0"),
        (["--clip", "-1"], "clip must be a finite number above 0"),
        (["--dropout", "1"], "dropout must be at least 0 and below 1"),
        (["--tied", "maybe"], "tied must be one of true, false"),
        (["--seed", "-1"], "seed must be from 0 to 4294967295"),
        (["--tokenizer", "bpe"], "tokenizer must be one of auto, prose, tokenized"),
        (["--epochs", "2", "--epochs", "3"], "epochs is given twice"),
        (["--batch-size", "2", "--batch_size", "3"], "batch_size is given twice"),
        (["epochs", "2"], "Expected --name value"),
        (["--recipe", "quick"], "recipe must be one of classic, fast, awd, not 'quick'"),
        (["--recipe", "awd", "--lr", "0"], "lr must be a finite number above 0"),
        (["--lr", "20"], "lr 20 is no rate for recipe fast"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        parse(arguments)
    assert sentence in str(refusal.value)
