from dataclasses import asdict

import pytest

from hyperparameters import RECIPES, Hyperparameters, parse
from tests.unit.model_scripts.conftest import Capture
from user_error import UserError


@pytest.mark.parametrize("recipe", RECIPES)
def test_some_defaults_depend_on_the_recipe(recipe: str) -> None:
    hparams = asdict(parse(["--recipe", recipe, "--epochs", "3"]))
    expected = RECIPES[recipe]._asdict() | {"epochs": 3}
    assert {name: hparams[name] for name in expected} == expected


def test_the_classic_recipes_numbers_are_the_word_language_model_examples() -> None:
    assert RECIPES["classic"] == (20, 0.25, 40, 0.2)


@pytest.mark.parametrize("arguments", [["--batch-size", "7"], ["--batch_size", "7"], ["--batch-size=7"]])
def test_names_take_a_hyphen_or_an_underscore(arguments: list[str]) -> None:
    assert parse(arguments).batch_size == 7


@pytest.mark.parametrize("text", ["True", "true", "1", "yes", "False", "false", "0", "no"])
def test_booleans_mean_what_they_say(text: str) -> None:
    assert parse(["--tied", text]).tied is (text in ("True", "true", "1", "yes"))


def test_a_boolean_without_a_value_is_true() -> None:
    assert parse(["--tied", "--epochs", "3"]) == Hyperparameters(tied=True, epochs=3)


def test_numbers_may_be_written_as_json_writes_them() -> None:
    assert parse(["--lr", "1e-3", "--dropout", "0"]).lr == 0.001


def test_the_toolkits_own_arguments_are_ignored() -> None:
    assert parse(["--sagemaker_job_name", "j", "--epochs", "2", "--sagemaker-flag"]).epochs == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hidden", "3"], "Unknown hyperparameter 'hidden'"),
        (["--sagemaker_x", "3", "--hidden=3"], "Unknown hyperparameter 'hidden'"),
        (["--epoch", "3"], "Unknown hyperparameter 'epoch'"),
        (["epochs", "2"], "Unknown hyperparameter 'epochs'. Write --name value"),
        (["--epochs"], "epochs: expected one argument"),
        (["--epochs", "three"], "epochs: invalid int value: 'three'"),
        (["--epochs", "2.5"], "epochs: invalid int value"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--lr", "fast"], "lr: invalid float value: 'fast'"),
        (["--lr", "nan"], "lr must be a finite number above 0"),
        (["--clip", "-1"], "clip must be a finite number above 0"),
        (["--dropout", "1"], "dropout must be at least 0 and below 1"),
        (["--tied", "maybe"], "tied: must be one of true, 1, yes, false, 0, no, not 'maybe'"),
        (["--max_vocabulary", "2"], "max_vocabulary must be at least 3 (<unk>, <eos> and a word), not 2"),
        (["--seed", "-1"], "seed must be from 0 to 4294967295"),
        (["--tokenizer", "bpe"], "tokenizer must be one of auto, prose, tokenized"),
        (["--epochs", "2", "--epochs", "3"], "epochs: occurs twice"),
        (["--batch-size", "2", "--batch_size", "3"], "batch_size: occurs twice"),
        (["--recipe", "quick"], "recipe must be one of classic, fast, awd, not 'quick'"),
        (["--recipe", "awd", "--lr", "0"], "lr must be a finite number above 0"),
        (
            ["--lr", "20"],
            "lr must be at most 1 for recipe fast, whose optimiser is Adam, not 20: leave lr out",
        ),
    ],
)
def test_an_invalid_argument_is_refused_by_name(arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        parse(arguments)
    assert sentence in str(refusal.value)


def test_the_help_lists_every_hyperparameter(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in asdict(Hyperparameters()))
