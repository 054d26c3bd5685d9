"""A price table is judged before it is uploaded, and as the pipeline will judge it."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from lexline import prices
from lexline.errors import UsageError
from reporting import cost

PRICES = json.loads((Path(__file__).parents[3] / "functions" / "pipeline" / "prices.json").read_text())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"notes": []},
        {"date": "yesterday"},
        {"currency": "EUR"},
        {"region": "Frankfurt"},
        {"source": ""},
        {"training": {"m5.large": 0.1}},
        {"hosting": {"ml.m5.large": 0}},
        {"serverless": {"1000": 0.1}},
        {"serverless": {"2048": 0.1}},
        {"storage_per_gb_month": "free"},
        {"lambda_per_gb_second": None},
        {"unknown": 1},
    ],
)
def test_a_price_table_is_taken_or_refused_as_by_the_pipeline(tmp_path: Path, change: dict[str, Any]) -> None:
    content = json.dumps({**PRICES, **change})
    (tmp_path / "prices.json").write_text(content)
    try:
        cost.PriceTable.load(content)
    except InvalidInput:
        with pytest.raises(UsageError, match="no price table"):
            prices.read(tmp_path / "prices.json")
    else:
        assert prices.read(tmp_path / "prices.json")[1] == content.encode()
