"""The benchmark's table: ratios, what counts as met, and the JSON others read."""

import json

import pytest

from benchmarks import table
from benchmarks.table import Row

SPEED = Row("training", "tokens/s", plain=1400, ours=15400, at_least=10, note="medians.")
QUALITY = Row("test perplexity", "perplexity", plain=208.3, ours=104.15, at_most=115)


def test_a_ratio_says_how_many_times_better_ours_is_whichever_way_better_lies() -> None:
    assert SPEED.ratio == 11
    assert QUALITY.ratio == 2
    assert Row("memory", "GiB", plain=None, ours=0.7, at_most=4).ratio is None


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (SPEED, True),
        (Row("training", "tokens/s", plain=1400, ours=13999, at_least=10), False),
        (QUALITY, True),
        # The limit itself is met. The plain loop's figure does not count, and rounding comes later.
        (Row("load", "s", plain=0.5, ours=1.0, at_most=1), True),
        (Row("load", "s", plain=10.1, ours=1.0000001, at_most=1), False),
        (Row("memory", "GiB", plain=None, ours=0.7, at_most=4), True),
        # The rest of the promise does not hold.
        (Row("artifact", "MB", plain=42, ours=3, at_most=16, holds=False), False),
        # A slice of the data, or a missing figure, says nothing.
        (Row("test perplexity", "perplexity", 900, 800, at_most=115, judged=False), None),
        (Row("memory", "GiB", plain=None, ours=None, at_most=4), None),
        (Row("training", "tokens/s", plain=None, ours=9000, at_least=10), None),
    ],
)
def test_a_promise_is_met_by_its_ratio_or_by_our_figure_alone(row: Row, met: bool | None) -> None:
    assert row.met is met


def test_a_row_without_a_target_is_not_judged() -> None:
    row = Row("with a cache", "perplexity", plain=None, ours=90)
    assert row.target == "-"
    assert row.met is None
    assert "| -      | not judged |" in table.to_markdown([row])


def test_the_json_is_a_list_of_rows_with_the_promised_fields() -> None:
    rows = json.loads(table.to_json([SPEED, QUALITY]))
    assert rows[0] == {
        "name": "training",
        "unit": "tokens/s",
        "plain": 1400.0,
        "ours": 15400.0,
        "ratio": 11.0,
        "target": ">= 10x",
        "met": True,
    }
    assert rows[1]["target"] == "<= 115"


def test_the_json_stays_json_when_a_figure_is_infinite() -> None:
    row = Row("test perplexity", "perplexity", plain=float("inf"), ours=100, at_most=115)
    assert json.loads(table.to_json([row]))[0]["plain"] is None


def test_the_table_has_a_line_for_each_row_in_aligned_columns() -> None:
    lines = table.to_markdown([SPEED, QUALITY]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "training",
        "tokens/s",
        "1,400",
        "15,400",
        "11x",
        ">= 10x",
        "yes",
    ]
