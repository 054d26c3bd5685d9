"""What `lexline cost` prints, from the reports of three runs."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from lexline import bill, report_files, serving
from lexline.report_files import Stored
from lexline.serving import Serving
from lexline.target import Stack, Target
from tests.unit.lexline.test_report_wording import COST, PREPARED, STANDING

WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ONE, TWO = "lexline-sotu-111111111111", "lexline-wiki-222222222222"
LIVE = Serving("InService", ONE, ONE, "", 1, None, "")
UNPRICED = {**COST, "total": None, "spot": False, "spot_saving": None, "spot_saved": None}


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The bucket's reports, newest first; one run of three trained nothing."""
    told = {
        ONE: {"dataset": PREPARED, "cost": COST, "standing_cost": STANDING},
        "lexline-deploy-333333333333": {"cost": None},
        TWO: {"dataset": PREPARED, "cost": UNPRICED},
    }
    stored = [Stored(run, "", WHEN) for run in told]
    monkeypatch.setattr(report_files, "newest_first", lambda *_: stored)
    monkeypatch.setattr(report_files, "document", lambda target, stack, run: told.get(run))
    monkeypatch.setattr(report_files, "own_prices", lambda *_: "")
    monkeypatch.setattr(serving, "read", lambda *_: LIVE)
    return told


def shown(target: Target, stack: Stack, count: int = 10) -> list[str]:
    written = io.StringIO()
    bill.show(Console(file=written, width=200), target, stack, count)
    return written.getvalue().splitlines()


@pytest.mark.usefixtures("documents")
def test_the_endpoint_the_runs_their_sum_and_the_prices_are_told(target: Target, stack: Stack) -> None:
    lines = shown(target, stack)
    assert lines[0] == (
        "The endpoint lexline (ml.m5.large) costs about $0.115 an hour, $2.76 a day, $83.95 a month for as "
        "long as it stands."
    )
    day, minute = WHEN.astimezone().strftime("%Y-%m-%d %H:%M").split()
    run = ["sotu", day, minute, "ml.m5.xlarge", "1", "min", "14", "s"]
    assert [line.split() for line in lines[3:6]] == [
        ["1" * 12, *run, "$0.00473", "60%,", "$0.0071"],
        ["2" * 12, *run, "unknown"],
        ["Together", "$0.00473", "$0.0071"],
    ]
    assert "Estimated by prices of 2026-09-22 for us-east-1, in US dollars without tax." in lines
    assert any("--prices FILE" in line and "s3://lexline-bucket/prices.json" in line for line in lines)
    assert not any("This machine" in line for line in lines)


@pytest.mark.usefixtures("documents")
def test_only_as_many_runs_as_asked_for(target: Target, stack: Stack) -> None:
    text = "\n".join(shown(target, stack, 1))
    assert "1" * 12 in text
    assert "2" * 12 not in text


@pytest.mark.usefixtures("documents")
def test_on_this_machine_nothing_is_charged(target: Target, stack: Stack) -> None:
    local = replace(target, endpoint_url="http://127.0.0.1:4566")
    assert any(line.startswith("This machine charges nothing") for line in shown(local, stack))


@pytest.mark.usefixtures("documents")
def test_ones_own_prices_are_named(target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_files, "own_prices", lambda *_: "s3://lexline-bucket/prices.json")
    assert any("your table, s3://lexline-bucket/prices.json" in line for line in shown(target, stack))


@pytest.mark.usefixtures("documents")
def test_without_an_endpoint_nothing_costs_by_the_hour(
    target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "read", lambda *_: None)
    assert shown(target, stack)[0].startswith("No endpoint stands")


def test_an_endpoint_of_no_known_run_is_not_called_free(
    target: Target, stack: Stack, documents: dict[str, Any]
) -> None:
    del documents[ONE]
    assert shown(target, stack)[0].startswith("There is no estimate for the endpoint lexline")


def test_before_the_first_training_there_is_nothing_to_add_up(
    target: Target, stack: Stack, documents: dict[str, Any]
) -> None:
    documents.clear()
    assert "No run has trained yet, so none has cost more than a trifle." in shown(target, stack)


@pytest.mark.usefixtures("documents")
def test_an_endpoint_that_scaled_costs_what_its_instances_cost_now(target: Target, stack: Stack) -> None:
    estimate = bill.standing(target, stack, replace(LIVE, instances=3))
    assert estimate is not None
    assert (estimate["instance_count"], round(estimate["per_hour"], 3)) == (3, 0.345)


def test_a_serverless_endpoint_has_no_instances_to_count(
    target: Target, stack: Stack, documents: dict[str, Any]
) -> None:
    documents[ONE]["standing_cost"] = {"kind": "serverless", "per_hour": 0.0, "instance_count": None}
    assert bill.standing(target, stack, replace(LIVE, instances=0)) == documents[ONE]["standing_cost"]
