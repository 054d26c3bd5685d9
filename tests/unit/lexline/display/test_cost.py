import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from lexline.aws.reports import Stored
from lexline.aws.stack import Stack
from lexline.display import cost
from tests.unit.lexline.conftest import Patch
from tests.unit.lexline.samples import COST, ESTIMATE, ONE, PREPARED, STANDING_COST, TWO, WHEN, endpoint

UNPRICED = {**COST, "total": None, "spot": False, "spot_saving": None, "spot_saved": None}
Documents = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def documents(patch: Patch) -> Documents:
    """The reports of three runs, newest first. The second run trained nothing."""
    documents: Documents = {
        ONE: {"dataset": PREPARED, "cost": COST, "standing_cost": STANDING_COST},
        "lexline--deploy-333333333333": {"cost": None},
        TWO: {"dataset": PREPARED, "cost": UNPRICED},
    }
    patch("aws.reports.newest_first", [Stored(run, "", WHEN) for run in documents])
    patch("aws.reports.document", lambda stack, run: documents.get(run))
    patch("aws.prices.uploaded", False)
    patch("aws.endpoint.read", endpoint(ONE))
    return documents


def shown(stack: Stack, count: int = 10) -> list[str]:
    output = io.StringIO()
    cost.show(Console(file=output, width=200), stack, count)
    return output.getvalue().splitlines()


def test_costs_of_the_endpoint_and_of_each_training_their_sum_and_the_prices_are_shown(stack: Stack) -> None:
    lines = shown(stack)
    assert lines[0] == (
        "The endpoint lexline (ml.m5.large) costs about $0.115 an hour, $2.76 a day, $83.95 a month while it "
        "exists."
    )
    day, minute = WHEN.astimezone().strftime("%Y-%m-%d %H:%M").split()
    run = ["sotu", day, minute, "ml.m5.xlarge", "1", "min", "14", "s"]
    assert [line.split() for line in lines[3:6]] == [
        ["1" * 12, *run, "$0.00473", "60%,", "$0.0071"],
        ["2" * 12, *run, "unknown"],
        ["Total", "$0.00473", "$0.0071"],
    ]
    assert "Estimated with the prices of 2026-09-22 for us-east-1, in US dollars without tax." in lines
    assert any("--prices FILE" in line for line in lines)
    assert not any("local cloud" in line for line in lines)


def test_only_the_given_number_of_trainings_is_shown(stack: Stack) -> None:
    text = "\n".join(shown(stack, 1))
    assert "1" * 12 in text
    assert "2" * 12 not in text


def test_the_local_cloud_is_free(stack: Stack) -> None:
    local = replace(stack, target=replace(stack.target, endpoint_url="http://127.0.0.1:4566"))
    assert any(line.startswith("The local cloud is free.") for line in shown(local))


def test_the_users_own_prices_are_named(stack: Stack, patch: Patch) -> None:
    patch("aws.prices.uploaded", True)
    assert any("your price table, s3://lexline-bucket/prices.json" in line for line in shown(stack))


def test_without_an_endpoint_there_are_no_hourly_costs(stack: Stack, patch: Patch) -> None:
    patch("aws.endpoint.read", None)
    assert shown(stack)[0].startswith("There is no endpoint")


def test_without_reports_costs_are_unknown_and_not_zero(stack: Stack, documents: Documents) -> None:
    documents.clear()
    lines = shown(stack)
    assert lines[0].startswith("The cost of the endpoint lexline is unknown")
    assert "No run has trained a model yet, so there are no training costs." in lines


def test_an_endpoint_that_scaled_costs_what_its_current_instances_cost(stack: Stack) -> None:
    estimate = cost.current(stack, endpoint(ONE, instances=3))
    assert estimate is not None
    assert (estimate["instance_count"], round(estimate["per_hour"], 3)) == (3, 0.345)


def test_a_serverless_endpoint_costs_by_request(stack: Stack, documents: Documents) -> None:
    serverless = {**ESTIMATE, "kind": "serverless", "per_hour": 0.0, "per_1000_requests": 0.06}
    documents[ONE]["standing_cost"] = serverless
    assert cost.current(stack, endpoint(ONE, instances=0)) == serverless
    assert cost.of_endpoint(serverless) == (
        "nothing while there are no requests; 1,000 requests of one second cost about $0.06"
    )


def test_an_unknown_price_is_not_zero_and_a_small_cost_has_a_bound() -> None:
    assert cost.of_training({"total": 0.00001}) == "less than $0.0001"
    assert cost.of_training(UNPRICED) == "unknown, because the price table has no ml.m5.xlarge"
    unknown = cost.of_endpoint({**STANDING_COST, "per_hour": None})
    assert unknown == "unknown, because the price table has no ml.m5.large"


@pytest.mark.parametrize("odd", [7, "text", [1], {"total": "much"}, {"kind": "real-time"}, {"kind": []}])
def test_a_report_of_unknown_form_is_left_out(stack: Stack, documents: Documents, odd: Any) -> None:
    documents[ONE] = {"dataset": PREPARED, "cost": odd, "standing_cost": odd}
    lines = shown(stack)
    assert lines[0].startswith("The cost of the endpoint lexline is unknown")
    assert "1" * 12 not in "".join(lines)
    assert any(line.startswith("2" * 12) for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_shows_every_figure_whole(stack: Stack, width: int) -> None:
    output = io.StringIO()
    cost.show(Console(file=output, width=width), stack, 10)
    words = output.getvalue().split()
    assert {"1" * 12, "2" * 12, "ml.m5.xlarge", "$0.00473", "$0.0071", "unknown"} <= set(words)
