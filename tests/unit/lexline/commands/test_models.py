import io
import json
from datetime import datetime

import pytest
from rich.console import Console

from lexline.display import models as display
from tests.unit.lexline.conftest import Patch, run_lexline
from tests.unit.lexline.samples import MODELS, ONE, TWO, WHEN, endpoint

pytestmark = pytest.mark.usefixtures("deployed")


@pytest.fixture(autouse=True)
def _models(patch: Patch) -> None:
    patch("aws.models.newest", lambda stack, count: MODELS[:count])
    patch("aws.endpoint.read", endpoint(TWO, previous=ONE))


def test_the_table_has_figures_approval_and_the_models_that_serve_and_served() -> None:
    output = run_lexline("models").output
    lines = [line.split() for line in output.splitlines()]
    day, minute = WHEN.astimezone().strftime("%Y-%m-%d %H:%M").split()
    assert lines[1:4] == [
        ["3", "3" * 12, "sotu", day, minute, "99.0", "2.1%", "99.0", "vs.", "88.0", "rejected"],
        [
            "2",
            "2" * 12,
            "sotu",
            day,
            minute,
            "88.0",
            "2.1%",
            "90.5",
            "vs.",
            "120",
            "approved",
            "now",
            "abcdef0",
        ],
        ["1", "1" * 12, "[/so]", day, minute, "120", "approved", "before"],
    ]
    assert "Version 3 is rejected: It is worse.\n" in output


def test_json_has_everything_about_each_model() -> None:
    assert len(json.loads(run_lexline("models", "--json", "--last", "1").output)) == 1
    documents = json.loads(run_lexline("models", "--json").output)
    assert [(each["version"], each["serves"], each["served_before"]) for each in documents] == [
        (3, False, False),
        (2, True, False),
        (1, False, True),
    ]
    assert documents[0]["champion"] == TWO
    assert documents[0]["approved"] is False
    assert documents[1]["repository"] == "https://g/r"
    assert datetime.fromisoformat(documents[1]["trained"]) == WHEN


def test_an_endpoint_that_failed_serves_nothing(patch: Patch) -> None:
    patch("aws.endpoint.read", endpoint(TWO, status="Failed"))
    assert not any(each["serves"] for each in json.loads(run_lexline("models", "--json").output))


def test_before_the_first_training_there_are_no_models(patch: Patch) -> None:
    patch("aws.models.newest", [])
    assert "lexline run FILE" in run_lexline("models").output
    assert json.loads(run_lexline("models", "--json").output) == []


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_a_narrow_terminal_shows_every_value_whole(columns: int) -> None:
    output = io.StringIO()
    display.show(Console(file=output, width=columns), MODELS, endpoint(TWO, previous=ONE))
    values = {"3" * 12, "99.0", "90.5", "120", "rejected", "approved", "abcdef0", "2026-11-23"}
    assert values <= set(output.getvalue().split())
