"""step_names: every step has a name in words."""

import json
from pathlib import Path

import pytest

from reporting import step_names

STATE_MACHINE = Path(__file__).parents[4] / "statemachine" / "pipeline.asl.json"
STATES = json.loads(STATE_MACHINE.read_text())["States"]
STEPS = [name for name, state in STATES.items() if state["Type"] in ("Task", "Map")]


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_a_name_in_words(step: str) -> None:
    name = step_names.in_words(step)
    assert name[0].isupper()
    assert name == "Train" or " " in name
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in step).lstrip("_")
    assert step_names.in_words(snake) == name


def test_a_step_of_another_version_keeps_its_name() -> None:
    assert step_names.in_words("translate") == "translate"


def test_no_name_is_left_of_a_step_that_does_not_exist() -> None:
    path = Path(step_names.__file__).with_name("step_names.json")
    assert set(json.loads(path.read_text())) == set(STEPS)
