import pytest
from pydantic import ValidationError

from lexline.commands import request
from lexline.core.errors import UsageError
from tests.unit.lexline.pipeline import ExecutionInput


def test_overrides_have_a_section_and_a_type() -> None:
    overrides = "epochs=3 batch-size=20 tied=true tokenizer=prose training.instance_type=ml.c5.xlarge"
    assert request.overrides([*overrides.split(), "hosting.endpoint_type=serverless"]) == {
        "hyperparameters": {"epochs": 3, "batch_size": 20, "tied": True, "tokenizer": "prose"},
        "training": {"instance_type": "ml.c5.xlarge"},
        "hosting": {"endpoint_type": "serverless"},
    }


@pytest.mark.parametrize("override", ["epochs", "=3", "model.size=3", "hosting.=1"])
def test_an_override_of_another_form_is_rejected(override: str) -> None:
    with pytest.raises(UsageError, match="is invalid"):
        request.overrides([override])


@pytest.mark.parametrize("override", ["epochs=3", "training.spot=false"])
def test_a_command_that_trains_nothing_rejects_overrides_of_the_training(override: str) -> None:
    with pytest.raises(UsageError, match="trains nothing"):
        request.overrides([override], allowed=["hosting"])


@pytest.mark.parametrize(
    "policy", ["never", "always", "on_failure", "after:PT8H", "after:P2D", "when_idle:P1DT1H30M5S"]
)
def test_a_valid_teardown_is_valid_in_the_pipeline(policy: str) -> None:
    assert ExecutionInput.model_validate({"dataset": "sotu", "teardown": request.teardown(policy)})


@pytest.mark.parametrize("policy", ["", "sometimes", "after", "after:8h", "after:PT", "after:P", "idle:PT1H"])
def test_an_invalid_teardown_is_invalid_in_the_pipeline(policy: str) -> None:
    with pytest.raises(UsageError, match="--teardown"):
        request.teardown(policy)
    with pytest.raises(ValidationError):
        ExecutionInput.model_validate({"dataset": "sotu", "teardown": policy})


def test_options_that_are_not_given_are_left_out() -> None:
    assert request.teardown(None) is None
    assert request.source(None, None, None, None) is None
    assert request.source("https://g/r", None, "0123abc", None) == {
        "repo": "https://g/r",
        "commit": "0123abc",
    }
    assert request.without_defaults(force=False, tolerance=0.0, words=None) == {"tolerance": 0.0}
