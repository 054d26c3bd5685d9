"""The execution's input, from the command's words and back into words."""

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.request import ExecutionInput
from lexline import execution_input
from lexline.errors import UsageError


def test_settings_find_their_section_and_type() -> None:
    assert execution_input.overrides(
        [
            "epochs=3",
            "batch-size=20",
            "tied=true",
            "tokenizer=prose",
            "training.instance_type=ml.c5.xlarge",
            "hosting.endpoint_type=serverless",
        ]
    ) == {
        "hyperparameters": {"epochs": 3, "batch_size": 20, "tied": True, "tokenizer": "prose"},
        "training": {"instance_type": "ml.c5.xlarge"},
        "hosting": {"endpoint_type": "serverless"},
    }


@pytest.mark.parametrize("setting", ["epochs", "=3", "model.size=3", "hosting.=1"])
def test_a_setting_that_is_not_understood_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        execution_input.overrides([setting])


@pytest.mark.parametrize("setting", ["epochs=3", "training.spot=false"])
def test_where_nothing_is_trained_no_setting_of_training_is_taken(setting: str) -> None:
    with pytest.raises(UsageError, match="nothing is trained"):
        execution_input.overrides([setting], allowed=["hosting"])


@pytest.mark.parametrize(
    "word", ["never", "always", "on_failure", "after:PT8H", "after:P2D", "when_idle:P1DT1H30M5S"]
)
def test_a_teardown_that_is_taken_is_one_that_the_pipeline_takes(word: str) -> None:
    asked = execution_input.teardown(word)
    assert ExecutionInput.model_validate({"dataset": "sotu", "teardown": asked})


@pytest.mark.parametrize("word", ["", "sometimes", "after", "after:8h", "after:PT", "after:P", "idle:PT1H"])
def test_a_teardown_that_is_refused_is_one_that_the_pipeline_refuses(word: str) -> None:
    with pytest.raises(UsageError, match="--teardown"):
        execution_input.teardown(word)
    with pytest.raises(ValidationError):
        ExecutionInput.model_validate({"dataset": "sotu", "teardown": word})


def test_without_options_the_stacks_own_settings_are_kept() -> None:
    assert execution_input.teardown(None) is None
    assert execution_input.source(None, None, None, None) is None


def test_a_source_has_only_what_was_named() -> None:
    assert execution_input.source("https://g/r", None, "0123abc", None) == {
        "repo": "https://g/r",
        "commit": "0123abc",
    }


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"dataset": "sotu", "force": True}, "sotu"),
        ({"upload": {"key": "uploads/wiki/train.txt"}}, "wiki"),
        ({"model": "previous"}, "roll back"),
        ({"model": "lexline-sotu-0123456789ab"}, "deploy 0123456789ab"),
        ({"model": "3"}, "deploy 3"),
        ({"take_down": {"run": "lexline-sotu-0123456789ab"}}, "take down 0123456789ab"),
        ({"clean_up": {"run": "lexline-sotu-0123456789ab"}}, "clean up after 0123456789ab"),
        # Anything may be an execution's input.
        ({"upload": "text"}, ""),
        ({"upload": {"key": 7}}, ""),
        ({"take_down": None}, ""),
        ([1], ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_what_an_execution_is_for_can_be_said(request_: Any, words: str) -> None:
    assert execution_input.work_of(request_) == words
